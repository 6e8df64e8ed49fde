"""Who is present, known in every process that asks: by messages alone, so that it works on every broker.

Each process tells the others who comes to it and who leaves it, over a line that all of them hear, and keeps a table of what
the others say. The alternative is a table in the engine. It would have to be written for each engine anew, and to a Channels
layer it could not be; each look at it would be a question to the engine, each process would have to renew there what it has
put there, and somebody would have to find out who takes away what the dead have left. Here a look costs nothing, a process
that dies is forgotten by all others when it has been silent for a while, and each of them tells its own clients. The price:
a process that begins to ask knows everybody after a tenth of a second only, and each process that is asked, or has somebody
present, holds what is said of everybody who is present anywhere.

What is told are dictionaries. ``process`` is who says it, ``version`` how much that process has told in all:

- ``changes``: lists of a topic, a key, whether they are there, and what is said of them or how long to wait for them.
- ``state``: everybody who is there, lists of a topic, a key and what is said of them; in ``parts``, of which
  this is ``part``.
- none of these: the process is alive. Whoever knows another version than it says has missed something, and asks.
- ``ask``: the processes that are to tell their state, None for all; ``process`` is who asks.
"""

import asyncio
import collections
import logging
import random
import typing
import uuid
from typing import Any

from .._compat import Context
from .line import Line
from .message import RESERVED, encode
from .table import Table

if typing.TYPE_CHECKING:
    from .broker import Broker
    from .rooms import Rooms
    from .table import Place

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

TOPIC = RESERVED + "presence"

#: How long changes are gathered before they are told, in seconds: a thousand people who come at once are one message.
BATCH = 0.02

#: How often a process says that it is alive, and how long it may be silent, in seconds: long enough for two to be lost.
HEARTBEAT = 5
TTL = 15

#: How long the answers of other processes are waited for, and how long the engine itself, in seconds.
SETTLE = 0.1
PATIENCE = 1

#: How long to go on listening when nobody is present here and nobody asks, in seconds.
IDLE = 60

#: How many people one message is about.
PEOPLE_PER_MESSAGE = 200

#: How many messages wait for an engine that is away; those who miss the others ask.
OUTBOX = 1000

#: How long people are waited for who have gone while nobody listened, in seconds.
LINGER = 5


class Process:
    """What is known of another process."""

    def __init__(self) -> None:
        # How much it has told; None where something of it was missed.
        self.version: "int | None" = 0
        # When it was heard last, and when it was asked, by the clock of the loop.
        self.heard = 0.0
        self.asked: float = -TTL
        # Parts of its state that have come, and their version.
        self.parts: "dict[int, list[Any]]" = {}
        self.parts_version = 0


