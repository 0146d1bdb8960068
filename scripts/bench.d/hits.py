"""What scripts/bench measures of hits: one function for each work."""

import json
import subprocess

import servers
from measure import Work, against, alternate, check_stored, load, median, replay, write_list
from servers import SERVER_CORE, Failure


def hits(run, key, title, path, **limits):
    """Hits in memory, on 64 connections."""
    work = Work(key, title)
    started = [servers.millpond(run.bench), servers.nginx(run.bench), servers.haproxy(run.bench), servers.varnish(run.bench)]
    if key == "hit-1k":
        started.append(servers.hyper(run.bench))
        path_of = {"hyper and moka": "/1k"}
    else:
        path_of = {}
    for server in started:
        if server.name not in path_of:
            check_stored(run, server, path)
    alternate(run, work, started, lambda server, seconds: load(server, path_of.get(server.name, path), seconds))
    best = max(("nginx", "HAProxy", "Varnish"), key=lambda peer: work.median(peer, "per_second"))
    if limits:
        against(work, "Millpond", **limits)
        work.bar("CPU time per request, against bare hyper with moka", work.ratio("Millpond", "hyper and moka", "cpu_us"), 1.2, False)
    else:
        least = {"hit-16k": 1.2, "hit-256k": 1.0}[key]
        work.bar(f"requests per second, against the best peer ({best})", work.ratio("Millpond", best, "per_second"), least)
    return work


def hit_1k(run):
    return hits(run, "hit-1k", "Hit in memory, 1 KiB", "/1024/hot", nginx=1.5, haproxy=1.25, varnish=3.0)


def hit_16k(run):
    return hits(run, "hit-16k", "Hit in memory, 16 KiB", "/16384/hot")


def hit_256k(run):
    return hits(run, "hit-256k", "Hit in memory, 256 KiB", "/262144/hot")


def connections(run):
    """The same hit on many connections. What only reads and writes shows by how much the kernel's part of it gets dearer."""
    work = Work("connections", "Hit in memory, 1 KiB, on 64 and on 10,000 connections")
    ours, floor = servers.millpond(run.bench), servers.floor(run.bench)
    check_stored(run, ours, "/1024/hot")
    for number in range(run.rounds):
        print(f"  {work.key}, round {number + 1}", flush=True)
        for server in (ours, floor):
            for count in (64, 10_000):
                measured = run.calm.during(lambda: load(server, "/1024/hot", max(run.seconds, 5), count))
                work.add(f"{server.name}, {count:,}", measured)
    for server in (ours, floor):
        server.stop()
    few, many, floor_few, floor_many = (f"{server.name}, {count:,}" for server in (ours, floor) for count in (64, 10_000))
    work.bar("requests per second, against 64 connections", work.ratio(many, few, "per_second"), 0.8)
    work.bar("the same of what only reads and writes", work.ratio(floor_many, floor_few, "per_second"))
    # With nothing of its own that gets dearer, where the core is what limits both.
    rounds = zip(*(work.rows[name] for name in (few, floor_few, floor_many)))
    costs = [(row["cpu_us"], base["cpu_us"], more["cpu_us"]) for row, base, more in rounds]
    best = median(ours / (ours + more - base) for ours, base, more in costs)
    work.bar("the same of Millpond if its requests got dearer by the kernel's part alone", best)
    return work


