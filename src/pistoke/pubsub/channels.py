"""A layer of Channels: whatever implements one carries what is published."""

import asyncio
import collections
import concurrent.futures
import contextlib
import hashlib
import os
import re
import threading
import typing
import uuid
from typing import Any, Mapping

from django.core.exceptions import ImproperlyConfigured

try:
    from channels.layers import InMemoryChannelLayer, channel_layers
except ImportError as exc:
    raise ImportError(
        "expected Channels 3 or later (pip install 'django-pistoke[channels]'), got: {}".format(exc), name="channels"
    ) from exc

from .._compat import get_running_loop
from ..exceptions import BrokerUnavailable
from .broker import Broker, Link, Missed, forget_closed
from .message import Message
from .steady import SteadyLink, fail, stop

if typing.TYPE_CHECKING:
    from .hub import Hub
    from .message import Position

#: What a layer takes as the name of a group.
GROUP = re.compile(r"[A-Za-z0-9_.-]{1,99}")

#: The type of the messages: in Channels a consumer's method ``pistoke_message`` gets them.
MESSAGE, BEAT = "pistoke.message", "pistoke.beat"

#: How often a link looks whether a message of its own comes back, in seconds. A layer may reconnect in silence to an engine
#: that has forgotten who is in which group.
BEAT_EVERY = 5

#: How long synchronous code waits for the layer, in seconds.
PATIENCE = 30


class ChannelsBroker(Broker):
    """A broker on a layer of Channels.

    ``LOCATION`` is its name in ``CHANNEL_LAYERS``; ``prefix``, of ``OPTIONS``, is what the names of groups begin with. A
    layer keeps no history; and what it drops, because more messages wait than its ``capacity``, nobody is told of.
    """

    def __init__(self, alias: str, location: Any, options: Mapping[str, Any], history: Mapping[str, Any]) -> None:
        super().__init__(alias, location, options, history)
        self._name: str = location or "default"
        self._prefix: str = options.get("prefix", "pistoke.")
        self._check()
        # A layer for each event loop: most do not serve two at a time.
        self._layers: "dict[asyncio.AbstractEventLoop, Any]" = {}
        # Tasks that end, by their loops.
        self._ending: "dict[asyncio.AbstractEventLoop, list[asyncio.Task[None]]]" = {}
        self._background = Background()

    def _check(self) -> None:
        problem = None
        if self._name not in channel_layers.configs:
            problem = "expected the name of one of CHANNEL_LAYERS as LOCATION, got {!r}".format(self._name)
        elif self._history:
            problem = "expected no HISTORY, because a layer of Channels keeps none"
        elif set(self.options) - {"prefix"}:
            problem = "expected no OPTIONS but 'prefix', got {}".format(", ".join(sorted(map(repr, self.options))))
        if problem is not None:
            raise ImproperlyConfigured("PISTOKE_PUBSUB[{!r}]: {}".format(self.alias, problem))

    def layer(self) -> Any:
        """Return the layer of the running event loop."""
        loop = get_running_loop()
        if loop not in self._layers:
            forget_closed(self._layers)
            forget_closed(self._ending)
            self._layers[loop] = self._make_layer()
        return self._layers[loop]

    def _make_layer(self) -> Any:
        shared = channel_layers[self._name]
        # One in memory is what it holds; any other has its own connections.
        return shared if isinstance(shared, InMemoryChannelLayer) else channel_layers.make_backend(self._name)

    def group(self, topic: str) -> str:
        """Return the group of a topic."""
        name = self._prefix + topic
        return name if GROUP.fullmatch(name) else "{}h.{}".format(self._prefix, hashlib.sha1(topic.encode()).hexdigest())

    # What a broker does

    def publish(self, topic: str, payload: str) -> None:
        """Publish from any thread."""
        self._background.run(self.apublish(topic, payload), self._loop_to_publish_in(), self.alias)

    def _loop_to_publish_in(self) -> "asyncio.AbstractEventLoop | None":
        """Return the event loop that a layer in memory belongs to, None where any will do."""
        if isinstance(channel_layers[self._name], InMemoryChannelLayer):
            for loop, hub in list(self._hubs.items()):
                if hub.topics and loop.is_running():
                    return loop
        return None

    async def apublish(self, topic: str, payload: str) -> None:
        """Publish from a coroutine."""
        await self.send(self.group(topic), {"type": MESSAGE, "topic": topic, "payload": payload})

    async def send(self, group: str, message: "dict[str, Any]") -> None:
        """Send a message to a group."""
        try:
            await self.layer().group_send(group, message)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            # What a layer raises is its own affair.
            raise BrokerUnavailable(self.alias, reason(exc)) from exc

    def position(self, topic: str) -> "Position | None":
        """Return None: there is no history."""
        return None

    async def aposition(self, topic: str) -> "Position | None":
        """Return None: there is no history."""
        return None

    async def missed(self, topic: str, since: "Position | None") -> Missed:
        """Return that nobody knows."""
        return Missed([], False, None)

    def connect(self, hub: "Hub") -> Link:
        """Return a link; it connects in its own time."""
        return ChannelsLink(self, hub)

    def end(self, task: "asyncio.Task[None]") -> None:
        """Cancel a task, whose end :meth:`aclose` waits for."""
        stop(task)
        self.wait_for(task)

    def wait_for(self, task: "asyncio.Task[None]") -> None:
        """Have :meth:`aclose` wait for a task."""
        tasks = self._ending.setdefault(get_running_loop(), [])
        tasks[:] = [task for task in tasks if not task.done()] + [task]

    def close(self) -> None:
        """End the event loop of synchronous code, and with it the connections of its layer."""
        self._background.close()

    async def aclose(self) -> None:
        """Leave all groups; close the connections of the layer, where it knows how to."""
        await super().aclose()
        tasks = self._ending.pop(get_running_loop(), None)
        if tasks:
            await asyncio.wait(tasks)
        layer = self._layers.get(get_running_loop())
        close_pools = getattr(layer, "close_pools", None)
        if close_pools is not None and not self.hub().topics:
            with contextlib.suppress(Exception):
                await close_pools()