class Tracker:
    """What one event loop knows of who is present on a broker; all is called in that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: "Broker", rooms: "Rooms") -> None:
        self.loop = loop
        self.rooms = rooms
        self._broker = broker
        # Whether there is nobody else to tell: no other process, and no other event loop in this one.
        self.alone = not broker.shared
        self._line = Line(broker, TOPIC, self.told, self._missed)
        self.table = Table(loop, rooms.changed, rooms.left)
        # Who this is, and how much it has told.
        self.process = uuid.uuid4().hex
        self._version = 0
        self._others: "dict[str, Process]" = {}
        # Those present here: what each of their sockets says of them.
        self._present: "dict[Place, collections.OrderedDict[object, Any]]" = {}
        # What is yet to be told, and the timers of that, of the state, and of the next sign of life.
        self._changes: "list[list[Any]]" = []
        self._telling: "asyncio.TimerHandle | None" = None
        self._answering: "asyncio.TimerHandle | None" = None
        self._beating: "asyncio.TimerHandle | None" = None
        # The timer of the end.
        self._idle: "asyncio.TimerHandle | None" = None
        # What waits to be sent, and the task that sends it.
        self._outbox: "collections.deque[dict[str, Any]]" = collections.deque(maxlen=OUTBOX)
        self._sending: "asyncio.Task[None] | None" = None
        # Whether the engine took what was sent last, and when something of it came back, by the clock of the loop.
        self._sent = True
        self._echoed = 0.0
        # Done when the others have had the time to answer.
        self._settled: "asyncio.Future[None] | None" = None

    @property
    def active(self) -> bool:
        """Whether it listens."""
        return self._beating is not None

    # What is asked of it

    def use(self) -> None:
        """Listen, and go on for a while."""
        if self._beating is None:
            self._line.take()
            self._echoed = self.loop.time()
            self._settled = self.loop.create_future()
            if self.alone:
                self._settled.set_result(None)
            else:
                self._later(PATIENCE, self._settle)
            self._beat()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._present:
            self._idle = self._later(IDLE, self.close)

    async def settled(self) -> None:
        """Wait until the others have had the time to answer."""
        if self._settled is not None and not self._settled.done():
            await asyncio.shield(self._settled)

    async def people(self, topic: str) -> "dict[str, Any]":
        """Return who is at a topic."""
        self.use()
        await self.settled()
        return self.table.people(topic)

    def enter(self, place: "Place", who: object, info: Any) -> None:
        """Note that a socket is there, and what it says of its user."""
        sockets = self._present.setdefault(place, collections.OrderedDict())
        sockets.pop(who, None)
        sockets[who] = info
        self.use()
        self._say(place)

    def leave(self, place: "Place", who: object, linger: float) -> None:
        """Note that a socket is there no more."""
        del self._present[place][who]
        if self._present[place]:
            self._say(place)
            return
        del self._present[place]
        self.table.unset(self.process, place, linger)
        self._change([place[0], place[1], False, linger])
        self.use()

    def _say(self, place: "Place") -> None:
        """Say what the last socket says."""
        info = next(reversed(self._present[place].values()))
        if place not in self.table.places(self.process) or self.table.places(self.process)[place] != info:
            self.table.set(self.process, place, info)
            self._change([place[0], place[1], True, info])

    def close(self) -> None:
        """Listen no more, and forget everybody."""
        for timer in (self._telling, self._answering, self._beating, self._idle):
            if timer is not None:
                timer.cancel()
        self._telling = self._answering = self._beating = self._idle = None
        self._line.close()
        self._outbox.clear()
        self._others.clear()
        self.table.clear()
        self._settle()

    def _later(self, seconds: float, callback: "typing.Callable[[], None]") -> asyncio.TimerHandle:
        # Not in the context of the socket that happens to be the first.
        return Context().run(self.loop.call_later, seconds, callback)

    # What it tells

    def _change(self, change: "list[Any]") -> None:
        self._changes.append(change)
        if self._telling is None:
            self._telling = self._later(BATCH, self._tell)

    def _tell(self) -> None:
        """Tell what has changed."""
        self._telling = None
        changes, self._changes = self._changes, []
        for some in slices(changes):
            self._version += 1
            self._post(changes=some)

    def _tell_state(self) -> None:
        """Tell who is here."""
        self._answering = None
        if self._telling is not None:
            self._telling.cancel()
            self._tell()
        state = [[topic, key, info] for (topic, key), info in self.table.places(self.process).items()]
        parts = slices(state) or [[]]
        for number, part in enumerate(parts):
            self._post(state=part, part=number, parts=len(parts))

    def _beat(self) -> None:
        """Tell that this process is alive; forget those that are not."""
        self._beating = self._later(HEARTBEAT, self._beat)
        self._post()
        since = self.loop.time() - TTL
        if self._echoed < since:
            # The engine is away, and nobody can be heard.
            return
        for process in [name for name, other in self._others.items() if other.heard < since]:
            del self._others[process]
            self.table.replace(process, {}, 0)

    def _ask(self, *processes: str) -> None:
        self._post(ask=list(processes) or None)

    def _post(self, **data: Any) -> None:
        if self.alone:
            return
        self._outbox.append(dict(data, process=self.process, version=self._version))
        if self._sending is None:
            self._sending = Context().run(self.loop.create_task, self._send())

    async def _send(self) -> None:
        try:
            while self._outbox:
                await self._send_one(self._outbox.popleft())
        finally:
            self._sending = None

    async def _send_one(self, data: "dict[str, Any]") -> None:
        try:
            await self._broker.apublish(TOPIC, encode(data))
            self._sent = True
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            # Those who miss it will ask.
            if self._sent:
                logger.warning("other processes cannot be told who is present here: %s", exc)
            self._sent = False

    # What it is told

    def told(self, data: "dict[str, Any]") -> None:
        """Learn from another process."""
        if data["process"] == self.process:
            self._echoed = self.loop.time()
            return
        if "ask" in data:
            if self._version and (data["ask"] is None or self.process in data["ask"]) and self._answering is None:
                # Not all at the same time, and once for all who ask.
                self._answering = self._later(BATCH * random.random(), self._tell_state)
            return
        other = self._others.setdefault(data["process"], Process())
        other.heard = self.loop.time()
        if "state" in data:
            self._learn_state(data, other)
        elif "changes" in data and other.version is not None and data["version"] == other.version + 1:
            self._learn(data["process"], data["changes"])
            other.version += 1
        elif other.version is None or data["version"] > other.version:
            self._doubt(data["process"], other)

    def _learn(self, process: str, changes: "list[list[Any]]") -> None:
        for topic, key, is_there, more in changes:
            if is_there:
                self.table.set(process, (topic, key), more)
            else:
                self.table.unset(process, (topic, key), more)

    def _learn_state(self, data: "dict[str, Any]", other: Process) -> None:
        if other.version is not None and data["version"] <= other.version:
            return
        if data["version"] != other.parts_version:
            other.parts, other.parts_version = {}, data["version"]
        other.parts[data["part"]] = data["state"]
        if len(other.parts) == data["parts"]:
            people = {(topic, key): info for part in other.parts.values() for topic, key, info in part}
            self.table.replace(data["process"], people, LINGER)
            other.version, other.parts = data["version"], {}

    def _doubt(self, process: str, other: Process) -> None:
        """Ask a process of which something was missed, unless it has just been asked."""
        other.version = None
        if other.asked < self.loop.time() - PATIENCE:
            other.asked = self.loop.time()
            self._ask(process)

    def _missed(self) -> None:
        """Ask everybody: nothing was heard until now."""
        for other in self._others.values():
            other.version = None
            other.asked = other.heard = self.loop.time()
        self._ask()
        self._later(SETTLE, self._settle)

    def _settle(self) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)


def slices(people: "list[Any]") -> "list[list[Any]]":
    """Return people in as many as one message is about."""
    return [people[begin:begin + PEOPLE_PER_MESSAGE] for begin in range(0, len(people), PEOPLE_PER_MESSAGE)]
