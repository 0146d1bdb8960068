"""How the works of scripts/bench measure: loads, figures, rounds, and bars."""

import pathlib
import random
import subprocess
import time

from servers import LOAD_CORE, TICKS, Failure, get

HERE = pathlib.Path(__file__).resolve().parent
PEERS = {"nginx": "nginx", "haproxy": "HAProxy", "varnish": "Varnish"}


class Work:
    """The figures of one work: for each server and each round one measurement, and the bars they are held to."""

    def __init__(self, key, title):
        self.key, self.title = key, title
        self.rows = {}
        self.bars = []

    def add(self, server, figures):
        self.rows.setdefault(server, []).append(figures)
        parts = [f"{name} {value:,.2f}" for name, value in figures.items()]
        print(f"    {server:<28} {'  '.join(parts)}", flush=True)

    def median(self, server, figure):
        return median(row[figure] for row in self.rows[server])

    def ratio(self, server, other, figure):
        """The median of the ratios within each round."""
        pairs = zip(self.rows[server], self.rows[other])
        return median(a[figure] / b[figure] if b[figure] else float("inf") for a, b in pairs)

    def bar(self, text, value, limit=None, least=True):
        """A bar that this work must clear: at least, or at most, the limit. Without one, what there is to know about it."""
        self.bars.append({"text": text, "value": value, "limit": limit, "least": least})


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def load(server, path, seconds, connections=64, method="GET", paths=None, fields=(), status=200, own=None):
    """A closed load on a server: rate, CPU time per request, and quantiles of latency. Fields are pairs of a name and a
    value; own are further words of the command line of our own load, which is then never wrk."""
    with_wrk = load.with_wrk and method != "HEAD" and own is None
    make = wrk_command if with_wrk else closed_command
    command = [*make(server, path, seconds, connections, method, paths, fields, status), *(own or [])]
    try:
        return once(server, command)
    except Broken as failure:
        if server.name.startswith("Millpond"):
            raise
        # A peer may break a connection now and then; one that does so twice in a row fails.
        print(f"  measured again: {failure}", flush=True)
        return once(server, command)


# Whether wrk makes the load in place of our own.
load.with_wrk = False
# Whether our own load never sleeps.
load.awake = False


class Broken(Failure):
    """Not every request of a load was answered as it should be."""


def once(server, command):
    """The figures of one load."""
    before = server.cpu_seconds()
    done = subprocess.run([str(word) for word in ["taskset", "-c", LOAD_CORE, *command]], capture_output=True, text=True)
    used = server.cpu_seconds() - before
    output = done.stdout + done.stderr
    result = next((line.split()[1:] for line in output.splitlines() if line.startswith("RESULT ")), None)
    if done.returncode or not result:
        raise Failure(f"the load on {server.name} failed: {output}")
    requests, micros, p50, p99, p999, broken, bad = map(float, result)
    if broken or bad or not requests:
        raise Broken(f"{server.name} failed under load ({broken:.0f} broken, {bad:.0f} bad): {output}")
    figures = {
        "per_second": requests / micros * 1e6,
        "cpu_us": used / requests * 1e6,
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
        "p999_ms": p999 / 1000,
    }
    posted = next((line.split()[1:] for line in output.splitlines() if line.startswith("BESIDE ")), None)
    if posted:
        answered, failed, _, p99 = map(int, posted)
        if failed:
            raise Broken(f"{server.name} failed beside the load: {output}")
        figures["posted_per_second"] = answered / micros * 1e6
        figures["posted_p99_ms"] = p99 / 1000
    return figures


def closed_command(server, path, seconds, connections, method, paths, fields, status):
    command = [server.bench.build / "examples/bench_tools", "closed", "--server", f"127.0.0.1:{server.port}"]
    command += ["--path", path, "--seconds", seconds, "--connections", connections, "--method", method, "--status", status]
    command += ["--list", paths] if paths else []
    command += ["--awake"] if load.awake else []
    return command + [f"--field={name}: {value}" for name, value in fields]


def wrk_command(server, path, seconds, connections, method, paths, fields, *_):
    """wrk takes any status below 400, and cannot ask for HEAD."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", HERE / "wrk.lua"]
    command += [f"http://127.0.0.1:{server.port}{path}", "--", method, paths or "-"]
    return command + [word for field in fields for word in field]


def paced(server, seconds, rate, path, *more, port=None):
    """Starts a steady load."""
    tool = server.bench.build / "examples/bench_tools"
    command = ["taskset", "-c", LOAD_CORE, tool, "paced", "--server", f"127.0.0.1:{port or server.port}"]
    command += ["--rate", int(rate), "--seconds", seconds, "--path", path, *more]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)


def paced_result(process):
    """What came of a steady load: for each kind of request how many, p50, p99 and p99.9 in microseconds; and failures."""
    output, _ = process.communicate()
    lines = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in output.splitlines()}
    if process.returncode:
        raise Failure(f"the steady load failed: {output}")
    return lines


def idle_seconds(core):
    """For how long a core has had nothing to do since it was started."""
    lines = pathlib.Path("/proc/stat").read_text().splitlines()
    fields = next(line.split() for line in lines if line.startswith(f"cpu{core} "))
    return (int(fields[4]) + int(fields[5])) / TICKS


def replay(server, listed, connections=8):
    """Sends each path of a list once: rate, and CPU time per request."""
    tool = server.bench.build / "examples/bench_tools"
    command = ["taskset", "-c", LOAD_CORE, tool, "replay", "--server", f"127.0.0.1:{server.port}"]
    command += ["--list", listed, "--connections", connections]
    before = server.cpu_seconds()
    output = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
    count, micros = map(int, output.split())
    return {"per_second": count / micros * 1e6, "cpu_us": (server.cpu_seconds() - before) / count * 1e6}


def alternate(run, work, started, measure):
    """Warms each server up, then measures all of them in turn, round after round, there and back: what gets slower or faster
    all the time does so for each of them."""
    for server in started:
        measure(server, 1)
    for number in range(run.rounds):
        print(f"  {work.key}, round {number + 1}", flush=True)
        for server in reversed(started) if number % 2 else started:
            measured = run.calm.during(lambda: measure(server, run.seconds))
            work.add(server.name, {**measured, "memory_mib": server.memory() / 2**20})
    for server in started:
        server.stop()


def against(work, ours, figure="per_second", **limits):
    """A bar for each peer that is named."""
    for peer, limit in limits.items():
        name = PEERS[peer]
        work.bar(f"requests per second, against {name}", work.ratio(ours, name, figure), limit)


def check_stored(run, server, path):
    """Dies unless the server answers the second request without the origin."""
    get(server.port, path)
    time.sleep(0.2)
    before = run.bench.origin_requests()
    get(server.port, path)
    if run.bench.origin_requests() != before:
        raise Failure(f"{server.name} does not store {path}")


def write_list(run, name, paths):
    path = run.bench.fast / f"{name}.paths"
    path.write_text("\n".join(paths) + "\n")
    return str(path)


def shuffled(count):
    numbers = list(range(count))
    random.Random(1).shuffle(numbers)
    return numbers


def metric(server, name):
    """One figure of an instance of Millpond, summed over its labels."""
    values = metrics(server, name)
    if not values:
        raise Failure(f"there is no metric {name}")
    return sum(values)


def metrics(server, name):
    """The figures of this name: of all its labels, or of the one row that is named with them."""
    lines = (line.rsplit(" ", 1) for line in get(server.admin_port, "/metrics").splitlines())
    return [float(words[1]) for words in lines if name in (words[0], words[0].split("{")[0])]
