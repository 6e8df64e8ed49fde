"""The channel of one event loop, and the groups that it is in."""

import asyncio
import collections
import contextlib
import typing
import uuid
from typing import Any

from ..message import Message
from ..steady import SteadyLink, fail

if typing.TYPE_CHECKING:
    from ..hub import Hub
    from . import ChannelsBroker

#: The type of the messages: in Channels a consumer's method ``pistoke_message`` gets them.
MESSAGE, BEAT = "pistoke.message", "pistoke.beat"

#: How often a link looks whether a message of its own comes back, in seconds. A layer may reconnect in silence to an engine
#: that has forgotten who is in which group.
BEAT_EVERY = 5


class ChannelsLink(SteadyLink):
    """One channel of the layer, in a group for each topic."""

    _broker: "ChannelsBroker"

    def __init__(self, broker: "ChannelsBroker", hub: "Hub") -> None:
        self._layer = broker.layer()
        self._channel = ""
        # The group in which it is alone, for the beats; done when something has come since the last of those.
        self._own = broker.group("beat." + uuid.uuid4().hex)
        self._heard: "asyncio.Future[None] | None" = None
        # The topics whose groups it is in, and those whose groups it is to be in.
        self._joined: "set[str]" = set()
        self._followed: "set[str]" = set()
        # Groups to be in (True) or not, in order; what is done then; what says that there are some.
        self._changes: "collections.deque[tuple[bool, str, asyncio.Future[None] | None]]" = collections.deque()
        self._changed: "asyncio.Future[None] | None" = None
        self._tasks: "list[asyncio.Task[None]]" = []
        super().__init__(broker, hub)

    async def _connect(self, again: bool) -> None:
        try:
            if not self._channel:
                self._channel = await self._layer.new_channel()
            self._start(self._receive())
            # One layer knows a channel only once somebody receives from it.
            await asyncio.sleep(0)
            await self._layer.group_add(self._own, self._channel)
            for topic in self._joined - set(self._hub.topics):
                await self._put(False, topic)
            while not self._followed.issuperset(self._hub.topics):
                for topic in set(self._hub.topics) - self._followed:
                    self._followed.add(topic)
                    await self._put(True, topic)
            await self._beat()
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            raise self._unavailable(reason(exc)) from exc
        self._start(self._change())
        self._start(self._keep_beating())

    def _start(self, work: "typing.Coroutine[Any, Any, None]") -> None:
        self._tasks.append(self._loop.create_task(self._or_lose(work)))

    async def _or_lose(self, work: "typing.Coroutine[Any, Any, None]") -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self._lose(exc)

    # Groups

    def _ask(self, topic: str) -> "asyncio.Future[None]":
        future: "asyncio.Future[None]" = self._loop.create_future()
        self._followed.add(topic)
        self._add_change(True, topic, future)
        return future

    def unsubscribe(self, topic: str) -> None:
        """Be in the group of a topic no more."""
        super().unsubscribe(topic)
        if topic in self._followed:
            self._followed.discard(topic)
            self._add_change(False, topic, None)

    def _add_change(self, is_in: bool, topic: str, future: "asyncio.Future[None] | None") -> None:
        self._changes.append((is_in, topic, future))
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _change(self) -> None:
        """Go into groups and out of them, one after another; stay in them longer than the layer keeps anybody there."""
        refreshed, lifetime = self._loop.time(), getattr(self._layer, "group_expiry", None) or 86400
        while True:
            while self._changes:
                await self._make_change(*self._changes.popleft())
            if self._loop.time() - refreshed > lifetime / 3:
                refreshed = self._loop.time()
                for topic in list(self._followed):
                    self._add_change(True, topic, None)
                await self._layer.group_add(self._own, self._channel)
                continue
            self._changed = self._loop.create_future()
            await asyncio.wait([self._changed], timeout=lifetime / 6)

    async def _make_change(self, is_in: bool, topic: str, future: "asyncio.Future[None] | None") -> None:
        try:
            await self._put(is_in, topic)
        except Exception as exc:
            if future is not None:
                fail(future, self._unavailable(reason(exc)))
            raise
        if future is not None and not future.done():
            future.set_result(None)

    async def _put(self, is_in: bool, topic: str) -> None:
        """Be in the group of a topic, or not."""
        if is_in:
            self._joined.add(topic)
            await self._layer.group_add(self._broker.group(topic), self._channel)
        else:
            await self._layer.group_discard(self._broker.group(topic), self._channel)
            self._joined.discard(topic)

    # Messages

    async def _receive(self) -> None:
        while True:
            event = await self._layer.receive(self._channel)
            if self._heard is not None and not self._heard.done():
                # While others are waiting to be received, the beat may be the one that the layer drops.
                self._heard.set_result(None)
            if event.get("type") == MESSAGE:
                self._hub.arrived(Message(event["topic"], event["payload"]))
                await self._hub.delivered()

    async def _beat(self) -> None:
        """Raise ConnectionError where no message comes back."""
        self._heard = self._loop.create_future()
        await self._layer.group_send(self._own, {"type": BEAT})
        waited: "list[asyncio.Future[Any]]" = [self._heard, self._lost]
        await asyncio.wait(waited, timeout=BEAT_EVERY, return_when=asyncio.FIRST_COMPLETED)
        if not self._heard.done():
            raise ConnectionError("no message came back within {} s".format(BEAT_EVERY))

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY)
            await self._beat()

    # The end

    def close(self) -> None:
        """Leave all groups."""
        self._broker.wait_for(self._task)
        super().close()
        if self._channel:
            self._broker.wait_for(self._loop.create_task(self._leave()))

    async def _leave(self) -> None:
        # What stays behind after an error is forgotten by the layer, in time.
        with contextlib.suppress(Exception):
            await self._layer.group_discard(self._own, self._channel)
            for topic in list(self._joined):
                await self._put(False, topic)

    def _hang_up(self) -> None:
        for task in self._tasks:
            self._broker.end(task)
        self._tasks.clear()
        while self._changes:
            _, _, future = self._changes.popleft()
            if future is not None:
                fail(future, self._unavailable(self._error))
        self._followed.clear()


def reason(exc: Exception) -> object:
    """Return what an exception says, or its kind where it says nothing."""
    return exc if str(exc) else type(exc).__name__
