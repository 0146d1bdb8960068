"""The servers that scripts/bench compares: how each is started, pinned and measured."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
# What is measured has this core to itself; load and origin share the other.
SERVER_CORE, LOAD_CORE = "0", "1"
TICKS = os.sysconf("SC_CLK_TCK")
# Files of stores on disk, so that no peer waits for a disk.
MEMORY_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Failure(Exception):
    """A server or a load did not do what it should."""


def free_port():
    """A loopback port on which nothing listens at the moment, below those for outgoing connections."""
    for port in range(20000 + os.getpid() % 5000, 32000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in free_port.given:
                free_port.given.add(port)
                return port
    raise Failure("no free port between 20000 and 32000")


free_port.given = set()


class Process:
    """A child process with all that it starts in turn."""

    def __init__(self, name, command, core, log, stdin=None, stdout=None):
        self.name, self.log = name, log
        self.started_at = time.monotonic()
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                ["taskset", "-c", core, *command],
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or output,
                stderr=output,
                start_new_session=True,
            )

    def wait_for_port(self, port, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended before it listened:\n{self.log.read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.005)
        raise Failure(f"{self.name} does not listen on port {port}:\n{self.log.read_text()}")

    def family(self):
        """Process ids of the process and its descendants."""
        found, parents = [], [self.child.pid]
        while parents:
            pid = parents.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    parents += [int(child) for child in task.read_text().split()]
                except OSError:
                    pass
        return found

    def cpu_seconds(self):
        ticks = 0
        for pid in self.family():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def memory(self):
        """Bytes of memory, with each shared page counted once over the processes that share it."""
        total = 0
        for pid in self.family():
            try:
                lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                pass
        for pid in self.family():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.child.wait()


class Bench:
    """The scratch folder, the origin, and everything that was started."""

    def __init__(self, scratch, build):
        self.scratch, self.build = pathlib.Path(scratch), pathlib.Path(build)
        self.fast = pathlib.Path(self.scratch)
        if MEMORY_FOLDER:
            self.fast = pathlib.Path(MEMORY_FOLDER) / self.scratch.name
            self.fast.mkdir(exist_ok=True)
            self.fast.chmod(0o777)
        self.processes = []
        self.origin_port = free_port()
        tools = self.build / "examples/bench_tools"
        self.origin = self.start("origin", [tools, "origin", "--listen", f"127.0.0.1:{self.origin_port}"], LOAD_CORE)
        self.origin.wait_for_port(self.origin_port)

    def start(self, name, command, core=SERVER_CORE, **streams):
        log = self.scratch / f"{name}-{len(self.processes)}.log"
        process = Process(name, [str(word) for word in command], core, log, **streams)
        self.processes.append(process)
        return process

    def stop(self, process):
        process.stop()
        self.processes.remove(process)

    def close(self):
        for process in reversed(self.processes):
            process.stop()
        if self.fast != self.scratch:
            shutil.rmtree(self.fast, ignore_errors=True)

    def origin_requests(self):
        return int(get(self.origin_port, "/count"))

    def config(self, template, **words):
        """Fills a template in; its path."""
        text = (HERE / template).read_text()
        # Of its own, so that no server finds what another has stored. Workers may run as somebody else.
        folder = self.fast / f"server-{free_port()}"
        folder.mkdir()
        folder.chmod(0o777)
        for word, value in {"ORIGIN_PORT": self.origin_port, "FOLDER": folder, **words}.items():
            text = text.replace(f"@{word}@", str(value))
        path = folder / template
        path.write_text(text)
        return path


class Server:
    """One server under measurement: a name, a port, and the processes whose work counts as its own."""

    def __init__(self, bench, name, port, process, extra=()):
        self.bench, self.name, self.port, self.process = bench, name, port, process
        self.extra = list(extra)
        self.admin_port = None
        # Where it keeps files in memory, if it does.
        self.files = None

    def cpu_seconds(self):
        return self.process.cpu_seconds()

    def memory(self):
        """Bytes of memory, files in memory included."""
        return self.process.memory() + self.files_held()

    def files_held(self):
        """Bytes of what it keeps in files."""
        return sum(size_on_disk(path) for path in self.files.rglob("*")) if self.files else 0

    def stop(self):
        for process in [self.process, *self.extra]:
            self.bench.stop(process)


def size_on_disk(path):
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def get(port, path, method="GET", fields=(), host=None, body=""):
    """The body of one response, read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}", "Connection: close", *fields, "", body]
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2") and b" 304 " not in head[:14]:
        raise Failure(f"{method} {path} on port {port}: {head.decode(errors='replace')}")
    if method == "HEAD":
        return head.decode()
    return body.decode(errors="replace")


