"""A layer of Channels: whatever implements one carries what is published."""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import re
import typing
from typing import Any, Mapping

from django.core.exceptions import ImproperlyConfigured

try:
    from channels.layers import InMemoryChannelLayer, channel_layers
except ImportError as exc:
    raise ImportError(
        "expected Channels 3 or later (pip install 'django-pistoke[channels]'), got: {}".format(exc), name="channels"
    ) from exc

from ..._compat import get_running_loop
from ...exceptions import BrokerUnavailable
from ..background import Background
from ..broker import Broker, Link, Missed, forget_closed
from ..steady import stop
from .link import MESSAGE, ChannelsLink, reason

if typing.TYPE_CHECKING:
    from ..hub import Hub
    from ..message import Position

#: How long synchronous code waits for the layer, in seconds.
PATIENCE = 30

#: What a layer takes as the name of a group.
GROUP = re.compile(r"[A-Za-z0-9_.-]{1,99}")


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
        loop = self._loop_to_publish_in() or self._background.loop()
        future = asyncio.run_coroutine_threadsafe(self.apublish(topic, payload), loop)
        try:
            future.result(PATIENCE)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise BrokerUnavailable(self.alias, "no answer for {} s".format(PATIENCE)) from None

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
        self._background.stop()

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
