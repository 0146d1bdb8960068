"""What scripts/bench measures of requests that need the origin, or just do not: one function for each work."""

import itertools
import time

import servers
from measure import Work, against, alternate, check_stored, idle_seconds, load, metrics, paced, paced_result, write_list
from servers import LOAD_CORE, Failure, get

COLD_HOST = "bench.test"


def passed(run):
    """Responses that are never stored: a proxy pure and simple."""
    work = Work("pass", "Pass-through, 1 KiB, keep-alive to the origin")
    started = [servers.millpond(run.bench), servers.nginx(run.bench), servers.haproxy(run.bench), servers.varnish(run.bench)]
    alternate(run, work, started, lambda server, seconds: load(server, "/pass/1024", seconds))
    against(work, "Millpond", nginx=1.0)
    return work


def missed(run):
    """Requests of which none is stored yet: fetched, stored, answered."""
    work = Work("miss", "Miss, 1 KiB, keep-alive to the origin")
    started = [servers.millpond(run.bench), servers.nginx(run.bench), servers.haproxy(run.bench), servers.varnish(run.bench)]
    unique = itertools.count()

    def measure(server, seconds):
        turn = next(unique)
        listed = write_list(run, "miss", (f"/1024/{turn}-{number}" for number in range(seconds * 120_000)))
        return load(server, "/", seconds, paths=listed)

    alternate(run, work, started, measure)
    against(work, "Millpond", nginx=1.0)
    return work


def latency(run):
    """Hits at half of a peer's top rate while every tenth request waits 100 ms for the origin."""
    work = Work("latency", "Hits at half of a peer's top rate, while a tenth of the requests are misses to an origin of 100 ms")
    makers = {"nginx": servers.nginx, "HAProxy": servers.haproxy, "Varnish": servers.varnish}
    top = run.top_rates(makers)
    turn = itertools.count()
    for peer, make in makers.items():
        rate = top[peer] / 2
        pair = {f"Millpond at {peer}'s rate": servers.millpond(run.bench), peer: make(run.bench)}
        for server in pair.values():
            check_stored(run, server, "/1024/hot")
        for number in range(run.rounds):
            print(f"  {work.key}, {peer}, round {number + 1}, {rate:,.0f} a second", flush=True)
            for name, server in pair.items():
                work.add(name, steady(server, run.seconds, rate, f"/slow/1024/{next(turn)}-"))
        for server in pair.values():
            server.stop()
        ratio = work.ratio(f"Millpond at {peer}'s rate", peer, "p99_ms")
        work.bar(f"p99 of hits at {peer}'s rate, against {peer}", ratio, 1.0, False)
    return work


def steady(server, seconds, rate, slow):
    """One run of hits and slow misses at a given rate. The quantiles are those of the hits."""
    idle, began = idle_seconds(LOAD_CORE), time.monotonic()
    # A tenth of the rate waits for 100 ms, so a hundredth of the rate is under way: 2,000 connections do for 100,000.
    more = ["--connections", 64, "--other-connections", 2000, "--other", slow]
    loaded = paced(server, seconds, rate, "/1024/hot", "--warm", 1, *more)
    result = paced_result(loaded)
    idle, span = idle_seconds(LOAD_CORE) - idle, time.monotonic() - began
    count, p50, p99, p999 = result["main"]
    slow_count, slow_p50, _, _ = result["other"]
    return {
        "per_second": (count + slow_count) / seconds,
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
        "p999_ms": p999 / 1000,
        "miss_p50_ms": slow_p50 / 1000,
        "failed": result["failed"][0],
        # What the load itself was late, and how busy its core was: the figures are about it if either is high.
        "late_p99_ms": result["late"][2] / 1000,
        "load_core": 1 - idle / span,
    }


def cold_start(run):
    """From the start of a new instance to its first hit, with everything in Redis already."""
    work = Work("cold-start", "First hit of a new instance, from the start of its process, Redis warm")
    server = servers.millpond_on_redis(run.bench, l1=True)
    paths = [f"/1024/cold-{number}" for number in range(100)]
    # Until it follows the log: what is fetched before is not shared.
    time.sleep(2)
    # The host is part of the key, and the port of the host: all instances are asked for one.
    for path in paths:
        get(server.port, path, host=COLD_HOST)
    # A fill is not waited for by the client that caused it.
    deadline = time.monotonic() + 5
    while (stored := sum(metrics(server, 'millpond_l2_fills_total{result="stored"}'))) < len(paths):
        if time.monotonic() > deadline:
            raise Failure(f"only {stored:.0f} of {len(paths)} objects are in Redis")
        time.sleep(0.05)
    for _ in range(run.rounds):
        before = run.bench.origin_requests()
        fresh = servers.millpond(run.bench, extra=servers.redis_section(server.store))
        get(fresh.port, paths[0], host=COLD_HOST)
        taken = (time.monotonic() - fresh.process.started_at) * 1000
        for path in paths:
            get(fresh.port, path, host=COLD_HOST)
        work.add("Millpond", {"first_hit_ms": taken, "origin_requests": run.bench.origin_requests() - before})
        fresh.stop()
    server.stop()
    work.bar("ms to the first hit", work.median("Millpond", "first_hit_ms"), 100, False)
    asked = max(row["origin_requests"] for row in work.rows["Millpond"])
    work.bar(f"requests to the origin for {len(paths)} stored objects", asked, 0, False)
    return work
