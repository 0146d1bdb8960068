"""What scripts/bench measures: the works by their names, in the order of the report."""

import fetches
import hits
import memory

WORKS = {
    "hit-1k": hits.hit_1k,
    "hit-16k": hits.hit_16k,
    "hit-256k": hits.hit_256k,
    "connections": hits.connections,
    "hit-l2": hits.hit_l2,
    "pass": fetches.passed,
    "miss": fetches.missed,
    "shapes": hits.shapes,
    "latency": fetches.latency,
    "purges": hits.purges,
    "objects": memory.objects,
    "cold-start": fetches.cold_start,
    "logs": hits.logs,
    "idle": memory.idle,
    "hit-ratio": memory.hit_ratio,
}