def millpond(bench, cache_bytes=1 << 30, entries=10_000_000, extra="", rules=""):
    port, admin = free_port(), free_port()
    words = {"CACHE_BYTES": cache_bytes, "CACHE_ENTRIES": entries, "RULES": rules}
    path = bench.config("millpond.toml", PORT=port, ADMIN_PORT=admin, **words)
    path.write_text(path.read_text() + extra)
    # Written as in service, but to no disk.
    with open(os.devnull, "wb") as nowhere:
        process = bench.start("millpond", [bench.build / "millpond", "run", "-c", path], stdout=nowhere)
    server = Server(bench, "Millpond", port, process.wait_for_port(port))
    server.admin_port = admin
    return server


def nginx(bench, cache_bytes=1 << 30, strict=False):
    """It removes what exceeds `cache_bytes` every ten seconds. With `strict` the table of its keys has room for no more
    files of 4 KiB than that, which it heeds at once; and it keeps none open, because those take memory after they are
    removed."""
    port = free_port()
    # A page of 4 KiB has 32 keys; the table needs some pages for itself.
    zone = 4 * (cache_bytes // 4096 // 32 + 4) if strict else 512 << 10
    open_files = "off" if strict else "max=200000 inactive=1h"
    path = bench.config("nginx.conf", PORT=port, CACHE_BYTES=cache_bytes, ZONE_KIB=max(32, zone), OPEN_FILES=open_files)
    process = bench.start("nginx", ["nginx", "-c", path]).wait_for_port(port)
    server = Server(bench, "nginx", port, process)
    server.files = path.parent / "nginx-cache"
    return server


def haproxy(bench, cache_bytes=1 << 30):
    port = free_port()
    path = bench.config("haproxy.cfg", PORT=port, CACHE_MIB=max(1, cache_bytes >> 20))
    process = bench.start("haproxy", ["haproxy", "-db", "-f", path]).wait_for_port(port)
    return Server(bench, "HAProxy", port, process)


def varnish(bench, cache_bytes=1 << 30):
    port = free_port()
    path = bench.config("varnish.vcl")
    command = ["varnishd", "-F", "-a", f"127.0.0.1:{port}", "-f", path, "-s", f"malloc,{cache_bytes}"]
    command += ["-n", bench.fast / f"varnish-{port}", "-t", "3600", "-p", "default_grace=0"]
    command += ["-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=12000"]
    # Its log is a ring in memory that it fills whatever it stores.
    command += ["-p", "vsl_space=8M"]
    process = bench.start("varnish", command).wait_for_port(port)
    return Server(bench, "Varnish", port, process)


def hyper(bench):
    port = free_port()
    tool = bench.build / "bare_hyper"
    process = bench.start("hyper", [tool, "--listen", f"127.0.0.1:{port}", "--answer", "moka"]).wait_for_port(port)
    return Server(bench, "hyper and moka", port, process)


def floor(bench):
    """What only reads and writes: the kernel's part of a hit."""
    port = free_port()
    tool = bench.build / "examples/bench_tools"
    process = bench.start("floor", [tool, "floor", "--listen", f"127.0.0.1:{port}"]).wait_for_port(port)
    return Server(bench, "read and write alone", port, process)


def redis(bench):
    port = free_port()
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = bench.start("redis", [*command, "--dir", bench.fast], LOAD_CORE).wait_for_port(port)
    process.port = port
    return process


def redis_section(store, more=""):
    """What to add to a configuration for an instance that shares a Redis."""
    return f'\n[redis]\nurl = "redis://127.0.0.1:{store.port}"\n{more}'


def millpond_on_redis(bench, l1=False):
    store = redis(bench)
    extra = redis_section(store, 'timeout = "1s"\ncompress_from = false\n')
    server = millpond(bench, entries=10_000_000 if l1 else 0, extra=extra)
    server.name, server.extra, server.store = "Millpond with Redis", [store], store
    return server


def nginx_on_memcached(bench):
    port, store_port = free_port(), free_port()
    command = ["memcached", "-l", "127.0.0.1", "-p", store_port, "-t", "1", "-c", "4096", "-m", "1024", "-u", "nobody"]
    store = bench.start("memcached", command, LOAD_CORE).wait_for_port(store_port)
    path = bench.config("nginx-memcached.conf", PORT=port, MEMCACHED_PORT=store_port)
    process = bench.start("nginx-memcached", ["nginx", "-c", path]).wait_for_port(port)
    return Server(bench, "nginx with memcached", port, process, [store])
