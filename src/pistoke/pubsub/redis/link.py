"""The topics that one event loop follows: subscribed, and subscribed again whenever the engine is back."""

import asyncio
import collections
import typing
from typing import Any

from ..steady import SteadyLink, fail
from .line import Line
from .servers import is_elsewhere

if typing.TYPE_CHECKING:
    from ..hub import Hub
    from ..message import Message
    from . import RedisBroker
    from .servers import Server


class RedisLink(SteadyLink):
    """The connections over which messages come: one, or one for each server."""

    _broker: "RedisBroker"

    def __init__(self, broker: "RedisBroker", hub: "Hub") -> None:
        self._lines: "dict[Server, Line]" = {}
        # The topics that are subscribed, by the channels that carry them.
        self._followed: "dict[bytes, str]" = {}
        # What has come and has to wait for what was missed before it.
        self._held: "collections.deque[Message] | None" = None
        super().__init__(broker, hub)

    async def _connect(self, again: bool) -> None:
        if again:
            # From the first confirmation on: a message that comes before what was missed would hide that.
            self._held = collections.deque()
        if self._broker.servers.unknown:
            await self._broker.find_servers()
        while True:
            topics = [topic for topic in self._hub.topics if self._broker.channel(topic).encode() not in self._followed]
            if not topics:
                return
            asked = [self._ask(topic) for topic in topics]
            await asyncio.wait(asked)
            for future in asked:
                future.result()

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
            if error is None:
                if not told.done():
                    told.set_result(None)
                return
            fail(told, self._unavailable(error))
            if is_elsewhere(error):
                self._lose(error)

        answer.add_done_callback(tell)
        return told

    def unsubscribe(self, topic: str) -> None:
        """Ask for no more messages of a topic."""
        super().unsubscribe(topic)
        channel = self._broker.channel(topic)
        line = self._lines.get(self._broker.servers.of(topic))
        if self._followed.pop(channel.encode(), None) is not None and line is not None:
            line.call(self._broker.words_for("UNSUBSCRIBE"), channel)

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

    async def _restore(self) -> None:
        await self._hub.restored()
        held = self._held
        while held:
            self._hub.arrived_late(held.popleft())
            await self._hub.delivered()
        self._held = None

    def close(self) -> None:
        """End the connections."""
        self._broker.lines().wait_for(self._task)
        super().close()

    def _hang_up(self) -> None:
        self._held = None
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        self._followed.clear()
        self._broker.servers.forget()
