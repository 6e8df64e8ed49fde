"""What is measured: everything (``make bench``), or what daily work asks for (``make bench-quick``)."""

import dataclasses

from . import ceiling, loads, startup
from .servers import BARE, OURS, PEERS, daphne, granian, hypercorn
from .study import Cost, Memory, Study

MIDDLEWARE = (1, 7, 8, 15)  # seven are Django's; the rest is a project's own
PATTERNS = (1, 10, 100, 1000)
WORKERS = (1, 2, 3, 4)
SOCKETS = (1000, 5000, 10000)
#: Seconds of each take. Short, for the sake of more processes: they differ more than takes do.
TAKE = 0.1


def costs(seconds, chosen=tuple(loads.ALL)):
    """Return the probes for loads."""
    return [Cost(load, seconds) for load in chosen]


def ours(key, title, *options, **fields):
    """Return ours in another setting."""
    environment = tuple((name, str(value)) for name, value in fields.pop("environment", {}).items())
    return dataclasses.replace(OURS, key=key, title=title, options=options, environment=environment, **fields)


def with_middleware(count):
    """Return ours with so many middleware."""
    return ours(f"middleware-{count}", f"{count} middleware", environment={"BENCH_MIDDLEWARE": count})


def with_patterns(count):
    """Return ours with so many URL patterns."""
    return ours(f"patterns-{count}", f"{count} URL patterns", environment={"BENCH_PATTERNS": count})


def with_workers(count):
    """Return ours with so many worker processes: one of them does without a process that looks after it."""
    processes = count + 1 if count > 1 else 1
    return ours(f"workers-{count}", f"{count} workers", "auto", count, processes=processes)


SERVERS = [
    ours("uvicorn-sansio", "Uvicorn, websockets-sansio", "websockets-sansio"),
    ours("uvicorn-websockets", "Uvicorn, websockets", "websockets"),
    ours("uvicorn-wsproto", "Uvicorn, wsproto", "wsproto"),
    ours("hypercorn", "Hypercorn", server=hypercorn, processes=2),
    ours("daphne", "Daphne", server=daphne),
    ours("granian", "Granian", server=granian, processes=2),
]


def full(compiled_server, most_sockets):
    """Return the studies of the full run. With them: the start-up, which needs no server."""
    sockets = [level for level in SOCKETS if level <= most_sockets]
    everybody = [dataclasses.replace(peer, every=1) for peer in PEERS]
    studies = [
        Study("peers", PEERS, costs(TAKE), 12),
        Study("memory", everybody, [Memory((1000, 5000))], 2),
        Study("sockets", [BARE, OURS], [Memory(sockets, cost=Cost(loads.CONNECT, TAKE))], 2),
        Study("middleware", [BARE, *map(with_middleware, MIDDLEWARE)], costs(TAKE, [loads.CONNECT]), 5),
        Study("patterns", [BARE, *map(with_patterns, PATTERNS)], costs(TAKE, [loads.CONNECT]), 5),
        Study("workers", list(map(with_workers, WORKERS)), costs(2 * TAKE, [loads.CONNECT, loads.ECHO_50]), 3),
        Study("servers", SERVERS, [Memory((1000,)), *costs(TAKE, [loads.ECHO_50, loads.CONNECT])], 3),
    ]
    if compiled_server:
        studies.append(ceiling.study(compiled_server, TAKE, 2))
    return studies


def quick():
    """Return the studies of the quick run: ours and the limit."""
    return [
        Study("peers", [BARE, OURS], costs(TAKE), 8),
        Study("memory", [BARE, OURS], [Memory((1000,))], 2),
    ]


def tiny():
    """Return studies that measure nothing well, but run through everything in seconds, for the tests."""
    small = [dataclasses.replace(load, first=50, connections=min(load.connections, 5)) for load in loads.ALL]
    for load in small:
        if isinstance(load, loads.Connect):
            load.together = min(load.together, 5)
    return [
        Study("peers", [BARE, OURS], costs(0.01, small), 1),
        Study("memory", [BARE, OURS], [Memory((20, 40), warm_up=50)], 1),
    ]


#: Whose start is timed, and how often.
STARTUPS = {"full": (startup.VARIANTS, 15), "quick": (startup.VARIANTS[:2], 9), "tiny": (startup.VARIANTS[:2], 1)}
