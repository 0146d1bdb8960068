"""Whether the machine is as fast as it can be. Whoever shares its hardware can slow it down by two fifths, for seconds at a
time, and one server of a round more than the next."""

import subprocess
import time

from servers import LOAD_CORE, SERVER_CORE, Failure

# What takes this much longer than it did at its fastest was disturbed.
DISTURBED = 1.12
# Seconds between two looks while it is.
PAUSE = 0.2


class Calm:
    """Measures what can be measured again while nothing disturbs it, for as long as there is patience."""

    def __init__(self, bench, patience):
        self.tool = bench.build / "examples/bench_tools"
        self.patience, self.spent = patience, 0.0
        self.waited, self.again, self.disturbed = 0.0, 0, 0
        self.fastest = {}
        for _ in range(20):
            self.is_disturbed()

    def begin(self):
        """A work begins, with patience of its own: a disturbance that lasts must not take that of all works to come."""
        self.spent = 0.0

    def is_disturbed(self):
        """Whether either core is slower now than it was at its fastest, both of them busy as they are in a measurement."""
        commands = {core: ["taskset", "-c", core, self.tool, "spin"] for core in (SERVER_CORE, LOAD_CORE)}
        started = {core: subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for core, words in commands.items()}
        worst = 0
        for core, process in started.items():
            output, _ = process.communicate()
            if process.returncode:
                raise Failure("cannot tell how fast the machine is")
            took = int(output)
            self.fastest[core] = min(took, self.fastest.get(core, took))
            worst = max(worst, took / self.fastest[core])
        return worst > DISTURBED

    def spend(self, seconds):
        self.spent += seconds
        self.waited += seconds

    def during(self, measure):
        """What `measure` returns, which must not mind being called more than once."""
        while True:
            while self.spent < self.patience and self.is_disturbed():
                time.sleep(PAUSE)
                self.spend(PAUSE)
            began = time.monotonic()
            measured = measure()
            if not self.is_disturbed():
                return measured
            if self.spent >= self.patience:
                self.disturbed += 1
                return measured
            self.spend(time.monotonic() - began)
            self.again += 1

    def summary(self):
        return f"{self.again} measurements made again and {self.waited:.0f} s waited for the machine to be undisturbed; {self.disturbed} made while it was not"
