"""The tables: for a terminal, and in Markdown between markers of docs/performance.md. No number is written by hand."""

import dataclasses
import re

from . import figures, instructions, loads, plan, servers, startup

NOTHING = "–"
#: What ours may cost at most, as a multiple of bare ASGI.
TARGETS = {
    "echo-1": 1.03,
    "echo-50": 1.06,
    "echo-16k": 1.06,
    "ingest": 1.10,
    "push": 1.05,
    "connect": 1.5,
    "login": 4.0,
    "bye": 1.5,
    "room": 1.1,
    "room-redis": 1.3,
    "memory 5000": 1.3,
}
#: What the package may add to the start of a process, in milliseconds.
STARTUP_TARGET = 30


@dataclasses.dataclass(frozen=True)
class PeerRow:
    """A row of the main table."""

    title: str
    probe: str
    figure: str = "cpu"
    study: str = "peers"
    unit: str = "µs"
    target: float = None

    def absolute(self, studies, variant):
        """Return the Summary of what it costs."""
        return figures.absolute(studies.get(self.study, []), variant, self.probe, self.figure)

    def ratio(self, studies, variant):
        """Return the Summary of what it costs as a multiple of bare ASGI."""
        return figures.ratio(studies.get(self.study, []), variant, self.probe, self.figure)


PEER_ROWS = [PeerRow(load.title, load.key, target=TARGETS[load.key]) for load in loads.ALL]
PEER_ROWS.insert([row.probe for row in PEER_ROWS].index("room"), PeerRow("…, elapsed time", "bye", "wall"))
PEER_ROWS += [
    PeerRow(f"memory of an idle connection, {level:,} open", "memory", str(level), "memory", "KiB", target)
    for level, target in ((1000, None), (5000, TARGETS["memory 5000"]))
]


def number(value, digits=2):
    """Return a number in so many significant digits, without an exponent."""
    if value is None:
        return NOTHING
    rounded = float(f"{value:.{digits}g}")
    before = len(f"{abs(rounded):.0f}") if abs(rounded) >= 1 else 0
    return f"{rounded:,.{max(0, digits - before)}f}"


def median(summary, digits=3):
    """Return the text of a median."""
    return number(summary.median if summary else None, digits)


def multiple(summary):
    """Return the text of a ratio with its spread."""
    if summary is None:
        return NOTHING
    digits = 2 if summary.median < 3 else 1
    low, high = (f"{value:.{digits}f}" for value in (summary.low, summary.high))
    return f"{summary.median:.{digits}f} ({low}–{high})" if low != high else f"{summary.median:.{digits}f}"


def peers_table(run):
    """Return the main table: head and rows."""
    studies = run["studies"]
    others = [peer for peer in servers.PEERS if peer.key != "bare"]
    head = ["workload", "bare ASGI", *(peer.title for peer in others), "target"]
    rows = []
    for row in PEER_ROWS:
        base = row.absolute(studies, "bare")
        if base is None:
            continue
        cells = [multiple(row.ratio(studies, peer.key)) for peer in others]
        rows.append([row.title, f"1 ({median(base)} {row.unit})", *cells, target_text(row, studies)])
    return head, rows


def target_text(row, studies):
    """Return a target, marked where ours misses it."""
    if row.target is None:
        return NOTHING
    reached = row.ratio(studies, "ours")
    return f"≤ {row.target:.2f}" + (" ✗" if reached and reached.median > row.target else "")


def instructions_table(run):
    """Return the table of instructions."""
    rounds, rows = run["studies"].get("instructions", []), []
    for load, _ in instructions.AMOUNTS:
        base = figures.absolute(rounds, "bare", load.key, "instructions")
        if base is not None:
            others = (figures.ratio(rounds, peer.key, load.key, "instructions") for peer in instructions.PEERS[1:])
            rows.append([load.title, f"1 ({median(base)})", *map(multiple, others)])
    return ["instructions", *(peer.title for peer in instructions.PEERS)], rows


def scaling_table(run):
    """Return the table of costs as work grows."""
    head = [
        *("what grows", "to", "CPU for each connection, µs", "of bare ASGI", "connections/s"),
        *("CPU for each echo, µs", "memory of an idle socket, KiB"),
    ]
    studies = run["studies"]
    rows = [socket_row(studies.get("sockets", []), level) for level in plan.SOCKETS]
    rows += [connect_row(studies, "middleware", count) for count in plan.MIDDLEWARE]
    rows += [connect_row(studies, "patterns", count, "URL patterns") for count in plan.PATTERNS]
    rows += [connect_row(studies, "workers", count) for count in plan.WORKERS]
    return head, [row for row in rows if row[2] != NOTHING]


