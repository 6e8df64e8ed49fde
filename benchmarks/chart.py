"""The chart, as SVG written by hand: what each peer costs as a multiple of bare ASGI, on a logarithmic axis."""

import math
from xml.sax.saxutils import escape

from . import servers
from .report import PEER_ROWS

LEFT, RIGHT, TOP, BOTTOM, WIDTH = 250, 50, 84, 40, 860
BAR, GAP, GROUP_GAP = 11, 2, 14
TICKS = (1, 1.5, 2, 3, 5, 10, 20, 50, 100)
PEERS = [peer for peer in servers.PEERS if peer.key != "bare"]

STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.quiet { fill: #57606a; font-size: 11px; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.base { stroke: #57606a; stroke-width: 1.5; }
.ours { fill: #0969da; }
.starlette { fill: #8c959f; }
.channels { fill: #bc4c00; }
.earlier { fill: #8250df; }
text.value { fill: #57606a; font-size: 10px; }
text.value.strong { fill: #24292f; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .quiet, text.value { fill: #9198a1; }
  text.value.strong { fill: #e6edf3; }
  .grid { stroke: #30363d; }
  .base { stroke: #9198a1; }
  .ours { fill: #4493f8; }
  .starlette { fill: #6e7681; }
  .channels { fill: #db6d28; }
  .earlier { fill: #ab7df8; }
}
"""


class Axis:
    """Where a ratio lies, from 1 to the largest there is."""

    def __init__(self, largest):
        self.end = next((tick for tick in TICKS if tick >= largest), largest)
        self.scale = (WIDTH - LEFT - RIGHT) / math.log(max(self.end, 1.5))

    def __call__(self, ratio):
        return LEFT + max(0, math.log(ratio)) * self.scale

    @property
    def ticks(self):
        """The ratios to draw a line at."""
        return [tick for tick in TICKS if tick <= self.end]


def text(x, y, content, kind="", anchor="start"):
    """Return a text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def bars(row, ratios, axis, y):
    """Return the elements of one group."""
    parts = [text(LEFT - 12, y + len(ratios) * (BAR + GAP) / 2 + 4, short(row.title), anchor="end")]
    for peer, ratio in ratios:
        end = max(axis(ratio), LEFT + 2)
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" class="{peer.key}"/>')
        label = f"{ratio:.2f}" if ratio < 3 else f"{ratio:.1f}"
        parts.append(text(end + 4, y + BAR - 2, label, "value strong" if peer.key == "ours" else "value"))
        y += BAR + GAP
    return parts


def short(title):
    """Return a title that fits beside the bars."""
    short_titles = {
        "connect": "connect, echo, close",
        "the same": "the same, logged in",
        "server": "server closes first",
        "room": "room of 500, each delivery",
        "memory": "memory of an idle socket",
    }
    return next((value for key, value in short_titles.items() if title.startswith(key)), title)


def chosen_rows(studies):
    """Return the rows of the chart with their ratios."""
    rows = [row for row in PEER_ROWS if row.figure not in ("wall", "1000")]
    found = [(row, ratios_of(row, studies)) for row in rows]
    return [(row, ratios) for row, ratios in found if ratios]


def ratios_of(row, studies):
    """Return the peers that were measured, and what they came to."""
    found = [(peer, row.ratio(studies, peer.key)) for peer in PEERS]
    return [(peer, ratio.median) for peer, ratio in found if ratio]


def legend():
    """Return the key to the colours, and the title."""
    parts = [text(16, 26, "What a WebSocket costs the server, as a multiple of bare ASGI", "title")]
    parts.append(text(16, 44, "CPU of the server for each operation, medians; logarithmic; shorter is better", "quiet"))
    x = LEFT
    for peer in PEERS:
        parts.append(f'<rect x="{x}" y="56" width="{BAR}" height="{BAR}" class="{peer.key}"/>')
        parts.append(text(x + BAR + 5, 66, peer.title))
        x += 40 + 7 * len(peer.title)
    return parts


def grid(axis, bottom):
    """Return the lines of the axis, and their numbers."""
    parts = []
    for tick in axis.ticks:
        x = f"{axis(tick):.1f}"
        kind = "base" if tick == 1 else "grid"
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{bottom}" class="{kind}"/>')
        parts.append(text(axis(tick), bottom + 16, f"{tick:g}" if tick > 1 else "1 = bare ASGI", "quiet", "middle"))
    return parts


def chart(run):
    """Return the SVG document for a run."""
    rows = chosen_rows(run["studies"])
    axis = Axis(max([ratio for _, ratios in rows for _, ratio in ratios], default=2))
    y, groups = TOP, []
    for row, ratios in rows:
        groups += bars(row, ratios, axis, y)
        y += len(ratios) * (BAR + GAP) + GROUP_GAP
    parts = [*grid(axis, y - GROUP_GAP / 2), *legend(), *groups]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + BOTTOM}" width="{WIDTH}" '
            f'height="{y + BOTTOM}" role="img" aria-labelledby="title">',
            '<title id="title">CPU of the server for each operation, as a multiple of bare ASGI</title>',
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )
