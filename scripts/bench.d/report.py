"""Tables and the plot of what scripts/bench has measured."""

import os
import pathlib
import platform
import re
import subprocess

import plot
from measure import median

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE, PLOT = ROOT / "docs/performance.md", ROOT / "docs/performance.svg"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = {
    "per_second": ("per second", "{:,.0f}"),
    "cpu_us": ("CPU us each", "{:.1f}"),
    "p50_ms": ("p50 ms", "{:.2f}"),
    "p99_ms": ("p99 ms", "{:.2f}"),
    "p999_ms": ("p99.9 ms", "{:.2f}"),
    "memory_mib": ("MiB", "{:.0f}"),
    "bytes_each": ("bytes each", "{:,.0f}"),
    "first_hit_ms": ("ms", "{:.1f}"),
    "origin_requests": ("origin requests", "{:.0f}"),
    "hit_ratio": ("hit ratio", "{:.3f}"),
    "grown_mib": ("MiB grown by", "{:.1f}"),
    "miss_p50_ms": ("p50 of misses, ms", "{:.1f}"),
    "posted_per_second": ("purges a second", "{:,.0f}"),
    "posted_p99_ms": ("p99 of purge, ms", "{:.1f}"),
    "late_p99_ms": ("load late, p99 ms", "{:.2f}"),
    "load_core": ("load core busy", "{:.0%}"),
    "failed": ("failed", "{:.0f}"),
}


def figures(done, calm):
    """Medians over the rounds, and whether each bar was met."""
    result = []
    for work in done:
        rows = {}
        for server, measured in work.rows.items():
            names = [name for name in COLUMNS if any(name in row for row in measured)]
            rows[server] = {name: median(row[name] for row in measured if name in row) for name in names}
        bars = []
        for bar in work.bars:
            bars.append({**bar, "met": is_met(bar)})
        result.append({"key": work.key, "title": work.title, "rows": rows, "bars": bars})
    return {"machine": machine(), "calm": calm.summary(), "works": result}


def is_met(bar):
    if bar["limit"] is None:
        return True
    return bar["value"] >= bar["limit"] if bar["least"] else bar["value"] <= bar["limit"]


def machine():
    """What the figures were measured on and with."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    versions = {
        "nginx": version(["nginx", "-v"]),
        "HAProxy": version(["haproxy", "-v"]),
        "Varnish": version(["varnishd", "-V"]),
        "Redis": version(["redis-server", "--version"]),
        "memcached": version(["memcached", "-V"]),
    }
    kernel = platform.release().split("-")[0]
    setting = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")
    congestion = setting.read_text().strip() if setting.exists() else "an unknown congestion control"
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": kernel, "congestion": congestion, "versions": versions}


def version(command):
    """The first number with a dot that a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found.group() if found else "unknown"


def columns(work):
    return [name for name in COLUMNS if any(name in row for row in work["rows"].values())]


def verdict(bar):
    if bar["limit"] is None:
        return f"{bar['text']}: {bar['value']:.2f}"
    relation = "at least" if bar["least"] else "at most"
    return f"{bar['text']}: {bar['value']:.2f}, bar {relation} {bar['limit']:g}: {'met' if bar['met'] else 'MISSED'}"


def text(figures):
    """The report for a terminal."""
    lines = ["", figures["calm"]]
    for work in figures["works"]:
        names = columns(work)
        lines += ["", work["title"]]
        lines.append("  " + f"{'':<28}" + "".join(f"{COLUMNS[name][0]:>17}" for name in names))
        for server, row in work["rows"].items():
            cells = (COLUMNS[name][1].format(row[name]) if name in row else "" for name in names)
            lines.append("  " + f"{server:<28}" + "".join(f"{cell:>17}" for cell in cells))
        lines += [f"  {verdict(bar)}" for bar in work["bars"]]
    return "\n".join(lines)


def markdown(figures, chosen):
    """The same for the docs."""
    machine = figures["machine"]
    command = f"scripts/bench --rounds {chosen.rounds} --seconds {chosen.seconds} --patience {chosen.patience} --write"
    lines = [f"Measured with `{command}` on {machine['cores']}"]
    lines += [f"cores of {machine['cpu']}, Linux {machine['kernel']} (TCP: {machine['congestion']}), with"]
    lines += [", ".join(f"{name} {number}" for name, number in machine["versions"].items()) + ".", ""]
    lines += [f"Of the machine: {figures['calm']}.", ""]
    lines += ["Requests per second, each work to its own scale; the small figure is the ratio to the first of its group:", ""]
    lines += [f"![Requests per second of each server in each work]({PLOT.name})", ""]
    for work in figures["works"]:
        names = columns(work)
        lines += [f"### {work['title']}", "", "| | " + " | ".join(COLUMNS[name][0] for name in names) + " |"]
        lines.append("| --- |" + " ---: |" * len(names))
        for server, row in work["rows"].items():
            cells = (COLUMNS[name][1].format(row[name]) if name in row else "" for name in names)
            lines.append(f"| {server} | " + " | ".join(cells) + " |")
        lines.append("")
        lines += [f"- {verdict(bar)}" for bar in work["bars"]]
        lines.append("")
    return "\n".join(lines)


def write(figures, chosen):
    """Puts the table into the page of the docs and draws the plot."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{markdown(figures, chosen)}\n{END}{after}")
    PLOT.write_text(plot.draw(figures))
