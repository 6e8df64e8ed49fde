"""The topics that one event loop follows: subscribed, and subscribed again whenever the engine is back."""

import asyncio
import collections
import logging
import random
import typing
from typing import Any

from ...exceptions import BrokerUnavailable
from ..broker import Link
from .line import Line
from .servers import is_elsewhere

if typing.TYPE_CHECKING:
    from ..hub import Hub
    from ..message import Message
    from . import RedisBroker
    from .servers import Server

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: The pause before a connection is made anew: the first, and the longest, in seconds. Each is twice the one before, and
#: drawn at random from its second half, so that the processes of a site do not come all at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5

#: For how long nobody asks again whether the engine is back, in seconds; who wants to subscribe is told at once.
TOLD_AT_ONCE = 0.5


class RedisLink(Link):
    """The connections over which messages come: one, or one for each server."""

    def __init__(self, broker: "RedisBroker", hub: "Hub") -> None:
        self._broker = broker
        self._hub = hub
        self._loop = hub.loop
        self._lines: "dict[Server, Line]" = {}
        # The topics that are subscribed, by the channels that carry them.
        self._followed: "dict[bytes, str]" = {}
        # What waits until there is a connection.
        self._waiting: "dict[str, asyncio.Future[None]]" = {}
        # Whether there is one; what ended the last, and when.
        self._up = False
        self._error: "BaseException | None" = None
        self._failed_at = 0.0
        # What has come and has to wait for what was missed before it.
        self._held: "collections.deque[Message] | None" = None
        # Done when the connection is lost, and when the pause before a new one is over.
        self._lost: "asyncio.Future[Exception]" = self._loop.create_future()
        self._pausing: "asyncio.Future[None] | None" = None
        self._task = self._loop.create_task(self._run())

    # What the hub calls

    def subscribe(self, topic: str) -> "asyncio.Future[None]":
        """Ask for the messages of a topic."""
        if self._up:
            return self._ask(topic)
        future: "asyncio.Future[None]" = self._loop.create_future()
        if self._error is not None and self._loop.time() - self._failed_at < TOLD_AT_ONCE:
            future.set_exception(self._broker.unavailable(self._error))
            return future
        self._waiting[topic] = future
        self._end_pause()
        return future

    def unsubscribe(self, topic: str) -> None:
        """Ask for no more messages of a topic."""
        waiting = self._waiting.pop(topic, None)
        if waiting is not None:
            waiting.cancel()
        channel = self._broker.channel(topic)
        if self._followed.pop(channel.encode(), None) is not None:
            line = self._lines.get(self._broker.servers.of(topic))
            if line is not None:
                line.call(self._broker.words_for("UNSUBSCRIBE"), channel)

    def close(self) -> None:
        """End the connections."""
        self._broker.lines().end(self._task)
        self._down(ConnectionError("the connection was closed"))

    # Connecting

    async def _run(self) -> None:
        was_up, failures = False, 0
        while True:
            self._lost = self._loop.create_future()
            if was_up:
                # From the first confirmation on: a message that comes before what was missed would hide that.
                self._held = collections.deque()
            try:
                await self._connect()
            except BrokerUnavailable as exc:
                failures += 1
                self._down(exc.reason)
                logger.log(
                    logging.WARNING if failures == 1 else logging.DEBUG, "no connection of %r: %s", self._broker.alias, exc
                )
            else:
                failures = 0
                logger.info("the engine of broker %r is %s", self._broker.alias, "back" if was_up else "connected")
                await self._stay(was_up)
                was_up = True
            await self._pause(failures)

    async def _connect(self) -> None:
        """Subscribe to every topic that is followed; return when all is confirmed."""
        if self._broker.servers.unknown:
            await self._broker.find_servers()
        while True:
            topics = [topic for topic in self._hub.topics if self._broker.channel(topic).encode() not in self._followed]
            if not topics:
                break
            asked = [self._ask(topic) for topic in topics]
            await asyncio.wait(asked)
            for future in asked:
                future.result()
        self._up = True
        self._error = None
        while self._waiting:
            _, future = self._waiting.popitem()
            if not future.done():
                future.set_result(None)

    def _ask(self, topic: str) -> "asyncio.Future[None]":
        server, channel = self._broker.servers.of(topic), self._broker.channel(topic)
        line = self._lines.get(server)
        if line is None:
            line = self._lines[server] = self._broker.lines().open(server, self._pushed, self._lose)
        self._followed[channel.encode()] = topic
        return self._told(line.call(self._broker.words_for("SUBSCRIBE"), channel))

    def _told(self, answer: "asyncio.Future[Any]") -> "asyncio.Future[None]":
        """Return a future of the answer whose errors are those of brokers."""
        told: "asyncio.Future[None]" = self._loop.create_future()

        def tell(answer: "asyncio.Future[Any]") -> None:
            error = answer.exception()
            if error is not None and is_elsewhere(error):
                self._broker.servers.forget()
                self._lose(error)
            if told.done():
                return
            if error is None:
                told.set_result(None)
            else:
                told.set_exception(self._broker.unavailable(error))
                told.exception()

        answer.add_done_callback(tell)
        return told

    # Being connected

    async def _stay(self, restore: bool) -> None:
        """Return when the connection is lost."""
        restoring = None
        if restore:
            restoring = self._loop.create_task(self._restore())
        try:
            error = await self._lost
        finally:
            if restoring is not None:
                self._broker.lines().end(restoring)
        logger.warning("the connection of broker %r to its engine was lost: %s", self._broker.alias, error)
        self._down(error)

    async def _restore(self) -> None:
        try:
            await self._hub.restored()
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            # Whatever it was, what comes now must not wait for ever.
            logger.exception("what was missed could not be found out")
            self._lose(exc)
            return
        held = self._held
        while held:
            self._hub.arrived(held.popleft())
            await self._hub.delivered()
        self._held = None

    async def _pushed(self, answer: "list[Any]") -> None:
        topic = self._followed.get(answer[1])
        if topic is None:
            return
        message = self._broker.received(topic, answer[2])
        if self._held is not None:
            self._held.append(message)
        else:
            self._hub.arrived(message)
            # What nobody takes stays in the engine, which may end the connection for it.
            await self._hub.delivered()

    # Being without

    def _lose(self, error: BaseException) -> None:
        if not self._lost.done():
            self._lost.set_result(error)  # type: ignore[arg-type]

    def _down(self, error: object) -> None:
        """Close what is left of the connections, and tell those who wait."""
        self._up = False
        self._error = error  # type: ignore[assignment]
        self._failed_at = self._loop.time()
        self._held = None
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        self._followed.clear()
        self._broker.servers.forget()
        while self._waiting:
            _, future = self._waiting.popitem()
            if not future.done():
                future.set_exception(self._broker.unavailable(error))
                future.exception()

    async def _pause(self, failures: int) -> None:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures)
        self._pausing = self._loop.create_future()
        timer = self._loop.call_later(random.uniform(longest / 2, longest), self._end_pause)
        try:
            await self._pausing
        finally:
            timer.cancel()
            self._pausing = None

    def _end_pause(self) -> None:
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)