def socket_row(rounds, level):
    """Return the row for so many open sockets."""
    cpu, wall = (figures.absolute(rounds, "ours", "memory", f"{figure} {level}") for figure in ("cpu", "wall"))
    return [
        *("open sockets", f"{level:,}", median(cpu), multiple(figures.ratio(rounds, "ours", "memory", f"cpu {level}"))),
        *(rate(wall), NOTHING, median(figures.absolute(rounds, "ours", "memory", str(level)))),
    ]


def connect_row(studies, study, count, title=None):
    """Return the row for so many of something."""
    rounds, variant = studies.get(study, []), f"{study}-{count}"
    return [
        *(title or study, f"{count:,}", median(figures.absolute(rounds, variant, "connect"))),
        *(multiple(figures.ratio(rounds, variant, "connect")), rate(figures.absolute(rounds, variant, "connect", "wall"))),
        *(median(figures.absolute(rounds, variant, "echo-50")), NOTHING),
    ]


def rate(wall):
    """Return operations in a second, given microseconds."""
    return number(1e6 / wall.median, 2) if wall else NOTHING


def servers_table(run):
    """Return the table of servers."""
    head = [
        *("server", "CPU for each message, µs", "CPU for each connection, µs"),
        *("memory of an idle socket, KiB", "memory of the process, MiB"),
    ]
    rounds = run["studies"].get("servers", [])
    return head, [server_row(rounds, server) for server in plan.SERVERS]


def server_row(rounds, server):
    """Return the row of a server."""
    process = figures.absolute(rounds, server.key, "memory", "0")
    return [
        server.title,
        median(figures.absolute(rounds, server.key, "echo-50")),
        median(figures.absolute(rounds, server.key, "connect")),
        median(figures.absolute(rounds, server.key, "memory", "1000")),
        number(process.median / 1024 if process else None),
    ]


def startup_table(run):
    """Return the table of start-ups."""
    rounds = run["studies"].get("startup", [])
    rows = []
    for each in startup.VARIANTS:
        added = figures.difference(rounds, each.key, "startup") if each is not startup.PLAIN else None
        spread = f"{added.median:.0f} ({added.low:.0f}–{added.high:.0f})" if added else NOTHING
        rows.append([each.title, median(figures.absolute(rounds, each.key, "startup"), 3), spread])
    return ["CPU until the application is there", "ms", "added to Django's own, ms"], rows


def generator_table(run):
    """Return the table of the load generator, beside what the cheapest server in Python computes meanwhile."""
    rows = []
    for row in PEER_ROWS:
        own = figures.absolute(run["studies"].get("ceiling", []), "c", row.probe, "generator")
        if own and row.figure == "cpu":
            wall = figures.absolute(run["studies"]["ceiling"], "c", row.probe, "wall")
            rows.append([row.title, rate(wall), median(own, 2), median(row.absolute(run["studies"], "bare"), 2)])
    return ["against a server in C", "operations/s", "CPU of the generator, µs", "CPU of bare ASGI, µs"], rows


def environment_text(run):
    """Return a sentence about where the run was made."""
    about = run["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"Recorded {run['recorded'][:10]} at revision {about['revision']} on {about['processor']} with {about['cores']} "
        f"cores, {about['system']}, Python {about['python']}: {versions}."
    )


def counted_text(run):
    """Return a sentence about when the instructions were counted."""
    date, revision = run.get("counted", ("–", "–"))
    return f"Counted {date[:10]} at revision {revision}."


TABLES = {
    "peers": peers_table,
    "instructions": instructions_table,
    "scaling": scaling_table,
    "servers": servers_table,
    "startup": startup_table,
    "generator": generator_table,
}
TEXTS = {"environment": environment_text, "counted": counted_text}


def markdown(table):
    """Return a table in Markdown."""
    head, rows = table
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(table):
    """Return a table for a terminal."""
    head, rows = table
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in [head, *rows]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def filled_in(document, run):
    """Return a document with everything between its markers made anew: ``<!-- bench: peers -->…<!-- end -->``."""

    def fill(match):
        name = match.group(1)
        text = TEXTS[name](run) if name in TEXTS else markdown(TABLES[name](run))
        return f"<!-- bench: {name} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- bench: (\w+) -->.*?<!-- end -->", fill, document, flags=re.DOTALL)