def reason(exc: Exception) -> object:
    """Return what an exception says, or its kind where it says nothing."""
    return exc if str(exc) else type(exc).__name__


class Background:
    """An event loop in a thread of its own, for synchronous code: the layer's connections stay."""

    def __init__(self) -> None:
        # Guards the loop; and the process that it was started in, whose children have no such thread.
        self._lock = threading.Lock()
        self._pid: "int | None" = None
        self._loop: "asyncio.AbstractEventLoop | None" = None
        self._thread: "threading.Thread | None" = None

    def run(
        self, coroutine: "typing.Coroutine[Any, Any, None]", loop: "asyncio.AbstractEventLoop | None", alias: str
    ) -> None:
        """Run a coroutine in an event loop, by default the one of the thread, and wait for it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, loop or self._started())
        try:
            future.result(PATIENCE)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise BrokerUnavailable(alias, "no answer for {} s".format(PATIENCE)) from None

    def _started(self) -> "asyncio.AbstractEventLoop":
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=serve, args=(self._loop,), name="pistoke-pubsub", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            loop, thread, own = self._loop, self._thread, self._pid == os.getpid()
            self._loop = self._thread = None
        if loop is not None and thread is not None and own:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(PATIENCE)


def serve(loop: "asyncio.AbstractEventLoop") -> None:
    """Run an event loop until it is stopped."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        # What channels_redis has opened is closed by this.
        loop.close()


class ChannelsLink(SteadyLink):
    """One channel of the layer, in a group for each topic."""

    _broker: ChannelsBroker

    def __init__(self, broker: ChannelsBroker, hub: "Hub") -> None:
        self._layer = broker.layer()
        self._channel = ""
        # The group in which it is alone, for the beats; done when something has come since the last of those.
        self._own = broker.group("beat." + uuid.uuid4().hex)
        self._heard: "asyncio.Future[None] | None" = None
        # The topics whose groups it is in, or is about to be in.
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
            while not self._followed.issuperset(self._hub.topics):
                for topic in set(self._hub.topics) - self._followed:
                    self._followed.add(topic)
                    await self._layer.group_add(self._broker.group(topic), self._channel)
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
            change = self._layer.group_add if is_in else self._layer.group_discard
            await change(self._broker.group(topic), self._channel)
        except Exception as exc:
            if future is not None:
                fail(future, self._unavailable(reason(exc)))
            raise
        if future is not None and not future.done():
            future.set_result(None)

    # Messages

    async def _receive(self) -> None:
        while True:
            event = await self._layer.receive(self._channel)
            if self._heard is not None and not self._heard.done():
                # While others are waiting to be received, the beat may be the one that the layer drops.
                self._heard.set_result(None)
            if event.get("type") == MESSAGE and event["topic"] in self._followed:
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
        left = list(self._followed) + [topic for is_in, topic, _ in self._changes if not is_in]
        super().close()
        if self._channel:
            self._broker.wait_for(self._loop.create_task(self._leave(left)))

    async def _leave(self, topics: "list[str]") -> None:
        # What stays behind after an error is forgotten by the layer, in time.
        with contextlib.suppress(Exception):
            for group in [self._own] + [self._broker.group(topic) for topic in topics]:
                await self._layer.group_discard(group, self._channel)

    def _hang_up(self) -> None:
        for task in self._tasks:
            self._broker.end(task)
        self._tasks.clear()
        while self._changes:
            _, _, future = self._changes.popleft()
            if future is not None:
                fail(future, self._unavailable(self._error))
        self._followed.clear()
