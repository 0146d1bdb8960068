"""What a fleet costs its origin and its Redis: a model, and a simulation that plays the same game without it."""

import math
import random

# Heartbeats of an instance in a second, each a look at the log.
BEATS = 1.0
# Looks at the log that a purge causes at each instance: one that brings the record, and one that says it is applied.
LOOKS_PER_PURGE = 2
# Scripts of a purge beside these: it is appended, it deletes in Redis, who takes part is read for the receipts, and whoever
# ordered it looks once more.
SCRIPTS_PER_PURGE = 4
# Bytes that Redis sends, measured: the answer to a look without the registry, what one record adds to it, a message with
# its frame, the answer to a look-up beside the value, and both answers that a fetch needs beside its look-up.
LOOK_BYTES, RECORD_BYTES, MESSAGE_BYTES, LOOKUP_BYTES, FETCH_BYTES = 61, 80, 65, 20, 22
# What one instance says of itself in the registry, with its name and frames.
ROW_BYTES = 65
# Time of Redis for one script on a core of a server, and between two machines there and back, in milliseconds: for fleets
# that are only computed.
SCRIPT_MS, ROUND_TRIP_MS = 0.04, 0.5
# Pauses between the looks of whoever waits for receipts, in milliseconds: the first, how they grow, the longest.
PAUSES = (2, 1.5, 50)


class Load:
    """Requests for `keys` keys that live `ttl` seconds, `rate` a second and instance, spread evenly; purges a second.

    `value` is how many bytes a stored response has in Redis, `fetch` how long the origin takes, in seconds.
    """

    def __init__(self, keys, ttl, rate, purges, value, fetch):
        self.keys, self.ttl, self.rate, self.purges, self.value, self.fetch = keys, ttl, rate, purges, value, fetch


def model(count, load, waited=None):
    """Per second, for `count` instances, of whose look-ups so many had to wait for another's fetch, if that is known.

    A key's life in the fleet is a row of epochs: it is fetched, lives for its lifetime, and is fetched anew by the first
    request after that. In an epoch an instance asks Redis at most once: when a first request for the key reaches it.
    """
    each = load.rate / load.keys
    epoch = load.ttl + 1 / (count * each)
    fetches = load.keys / epoch
    # The one that fetches has asked as well.
    lookups = fetches * (1 + (count - 1) * (1 - math.exp(-each * load.ttl)))
    if waited is None:
        waited = fetches * (count - 1) * (1 - math.exp(-each * load.fetch))
    looks = count * (BEATS + LOOKS_PER_PURGE * load.purges)
    messages = load.purges * count
    # A purge reads of everybody for its receipts. A heartbeat does so only after somebody came or went.
    registry = load.purges * count * ROW_BYTES
    sent = looks * LOOK_BYTES + messages * (RECORD_BYTES + MESSAGE_BYTES)
    # What has expired is still there to be validated, so that the one that fetches is sent the old value as well, and so
    # is whoever waits for it.
    sent += (lookups + waited) * (LOOKUP_BYTES + load.value) + (fetches + waited) * FETCH_BYTES
    # And has to ask twice; who waits asks again after that.
    scripts = lookups + 2 * fetches + 2 * waited + looks + SCRIPTS_PER_PURGE * load.purges
    return {
        "origin": fetches,
        # If each had to fetch for itself.
        "alone": count * load.keys / (load.ttl + 1 / each),
        "lookups": lookups,
        "fills": fetches,
        "scripts": scripts,
        "messages": messages,
        # All hear of the end of a fetch for which somebody waits.
        "wakes": fetches * count * (1 - math.exp(-(count - 1) * each * load.fetch)),
        "registry": registry,
        "sent": sent + registry,
        "redis": scripts * SCRIPT_MS / 1000,
        "applied_ms": 3 * ROUND_TRIP_MS + LOOKS_PER_PURGE * count * SCRIPT_MS,
    }


def noticed_ms(applied):
    """When a purge that has reached all after so many milliseconds is known to have: at the next look."""
    pause, growth, longest = PAUSES
    at = 0.0
    while at < applied:
        at, pause = at + pause, min(pause * growth, longest)
    return at


def simulate(count, load, seconds, seed=1):
    """Fetches and look-ups by playing them: arrivals are random, nothing is computed."""
    draw = random.Random(seed)
    each = load.rate / load.keys
    fetches = lookups = 0
    # Keys do not know of each other, so a part of them stands for all.
    begin, end = 2 * load.ttl, 2 * load.ttl + seconds
    keys = max(1, min(load.keys, int(2_000_000 / (count * each * end))))
    for _ in range(keys):
        # Keys are at different moments of their lives.
        shared_until, local_until = draw.uniform(0, load.ttl), [0.0] * count
        now = 0.0
        while (now := now + draw.expovariate(count * each)) <= end:
            instance = draw.randrange(count)
            if local_until[instance] > now:
                continue
            lookups += now >= begin
            if shared_until <= now:
                fetches += now >= begin
                shared_until = now + load.ttl
            local_until[instance] = shared_until
    scale = load.keys / keys / seconds
    return {"origin": fetches * scale, "lookups": lookups * scale}
