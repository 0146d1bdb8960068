"""The engine of scripts/scaling: holds the model of a fleet against a simulation and real instances, and computes larger
ones."""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import fleet_model
import fleet_runs
import servers

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/scaling.md"
# The fleets that are measured, and those that are only computed.
REAL, COMPUTED = (1, 2, 4, 8, 16), (10, 100, 1000)
# What is held against the model: its name there, how it is called, and by how much a run may differ.
CHECKED = {
    "origin": ("origin requests/s", 0.15),
    "lookups": ("look-ups/s", 0.15),
    "fills": ("fills/s", 0.15),
    "scripts": ("scripts/s", 0.15),
    "sent": ("bytes/s from Redis", 0.25),
}
# A purge is timed on a machine that runs the whole fleet, by looks in pauses that grow by half: within this factor.
STALE_TOLERANCE = 3.0
# Checked by real instances: many epochs of each key in a run of seconds.
SMALL = {"keys": 50, "ttl": 2, "rate": 200, "value": 321, "fetch": 0.002}
# Computed: an API of 10,000 popular URLs of 10 KiB that live a minute, from an origin that takes 100 ms.
LARGE = {"keys": 10_000, "ttl": 60, "rate": 1000, "value": 10_500, "purges": 1, "fetch": 0.1}


def options():
    parser = argparse.ArgumentParser(prog="scripts/scaling", description=__doc__, add_help=False)
    parser.add_argument("--build", required=True)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--purges", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def main():
    chosen = options()
    load = fleet_model.Load(**SMALL, purges=chosen.purges)
    print(describe(load), flush=True)
    with tempfile.TemporaryDirectory(prefix="millpond-scaling-") as scratch:
        pathlib.Path(scratch).chmod(0o777)
        bench = servers.Bench(scratch, chosen.build)
        try:
            runs = {count: measured(bench, count, load, chosen.seconds) for count in REAL}
        except (servers.Failure, subprocess.CalledProcessError) as failure:
            print(f"scaling: {failure}", file=sys.stderr)
            return 1
        finally:
            bench.close()
    off = faults(runs)
    for line in off:
        print(line)
    found = computed()
    print("\n".join(["", describe(fleet_model.Load(**LARGE)), *found]))
    if chosen.write:
        write(chosen, load, runs, found)
    return 1 if off else 0


def describe(load):
    return (
        f"{load.keys:,} keys of {load.value:,} bytes in Redis that live {load.ttl} s, {load.rate:,} requests a second and "
        f"instance, {load.purges:g} purge{'s' if load.purges != 1 else ''} a second, an origin that takes {load.fetch * 1000:g} ms"
    )


def measured(bench, count, load, seconds):
    """One fleet: what the model says, what the simulation plays, and what real instances do."""
    played = fleet_model.simulate(count, load, 60)
    real = fleet_runs.run(bench, count, load, seconds)
    # How long a fetch takes here, and so how many wait for one, is the machine's matter.
    expected = fleet_model.model(count, load, real["waited"])
    print(f"{count} instances")
    for name, (title, _) in CHECKED.items():
        simulated = f"simulated {played[name]:>10,.1f}" if name in played else ""
        ratio = real[name] / expected[name]
        print(f"  {title:<20} model {expected[name]:>10,.1f}  measured {real[name]:>10,.1f}  ratio {ratio:.2f}  {simulated}")
    print(f"  {'had to wait/s':<20} {real['waited']:.1f}")
    print(f"  {'Redis, % of a core':<20} {real['redis_cpu'] * 100:.1f}, {real['redis_cpu'] / real['scripts'] * 1e6:.0f} us for a script")
    print(
        f"  {'purge until confirmed':<20} median {real['confirmed_ms']:.1f} ms, worst of {fleet_runs.TIMED} "
        f"{real['confirmed_worst_ms']:.1f} ms; {real['purge_cpu_ms']:.1f} ms of processor time at the instances",
        flush=True,
    )
    return {"model": expected, "simulation": played, "real": real}


def faults(runs):
    """Where a run differs from the model by more than is tolerated."""
    found = []
    for count, run in runs.items():
        for name, (title, tolerance) in CHECKED.items():
            ratio = run["real"][name] / run["model"][name]
            if abs(ratio - 1) > tolerance:
                found.append(f"OFF: {count} instances, {title}: {ratio:.2f} of the model, tolerated {tolerance:.0%}")
    ratio = stale(runs)
    print(f"a purge among {REAL[-1]} instances was confirmed after {ratio:.2f} of what the model says")
    if not 1 / STALE_TOLERANCE <= ratio <= STALE_TOLERANCE:
        found.append(f"OFF: that is not within a factor of {STALE_TOLERANCE:g}")
    return found


def stale(runs):
    """The time of a purge in the largest fleet, as a part of what the model says: that of one instance, and the processor
    time of the others, which here share a core, up to the next look of whoever waits."""
    first, last = runs[REAL[0]]["real"], runs[REAL[-1]]["real"]
    applied = first["confirmed_ms"] + last["purge_cpu_ms"] - first["purge_cpu_ms"]
    return last["confirmed_ms"] / max(applied, fleet_model.noticed_ms(applied))


def computed():
    """The table of larger fleets, as Markdown."""
    load = fleet_model.Load(**LARGE)
    titles = ["instances", "origin/s", "simulated", "origin/s without Redis", "look-ups/s", "simulated", "scripts/s"]
    titles += ["log messages/s", "wakes/s", "registry, KiB/s", "all from Redis, MiB/s", "Redis, % of a core"]
    titles += ["purge applied by all, ms"]
    lines = table_head(titles)
    for count in COMPUTED:
        found, played = fleet_model.model(count, load), fleet_model.simulate(count, load, 600)
        cells = [count, found["origin"], played["origin"], found["alone"], found["lookups"], played["lookups"]]
        cells += [found["scripts"], found["messages"], found["wakes"], found["registry"] / 1024]
        text = [f"{cell:,.0f}" for cell in cells]
        text += [f"{found['sent'] / 2**20:,.1f}", f"{found['redis'] * 100:,.0f}", f"{found['applied_ms']:,.1f}"]
        lines.append("| " + " | ".join(text) + " |")
    return lines


def compared(runs):
    """The table of measured fleets, as Markdown: measured, and its ratio to the model."""
    titles = ["instances", *(title for title, _ in CHECKED.values()), "Redis, % of a core", "purge confirmed, ms"]
    lines = table_head(titles)
    for count, run in runs.items():
        cells = [str(count)]
        for name in CHECKED:
            cells.append(f"{run['real'][name]:,.0f} ({run['real'][name] / run['model'][name]:.2f})")
        cells += [f"{run['real']['redis_cpu'] * 100:.1f}", f"{run['real']['confirmed_ms']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def table_head(titles):
    return ["| " + " | ".join(titles) + " |", "|" + " ---: |" * len(titles)]


def write(chosen, load, runs, found):
    """Puts both tables into the page of the docs."""
    told = (
        f"`scripts/scaling --seconds {chosen.seconds} --purges {chosen.purges} --write`: {describe(load)}. In brackets: "
        f"measured, as a part of what the model says. A purge among {REAL[-1]} was confirmed after {stale(runs):.2f} of "
        f"what the model says."
    )
    put("measured", [told, "", *compared(runs)])
    put("computed", [f"{describe(fleet_model.Load(**LARGE))}.", "", *found])


def put(name, lines):
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = PAGE.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"scaling: {PAGE} has no place for what is {name}")
    PAGE.write_text("\n".join([before + begin, "", *lines, "", end + after]))


if __name__ == "__main__":
    sys.exit(main())
