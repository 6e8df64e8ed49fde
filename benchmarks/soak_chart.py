"""The plot of a soak: memory and processor time over time, as SVG written by hand."""

from .chart import STYLE, text

LEFT, RIGHT, TOP, BOTTOM, WIDTH, HEIGHT = 60, 60, 60, 40, 860, 320

LINES = """
.line { fill: none; stroke-width: 1.5; }
.memory { stroke: #0969da; }
.cpu { stroke: #bc4c00; }
"""


def draw(found):
    """Return the plot."""
    samples = found["samples"]
    end = max(seconds for seconds, _, _ in samples)
    memory = [(seconds, kib / 1024) for seconds, kib, _ in samples]
    cpu = [(seconds, 100 * part) for seconds, _, part in samples]
    sockets = f"{found['idle']:,} idle sockets, {found['busy']:,} busy ones, clients that come and go: one process"
    events = f"{found['messages']:,} messages, {found['visits']:,} visits, {len(found['failures'])} failures"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<style>{STYLE}{LINES}</style>",
        text(LEFT, 22, sockets, "title"),
        text(LEFT, 42, events, "quiet"),
    ]
    parts += axis(memory, "MiB", LEFT - 8, "end") + line(memory, end, "memory")
    parts += axis(cpu, "% of a processor", WIDTH - RIGHT + 8, "start") + line(cpu, end, "cpu", low=0, high=100)
    for moment in (end * quarter / 4 for quarter in range(5)):
        parts.append(text(x_of(moment, end), HEIGHT - BOTTOM + 18, f"{moment:.0f} s", "quiet", "middle"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def x_of(seconds, end):
    """Return where a moment lies."""
    return LEFT + (WIDTH - LEFT - RIGHT) * seconds / end


def y_of(value, low, high):
    """Return where a value lies."""
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)


def line(points, end, kind, low=0, high=None):
    """Return a line through points."""
    high = high or 1.25 * max(value for _, value in points)
    path = " ".join(f"{x_of(seconds, end):.1f},{y_of(value, low, high):.1f}" for seconds, value in points)
    return [f'<polyline class="line {kind}" points="{path}"/>']


def axis(points, unit, x, anchor):
    """Return the labels of a vertical axis: nothing, and the most there is."""
    high = 100 if unit.startswith("%") else 1.25 * max(value for _, value in points)
    return [
        text(x, y_of(0, 0, high), "0", "quiet", anchor),
        text(x, TOP, f"{high:.0f}", "quiet", anchor),
        text(x, TOP - 10, unit, "quiet", anchor),
    ]
