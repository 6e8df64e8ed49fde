"""The connection of an event loop that listens."""

import asyncio
import collections
import logging
import random
import typing

from ...exceptions import PistokeException
from ..broker import Link
from ..message import Message
from .session import in_a_line, open_session
from .statements import channel_of, read_notice

if typing.TYPE_CHECKING:
    from ..hub import Hub
    from . import PostgreSQLBroker
    from .session import Session
    from .statements import Notice

    #: A statement, and who waits until it is done.
    Command = typing.Tuple[str, typing.Optional["asyncio.Future[None]"]]

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: The first and the longest wait before another attempt to connect, in seconds; each is twice the one before, less up to a
#: half, so that the processes do not come all at once.
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0

#: How often the connection is asked whether it lives, in seconds.
HEARTBEAT = 30.0

#: How many topics are listened to in one statement.
BATCH = 500


class PostgreSQLLink(Link):
    """One connection that listens to all topics of an event loop.

    There is a channel for each topic, so that the server wakes only those who follow it. While all is well there is no task,
    only the reader of the connection.
    """

    def __init__(self, broker: "PostgreSQLBroker", hub: "Hub") -> None:
        self._broker = broker
        self._hub = hub
        self._session: "Session | None" = None
        # Why there is none; None before the first attempt has ended.
        self._reason: "Exception | None" = None
        # Whether members may have missed something once there is one.
        self._is_behind = False
        # Channels and their topics.
        self._topics: "dict[str, str]" = {}
        # What is to be executed, and whether something is.
        self._commands: "list[Command]" = []
        self._is_flushing = False
        # Notifications that wait for one before them; None where none has to.
        self._waiting: "collections.deque[tuple[str, Notice]] | None" = None
        # How often in a row it was tried in vain; the next attempt or the next heartbeat; the tasks under way.
        self._failures = 0
        self._timer: "asyncio.TimerHandle | None" = None
        self._tasks: "set[asyncio.Task[None]]" = set()
        self._start(self._connect())

    def _start(self, work: "typing.Coroutine[typing.Any, typing.Any, None]") -> None:
        task = self._hub.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What the hub calls

    def subscribe(self, topic: str) -> "asyncio.Future[None]":
        """Listen to a topic."""
        future: "asyncio.Future[None]" = self._hub.loop.create_future()
        if self._reason is not None:
            future.set_exception(self._broker.unavailable(self._reason))
        else:
            channel = self._channel(topic)
            self._commands.append(("LISTEN " + channel, future))
            self._flush()
        # Whoever asked may be gone.
        future.add_done_callback(lambda future: future.cancelled() or future.exception())
        return future

    def _channel(self, topic: str) -> str:
        channel = channel_of(self._broker.schema, topic)
        self._topics[channel] = topic
        return channel

    def unsubscribe(self, topic: str) -> None:
        """Listen to a topic no more."""
        channel = channel_of(self._broker.schema, topic)
        if self._topics.pop(channel, None) is not None and self._reason is None:
            self._commands.append(("UNLISTEN " + channel, None))
            self._flush()

    def close(self) -> None:
        """End the connection."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            self._session.close()
            self._session = None
        self._fail(ConnectionError("the connection is closed"))

    # Commands

    def _flush(self) -> None:
        """Execute what has gathered, all at once: a hundred clients that come together wait for one answer."""
        if self._session is None or self._is_flushing or not self._commands:
            return
        batch, self._commands = self._commands[:BATCH], self._commands[BATCH:]
        self._is_flushing = True
        done = self._session.execute("; ".join(command for command, _ in batch).encode())
        done.add_done_callback(lambda done: self._flushed(done, batch))

    def _flushed(self, done: "asyncio.Future[typing.Any]", batch: "list[Command]") -> None:
        self._is_flushing = False
        self._answer(batch, done.exception())
        self._flush()

    def _answer(self, batch: "list[Command]", error: "BaseException | None") -> None:
        for _, future in batch:
            if future is None or future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(self._broker.unavailable(error))

    # The connection

    async def _connect(self) -> None:
        session = None
        try:
            session = await open_session(self._broker.listening.params())
            session.notified = self._notified
            await self._listen(session)
        except asyncio.CancelledError:
            if session is not None:
                session.close()
            raise
        except Exception as exc:
            if session is not None:
                session.close()
            self._down(exc)
        else:
            await self._up(session)

    async def _listen(self, session: "Session") -> None:
        """Listen to what is followed; at the first time that is what waits to be executed."""
        if self._is_behind:
            # What comes now comes after what was missed.
            self._waiting = collections.deque()
            self._topics.clear()
            commands = ["LISTEN " + self._channel(topic) for topic in self._hub.topics]
            for start in range(0, len(commands), BATCH):
                await session.execute("; ".join(commands[start:start + BATCH]).encode())

    async def _up(self, session: "Session") -> None:
        self._session, self._reason, self._failures = session, None, 0
        session.lost = self._lost
        self._flush()
        self._timer = self._hub.loop.call_later(HEARTBEAT, self._beat)
        if self._is_behind:
            logger.info("broker %r hears the engine again", self._broker.alias)
            await self._restore()
            await self._pass_on(self._waiting)
        if self._session is session:
            self._is_behind = False
        else:
            # It has gone again meanwhile.
            self._retry()

    async def _restore(self) -> None:
        try:
            await self._hub.restored()
        except asyncio.CancelledError:
            raise
        except Exception:
            # Whatever it was: what has come meanwhile is to be passed on all the same.
            logger.exception("broker %r could not tell that it hears the engine again", self._broker.alias)

    def _lost(self, reason: Exception) -> None:
        logger.warning("broker %r has lost its engine: %s", self._broker.alias, in_a_line(reason))
        is_catching_up, self._is_behind = self._is_behind, True
        self._fail(reason)
        if not is_catching_up:
            self._retry()

    def _down(self, reason: Exception) -> None:
        level = logging.DEBUG if self._failures else logging.WARNING
        logger.log(level, "broker %r does not reach its engine: %s", self._broker.alias, in_a_line(reason))
        self._fail(reason)
        self._retry()

    def _fail(self, reason: Exception) -> None:
        """Let those who wait know, and those who come."""
        self._session, self._reason = None, reason
        # What has come and was not passed on yet comes again, or is reported as missing.
        self._waiting = None
        commands, self._commands = self._commands, []
        self._answer(commands, self._reason)
        if self._timer is not None:
            self._timer.cancel()

    def _retry(self) -> None:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1)
        self._failures += 1
        self._timer = self._hub.loop.call_later(wait, lambda: self._start(self._connect()))

    def _beat(self) -> None:
        """Ask whether the connection lives, without an answer it is lost; and let what has expired be deleted."""
        if self._session is None:
            return
        self._timer = self._hub.loop.call_later(HEARTBEAT, self._beat)
        self._session.execute(b"SELECT 1").add_done_callback(lambda done: done.exception())
        self._start(self._broker.prune_quietly())

    # Notifications

    def _notified(self, channel: str, text: str) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            return
        try:
            notice = read_notice(text)
        except ValueError as exc:
            logger.warning("broker %r was sent something by somebody else: %s", self._broker.alias, exc)
            return
        if self._waiting is not None:
            self._waiting.append((topic, notice))
        elif notice.payload is None:
            self._waiting = collections.deque([(topic, notice)])
            self._start(self._pass_on(self._waiting))
        else:
            self._hub.arrived(message_of(topic, notice, notice.payload))

    async def _pass_on(self, waiting: "collections.deque[tuple[str, Notice]] | None") -> None:
        """Pass on what waits, in the order it came, for as long as the connection lasts."""
        while waiting and self._waiting is waiting:
            topic, notice = waiting.popleft()
            payload = notice.payload if notice.payload is not None else await self._fetched(topic, notice)
            if payload is not None:
                self._hub.arrived_late(message_of(topic, notice, payload))
            elif self._waiting is waiting:
                await self._hub.catch_up(topic)
        if self._waiting is waiting:
            self._waiting = None

    async def _fetched(self, topic: str, notice: "Notice") -> "str | None":
        """Return the payload of a notification that was too short for it; None where it cannot be had."""
        try:
            return await self._broker.stored(topic, notice.position)
        except PistokeException as exc:
            logger.warning("a message of %s could not be fetched: %s", topic, exc)
            return None


def message_of(topic: str, notice: "Notice", payload: str) -> Message:
    """Return the message of a notification."""
    return Message(topic, payload, notice.position if notice.is_kept else None)
