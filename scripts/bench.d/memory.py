"""What scripts/bench measures of memory, and of what a server makes of it: one function for each work."""

import bisect
import functools
import itertools
import random
import subprocess

import servers
from measure import Work, check_stored, load, metric, replay, shuffled, write_list
from servers import LOAD_CORE, Failure

# The trace of hit-ratio: objects, how skewed, requests that fill the caches, requests that are counted.
FOOTPRINT, EXPONENT, FILLING, REPLAYED = 102_400, 0.9, 150_000, 150_000


def objects(run):
    """Hits spread over few and over many stored objects, and what one costs in memory."""
    work = Work("objects", "Hits spread over 1,000 and over 1,000,000 objects of 1 KiB")
    many = run.objects
    server = servers.millpond(run.bench, cache_bytes=8 << 30)
    before = server.memory()
    lists = {}
    for count in (1000, many):
        lists[count] = write_list(run, f"objects-{count}", (f"/1024/key-{number}" for number in shuffled(count)))
    replay(server, lists[many], connections=32)
    stored = int(metric(server, "millpond_l1_entries"))
    if stored < many:
        raise Failure(f"only {stored:,} objects are stored")
    each = (server.memory() - before) / stored
    for number in range(run.rounds):
        print(f"  {work.key}, round {number + 1}", flush=True)
        for count in (1000, many):
            work.add(f"{count:,} objects", load(server, "/", run.seconds, paths=lists[count]))
    server.stop()
    work.rows[f"{many:,} objects"][-1]["bytes_each"] = each
    work.bar("requests per second, against 1,000 objects", work.ratio(f"{many:,} objects", "1,000 objects", "per_second"), 0.85)
    work.bar("KiB of memory for an object of 1 KiB", each / 1024, 1.6, False)
    return work


def idle(run):
    """Memory of connections that wait for their next request."""
    work = Work("idle", "Memory of an idle keep-alive connection")
    count = 9_000
    for make in (servers.millpond, servers.nginx, servers.haproxy, servers.varnish):
        server = make(run.bench)
        check_stored(run, server, "/1024/hot")
        before = server.memory()
        tool = run.bench.build / "examples/bench_tools"
        command = ["taskset", "-c", LOAD_CORE, tool, "idle", "--server", f"127.0.0.1:{server.port}"]
        command += ["--connections", count, "--path", "/1024/hot"]
        holder = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if holder.stdout.readline() != "ready\n":
            raise Failure(f"{server.name} does not hold {count} connections")
        work.add(server.name, {"bytes_each": (server.memory() - before) / count})
        holder.stdin.close()
        holder.wait()
        server.stop()
    work.bar("KiB for each connection", work.median("Millpond", "bytes_each") / 1024, 12, False)
    return work


def hit_ratio(run):
    """A skewed trace through caches that hold a part of what it asks for.

    "The same memory" is the limit that each server is given, in its own unit of account: Millpond counts bodies, fields
    and an estimate of what an entry costs beside them; nginx counts files in blocks of 4 KiB, which is what they take in
    memory, and is held to that by the size of the table of its keys; HAProxy reserves its memory and cuts it into blocks
    of 1 KiB; Varnish counts what it allocates for bodies and fields. What each takes in fact is measured beside it: the
    growth from an instance that has served, but stored nothing.
    """
    work = Work("hit-ratio", "Hit ratio on a trace with a Zipf distribution of exponent 0.9, 100 MiB of objects of 1 KiB")
    traces = [write_list(run, f"zipf-{name}", trace) for name, trace in zipf_traces()]
    makers = [servers.millpond, functools.partial(servers.nginx, strict=True), servers.haproxy, servers.varnish]
    for percent in (1, 5, 10):
        limit = FOOTPRINT * 1024 * percent // 100
        fair = {}
        for make in makers:
            server = make(run.bench, cache_bytes=limit)
            figures = play(run, server, traces)
            work.add(f"{server.name}, {percent} %", figures)
            # Else it would not be the same memory.
            if server.files_held() <= 1.3 * limit:
                fair[server.name] = figures["hit_ratio"]
            else:
                print(f"    {server.name} holds {server.files_held() / limit:.1f} times its limit, and is not compared")
            server.stop()
        ours = fair.pop("Millpond")
        peer = max(fair, key=fair.get)
        work.bar(f"hit ratio at {percent} %, against the best peer that keeps to its limit ({peer})", ours / fair[peer], 1.0)
    return work


def play(run, server, traces):
    """Sends the requests that fill a cache, and then those that are counted."""
    filling, counted = traces
    # Buffers and threads are there before memory is looked at.
    load(server, "/pass/1024", 1, 8)
    empty = server.memory()
    replay(server, filling)
    before = run.bench.origin_requests()
    loaded = replay(server, counted)
    asked = run.bench.origin_requests() - before
    return {"hit_ratio": 1 - asked / REPLAYED, "grown_mib": (server.memory() - empty) / 2**20, "cpu_us": loaded["cpu_us"]}


def zipf_traces():
    """Requests that fill the caches, and requests that are counted; the same each time."""
    draw = random.Random(7)
    sums = list(itertools.accumulate(1 / rank**EXPONENT for rank in range(1, FOOTPRINT + 1)))
    names = shuffled(FOOTPRINT)
    for name, count in (("warm", FILLING), ("measured", REPLAYED)):
        drawn = (names[bisect.bisect_left(sums, draw.random() * sums[-1])] for _ in range(count))
        yield name, [f"/1024/key-{number}" for number in drawn]
