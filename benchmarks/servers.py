"""The servers that are measured: how each is started, and what the kernel says it has used. (Linux only)"""

import asyncio
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import typing

from .client import connect

HERE = pathlib.Path(__file__).parent
EARLIER = HERE / ".venv-earlier" / "bin" / "python"

#: Servers ping their clients every twenty seconds or so. Ours do not answer, and would take a ping for an answer.
NO_PINGS = "600"


def uvicorn(python, application, port, implementation="auto", workers=1):
    """Return the command line of Uvicorn."""
    return [
        *(python, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port)),
        *("--log-level", "error", "--no-access-log", "--lifespan", "off", "--workers", str(workers)),
        *("--ws", implementation, "--ws-ping-interval", NO_PINGS, "--ws-ping-timeout", NO_PINGS),
    ]


def hypercorn(python, application, port):
    """Return the command line of Hypercorn."""
    return [
        *(python, "-m", "hypercorn", application, "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "uvloop", "--log-level", "error"),
    ]


def daphne(python, application, port):
    """Return the command line of Daphne."""
    return [
        *(python, "-m", "daphne", application, "--bind", "127.0.0.1", "--port", str(port)),
        *("--verbosity", "0", "--ping-interval", NO_PINGS, "--ping-timeout", NO_PINGS),
    ]


def granian(python, application, port):
    """Return the command line of Granian."""
    return [
        *(python, "-m", "granian", application, "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)),
        *("--loop", "uvloop", "--log-level", "error"),
    ]


@dataclasses.dataclass(frozen=True)
class Variant:
    """Something to start and measure beside others."""

    key: str
    title: str
    module: str = ""  # in benchmarks.apps
    server: typing.Callable = uvicorn
    options: tuple = ()  # more arguments for the server
    environment: tuple = ()  # pairs
    python: str = sys.executable
    lacks: tuple = ()  # keys of loads it cannot do
    every: int = 1  # it takes part in every n-th round only
    processes: int = 1  # that have to be there before it is ready

    def command(self, port):
        """Return the command line."""
        return self.server(self.python, f"benchmarks.apps.{self.module}:application", port, *self.options)

    @property
    def available(self):
        """Tell whether its Python is installed."""
        return pathlib.Path(self.python).exists()


BARE = Variant("bare", "bare ASGI", "bare")
OURS = Variant("ours", "pistoke", "ours")
STARLETTE = Variant("starlette", "Starlette", "starlette_app", lacks=("login", "room-redis"))
# What these two cost is far from the others, and needs no third digit.
CHANNELS = Variant("channels", "Channels", "channels_app", every=3)
# Of the same name as ours, so that nothing may lead to ours.
EARLIER_PISTOKE = Variant(
    *("earlier", "pistoke 0.9", "earlier"),
    python=str(EARLIER),
    every=3,
    environment=(("PYTHONPATH", ""),),
    lacks=("room-redis",),
)
PEERS = [BARE, OURS, STARLETTE, CHANNELS, EARLIER_PISTOKE]


class Server:
    """A running server: ``async with Server(variant, environment) as site: …``."""

    def __init__(self, variant, environment=(), cookie=""):
        self.variant = variant
        self.environment = dict(os.environ, **dict(environment), **dict(variant.environment))
        self.cookie = cookie  # the key of a session
        self.port = free_port()

    async def __aenter__(self):
        self.start()
        try:
            await asyncio.wait_for(self.ready(), 60)
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(self, *exc_info):
        self.stop()

    def start(self):
        """Start the process, in a session of its own, so that its workers end with it."""
        self.process = subprocess.Popen(
            self.variant.command(self.port),
            cwd=HERE.parent,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    async def ready(self):
        """Wait until a socket can be opened, and the server has nothing left to do."""
        while not await self.answers():  # noqa: ASYNC110  (another process has no event)
            await asyncio.sleep(0.05)
        await self.settle()

    async def answers(self):
        """Return whether all processes are there and a socket can be opened; raise RuntimeError if the server has ended."""
        if self.process.poll() is not None:
            lines = self.process.stderr.read().decode(errors="replace").splitlines() or [""]
            raise RuntimeError(f"the server ended with status {self.process.returncode}: {lines[-1]}")
        try:
            client = await connect(self.port, "/echo/")
        except OSError:
            return False
        client.transport.abort()
        return len(self.pids()) >= self.variant.processes

    async def settle(self, pause=0.1):
        """Wait until the server has nothing left to do."""
        before, now = -1, self.cpu()
        while now - before > 0.02 * pause:
            await asyncio.sleep(pause)
            before, now = now, self.cpu()

    def stop(self):
        """End it at once: there is nothing to save, and not every server hurries with open sockets."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stderr.close()

    def pids(self):
        """Return the processes of the server."""
        return list(family(self.process.pid))

    def cpu(self):
        """Return the processor time used so far, in seconds; that of threads that have ended included."""
        return sum(cpu_of(pid) for pid in self.pids())

    def memory(self):
        """Return the resident memory, in KiB."""
        return sum(resident(pid) for pid in self.pids())


def free_port():
    """Return a port that nobody listens to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def family(pid):
    """Generate a process and its descendants."""
    yield pid
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from family(int(child))
    except OSError:
        return


def cpu_of(pid):
    """Return the processor time of a process, in seconds, to the nanosecond.

    What ``clock_getcpuclockid(3)`` would name its clock. ``/proc/PID/stat`` counts in hundredths of a second, and the
    ``schedstat`` of threads forgets those that have ended.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def resident(pid):
    """Return the resident memory of a process, in KiB."""
    try:
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Rss:"))