def hit_l2(run):
    """Hits that come from the shared store, L1 off."""
    work = Work("hit-l2", "Hit in the shared store, 1 KiB, L1 off")
    keys = 10_000
    listed = write_list(run, "l2", (f"/1024/key-{number}" for number in range(keys)))
    ours, peer = servers.millpond_on_redis(run.bench), servers.nginx_on_memcached(run.bench)
    before = run.bench.origin_requests()
    for server in (ours, peer):
        replay(server, listed)
    print(f"  filled after {run.bench.origin_requests() - before} origin requests", flush=True)
    bare = servers.redis(run.bench)
    redis_benchmark(bare.port, keys, "set", keys * 5)
    before = run.bench.origin_requests()
    for number in range(run.rounds):
        print(f"  {work.key}, round {number + 1}", flush=True)
        for server in (ours, peer):
            work.add(server.name, run.calm.during(lambda: load(server, "/", run.seconds, paths=listed)))
        rate = run.calm.during(lambda: redis_benchmark(bare.port, keys, "get", run.seconds * 80_000))
        work.add("redis-benchmark GET", {"per_second": rate})
    missed = run.bench.origin_requests() - before
    print(f"  {missed} origin requests during the measurements")
    run.bench.stop(bare)
    for server in (ours, peer):
        server.stop()
    work.bar("requests per second, against nginx with memcached", work.ratio(ours.name, peer.name, "per_second"), 1.5)
    work.bar("requests per second, against redis-benchmark GET", work.ratio(ours.name, "redis-benchmark GET", "per_second"), 0.8)
    return work


def redis_benchmark(port, keys, command, count):
    words = ["taskset", "-c", SERVER_CORE, "redis-benchmark", "--csv", "-p", port, "-c", 64, "-n", count, "-r", keys, "-d", 1024]
    output = subprocess.run([str(word) for word in [*words, "-t", command]], capture_output=True, text=True, check=True)
    return float(output.stdout.splitlines()[-1].replace('"', "").split(",")[1])


def shapes(run):
    """Hits that are answered otherwise than by the whole: 304, HEAD, a range."""
    kinds = {
        "conditional": ("Conditional hit (304)", "GET", [("If-None-Match", '"v1"')], 304),
        "head": ("HEAD of a stored response", "HEAD", [], 200),
        "range": ("Range of a stored response", "GET", [("Range", "bytes=100-299")], 206),
    }
    for key, (title, method, fields, status) in kinds.items():
        work = Work(key, title)
        started = [servers.millpond(run.bench), servers.nginx(run.bench)]
        for server in started:
            check_stored(run, server, "/1024/hot")
        measure = lambda server, seconds: load(server, "/1024/hot", seconds, method=method, fields=fields, status=status)
        alternate(run, work, started, measure)
        against(work, "Millpond", nginx=1.0)
        yield work


def purges(run):
    """Hits while a thousand purges arrive each second."""
    work = Work("purges", "Hit in memory, 1 KiB, while 1,000 purges arrive each second")
    server = servers.millpond(run.bench)
    check_stored(run, server, "/1024/hot")
    body = json.dumps({"url": f"http://127.0.0.1:{server.port}/1024/purged-NUMBER"}).replace("NUMBER", "{}")
    purge = {"beside": f"127.0.0.1:{server.admin_port}", "beside-path": "/purge", "beside-body": body, "beside-rate": 1000}
    beside = [word for name, value in purge.items() for word in (f"--{name}", value)]
    kinds = {"quiet": [], "with purges": beside}
    for number in range(2 * run.rounds):
        print(f"  {work.key}, round {number + 1}", flush=True)
        for kind in reversed(kinds) if number % 2 else kinds:
            measured = run.calm.during(lambda: load(server, "/1024/hot", run.seconds, own=kinds[kind]))
            work.add(kind, measured)
    server.stop()
    if work.median("with purges", "posted_per_second") < 950:
        raise Failure("fewer purges were answered than there should be")
    work.bar("requests per second, against the same without purges", work.ratio("with purges", "quiet", "per_second"), 0.9)
    return work


def logs(run):
    """The same hits, whose requests belong to a trace, with the access log of each of them and without."""
    work = Work("logs", "Hit in memory, 1 KiB, with the access log and a trace context")
    quiet = servers.millpond(run.bench)
    logged = servers.millpond(run.bench, extra='\n[log]\naccess = "json"\n')
    quiet.name, logged.name = "log off", "log on"
    trace = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    for server in (quiet, logged):
        check_stored(run, server, "/1024/hot")
    alternate(run, work, [quiet, logged], lambda server, seconds: load(server, "/1024/hot", seconds, fields=trace))
    work.bar("requests per second, against logs off", work.ratio("log on", "log off", "per_second"), 0.9)
    return work
