"""Real instances with a real Redis, counted, to hold the model of a fleet against."""

import json
import subprocess
import time

import measure
import servers

# One name for all instances: it is part of the key.
HOST = "fleet.test"
# Purges whose time is taken, one after the other.
TIMED = 40


class Fleet:
    """Some instances, their Redis, and what they have done so far."""

    def __init__(self, bench, count):
        self.bench = bench
        self.store = servers.redis(bench)
        # The model has lifetimes as they are: no jitter, no early refresh. The machine is small for so many.
        section = servers.redis_section(self.store, 'timeout = "1s"\n')
        rules = "jitter = 0.0, early_refresh = 0.0"
        self.instances = [servers.millpond(bench, extra=section, rules=rules) for _ in range(count)]
        # Bytes of what was asked here.
        self.asked = 0
        for number, server in enumerate(self.instances):
            servers.get(server.port, f"/64/first-{number}", host=HOST)
        # Until all follow the log: a purge before that is refused.
        time.sleep(2)

    def stop(self):
        for server in self.instances:
            server.stop()
        self.bench.stop(self.store)

    def total(self, name):
        return sum(value for server in self.instances for value in measure.metrics(server, name))

    def counters(self):
        """Everything that is counted, since the start."""
        info = self.info()
        self.asked += info["length"]
        scripts = dict(part.split("=") for part in info["cmdstat_evalsha"].split(","))
        return {
            "at": time.monotonic(),
            "origin": self.bench.origin_requests(),
            "lookups": self.total("millpond_l2_lookups_total"),
            "waited": self.total('millpond_l2_lookups_total{result="coalesced"}'),
            "fills": self.total("millpond_l2_fills_total"),
            "scripts": int(scripts["calls"]),
            # Without the answers to the question itself, of which Redis has counted all but the last.
            "sent": int(info["total_net_output_bytes"]) - self.asked + info["length"],
            "redis_cpu": float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
        }

    def info(self):
        text = self.ask("INFO", "everything")
        return {**dict(line.split(":", 1) for line in text.splitlines() if ":" in line), "length": len(text.encode())}

    def ask(self, *words):
        """The answer of its Redis."""
        command = ["redis-cli", "-p", str(self.store.port), *words]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode()

    def purge(self, path):
        """Purges a URL and waits for all receipts; seconds."""
        order = json.dumps({"url": f"http://{HOST}{path}", "wait": "10s"})
        began = time.monotonic()
        fields = ["Content-Type: application/json", f"Content-Length: {len(order)}"]
        report = json.loads(servers.get(self.instances[0].admin_port, "/purge", "POST", fields, body=order))
        if report["missing"] or len(report["receipts"]) != len(self.instances):
            raise servers.Failure(f"a purge was not confirmed by all: {report}")
        return time.monotonic() - began


def run(bench, count, load, seconds):
    """What `count` instances do in a second under a load, and how long a purge takes until all have confirmed it."""
    fleet = Fleet(bench, count)
    try:
        return {**rates(fleet, load, seconds), **staleness(fleet)}
    finally:
        fleet.stop()


def rates(fleet, load, seconds):
    # Two lifetimes beforehand, so that no key is at its beginning, and some time behind for the counting itself.
    warm, spare = 2 * load.ttl, 2
    path = f"/64/ttl-{load.ttl}/key-{{}}"
    more = ["--host", HOST, "--keys", load.keys, "--connections", 8, "--warm", warm]
    loads = [
        measure.paced(server, seconds + spare, load.rate, path, *more, "--seed", number)
        for number, server in enumerate(fleet.instances)
    ]
    order = json.dumps({"url": f"http://{HOST}/64/purged-NUMBER"}).replace("NUMBER", "{}")
    more = ["--method", "POST", "--connections", 4, "--body", order]
    chief = fleet.instances[0]
    loads.append(measure.paced(chief, warm + seconds + spare, load.purges, "/purge", *more, port=chief.admin_port))
    time.sleep(warm + 0.5)
    before = fleet.counters()
    time.sleep(seconds)
    after = fleet.counters()
    for process in loads:
        result = measure.paced_result(process)
        failed, done = result["failed"][0], result["main"][0]
        if failed:
            print(f"  {failed} of {failed + done} requests of one load failed", flush=True)
        # A few do not change what is counted.
        if failed > 0.05 * (failed + done):
            raise servers.Failure("too many to count by")
    span = after["at"] - before["at"]
    return {name: (after[name] - before[name]) / span for name in before if name != "at"}


def staleness(fleet):
    """Milliseconds of a purge until all have confirmed it, and those of processor time that the instances spent on it."""
    # As long as the registry is young no purge counts as confirmed by all.
    time.sleep(1)
    fleet.purge("/64/first")
    before = sum(server.cpu_seconds() for server in fleet.instances)
    taken = [fleet.purge(f"/64/timed-{number}") for number in range(TIMED)]
    used = sum(server.cpu_seconds() for server in fleet.instances) - before
    return {"confirmed_ms": measure.median(taken) * 1000, "confirmed_worst_ms": max(taken) * 1000, "purge_cpu_ms": used / TIMED * 1000}
