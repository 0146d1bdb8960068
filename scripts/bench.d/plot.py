"""Draws what scripts/bench has measured: requests per second of each server, as bars."""

import html

# Height of a bar and of the space between two works; where names and bars begin; the longest bar; room for figures.
BAR, GAP, LEFT, WIDTH, RIGHT = 18, 22, 190, 430, 130
# Colours for a light and for a dark page: the picture asks which one it is on.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.note { fill: #57606a }
.ours { fill: #1f6f8b }
.peer { fill: #aab4bd }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #8d96a0 }
  .ours { fill: #4fb3d4 }
  .peer { fill: #59636e }
}
"""


def draw(figures):
    """An SVG with one group of bars for each work that compares servers, each to its own scale."""
    body, y = [], 8
    for work in figures["works"]:
        rates = {name: row["per_second"] for name, row in work["rows"].items() if "per_second" in row}
        if len(rates) < 2 or work["key"] == "latency":
            # The rate is given there, and not what is compared.
            continue
        drawn, y = group(work["title"], rates, y)
        body += drawn
    width = LEFT + WIDTH + RIGHT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" role="img">'
    title = "<title>Requests per second of each server in each work</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *body, "</svg>"]) + "\n"


def group(title, rates, y):
    """The bars of one work from `y` on, and where the next begin."""
    lines = [f'<text class="title" x="0" y="{y + 12}">{html.escape(title)}, requests per second</text>']
    y += 20
    most, first = max(rates.values()), next(iter(rates.values()))
    # Some works compare Millpond with itself.
    alone = not any(name.startswith("Millpond") for name in rates)
    for place, (name, rate) in enumerate(rates.items()):
        length = max(1, round(WIDTH * rate / most))
        kind = "ours" if alone or name.startswith("Millpond") else "peer"
        # The first is what the others are compared with.
        note = f' <tspan class="note">{rate / first:.2f}</tspan>' if place else ""
        middle = y + BAR - 6
        lines.append(f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{html.escape(name)}</text>')
        lines.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length}" height="{BAR - 4}" rx="2"/>')
        lines.append(f'<text x="{LEFT + length + 6}" y="{middle}">{rate:,.0f}{note}</text>')
        y += BAR
    return lines, y + GAP
