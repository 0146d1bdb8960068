"""The engine of scripts/bench: runs works, prints figures and bars, and writes the table and the plot of the docs."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import measure
import report
import servers
import works
from calm import Calm


class Run:
    """What all works of one run share."""

    def __init__(self, bench, options):
        self.bench, self.rounds, self.seconds, self.objects = bench, options.rounds, options.seconds, options.objects
        self.calm = Calm(bench, options.patience)
        self.rates = {}

    def top_rates(self, makers):
        """Requests per second of the peers for a hit of 1 KiB: measured in this run, or now."""
        for peer, make in makers.items():
            if peer not in self.rates:
                server = make(self.bench)
                measure.check_stored(self, server, "/1024/hot")
                self.rates[peer] = measure.load(server, "/1024/hot", self.seconds)["per_second"]
                server.stop()
        return self.rates


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, add_help=False)
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--patience", type=int, default=60)
    parser.add_argument("--only", action="append", choices=list(works.WORKS))
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--wrk", action="store_true")
    parser.add_argument("--awake", action="store_true")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    if chosen.write and chosen.only:
        parser.error("--write needs all works: the page holds the figures of one run")
    if chosen.write and (chosen.wrk or chosen.awake):
        parser.error("--write needs our own load, as it is by default: the page says how that works")
    if chosen.awake and chosen.wrk:
        parser.error("wrk sleeps until it is woken: --awake is for our own load")
    return chosen


def main():
    chosen = options()
    measure.load.with_wrk, measure.load.awake = chosen.wrk, chosen.awake
    done = []
    with tempfile.TemporaryDirectory(prefix="millpond-bench-") as scratch:
        pathlib.Path(scratch).chmod(0o777)
        bench = servers.Bench(scratch, chosen.build)
        try:
            run = Run(bench, chosen)
            for name in chosen.only or works.WORKS:
                print(f"== {name}", flush=True)
                run.calm.begin()
                results = works.WORKS[name](run)
                for work in [results] if isinstance(results, measure.Work) else results:
                    done.append(work)
                    if work.key == "hit-1k":
                        run.rates = {peer: work.median(peer, "per_second") for peer in ("nginx", "HAProxy", "Varnish")}
        except (servers.Failure, subprocess.CalledProcessError) as failure:
            print(f"bench: {failure}", file=sys.stderr)
            return 1
        finally:
            bench.close()
    figures = report.figures(done, run.calm)
    if chosen.results:
        chosen.results.write_text(json.dumps(figures, indent=1) + "\n")
    print(report.text(figures))
    if chosen.write:
        report.write(figures, chosen)
    return 0 if all(bar["met"] for work in figures["works"] for bar in work["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
