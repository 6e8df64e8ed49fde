"""What an engine has to do, and which one a project has chosen."""

import fnmatch
import threading
import typing
from typing import Any, Mapping

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .._compat import get_running_loop
from .hub import Hub
from .message import RESERVED

if typing.TYPE_CHECKING:
    import asyncio

    from .member import Member
    from .message import Message, Position

DEFAULT = "default"


class History(typing.NamedTuple):
    """What a topic keeps: how many messages (``size``), and for how many seconds (``ttl``, None for ever)."""

    size: int
    ttl: "float | None"


class Missed(typing.NamedTuple):
    """What a member has missed since a position.

    ``recovered`` is whether ``messages`` are all of it; ``position`` is that of the last message of the topic.
    """

    messages: "list[Message]"
    recovered: bool
    position: "Position | None"


class Link:
    """The connection of one event loop to the engine, over which messages come to a :class:`~pistoke.pubsub.hub.Hub`.

    Each message is passed to ``hub.arrived`` in the order of its topic. ``hub.restored()`` says that the engine was away and
    is back, ``hub.catch_up(topic)`` that a message of one topic was lost.
    """

    def subscribe(self, topic: str) -> "asyncio.Future[None] | None":
        """Ask for the messages of a topic.

        Returns a future that is done when every message published from then on will arrive, or fails with
        :class:`~pistoke.exceptions.BrokerUnavailable`; None where that holds at once.
        """

    def unsubscribe(self, topic: str) -> None:
        """Ask for no more messages of a topic; what comes all the same is dropped."""

    def close(self) -> None:
        """End the connection: nobody is subscribed to anything."""


class Broker:
    """An engine that carries messages between processes.

    The methods raise :class:`~pistoke.exceptions.BrokerUnavailable` where the engine cannot be reached.
    """

    #: Whether it reaches other processes.
    shared: bool = True

    def __init__(self, alias: str, location: Any, options: Mapping[str, Any], history: Mapping[str, Any]) -> None:
        #: The name of the broker in ``PISTOKE_PUBSUB``, and what that says of it.
        self.alias = alias
        self.location = location
        self.options = options
        # Patterns of topics and what those keep; the first that fits counts.
        self._history = [(pattern, History(rule["size"], rule.get("ttl"))) for pattern, rule in history.items()]
        # The members of each event loop; each knows its loop, so that no weak reference would ever let go of either.
        self._hubs: "dict[asyncio.AbstractEventLoop, Hub]" = {}

    def history_of(self, topic: str) -> "History | None":
        """Return what a topic keeps, None where nothing."""
        for pattern, rule in self._history:
            if fnmatch.fnmatchcase(topic, pattern) and not topic.startswith(RESERVED):
                return rule
        return None

    def hub(self) -> Hub:
        """Return the members of the running event loop."""
        loop = get_running_loop()
        if loop not in self._hubs:
            forget_closed(self._hubs)
            self._hubs[loop] = Hub(self, loop)
        return self._hubs[loop]

    def members(self, topic: str) -> "list[Member]":
        """Return who follows a topic in the running event loop."""
        hub = self._hubs.get(get_running_loop())
        return [] if hub is None else hub.members(topic)

    # What an engine does

    def publish(self, topic: str, payload: str) -> "Position | None":
        """Publish from synchronous code, in any thread; return the position where the topic keeps a history."""
        raise NotImplementedError

    async def apublish(self, topic: str, payload: str) -> "Position | None":
        """Publish from a coroutine."""
        raise NotImplementedError

    def position(self, topic: str) -> "Position | None":
        """Return the position of the last message of a topic, None where it keeps no history."""
        raise NotImplementedError

    async def aposition(self, topic: str) -> "Position | None":
        """The same, from a coroutine."""
        raise NotImplementedError

    async def missed(self, topic: str, since: "Position | None") -> Missed:
        """Return what was published since a position; None is one that nobody knows."""
        raise NotImplementedError

    def connect(self, hub: Hub) -> Link:
        """Return a connection of the running event loop, whose messages go to ``hub``."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what synchronous code has opened."""

    async def aclose(self) -> None:
        """Close what the coroutines of the running event loop have opened; wait until it is closed."""
        hub = self._hubs.get(get_running_loop())
        if hub is not None:
            hub.close()


def forget_closed(loops: "dict[asyncio.AbstractEventLoop, Any]") -> None:
    """Forget what belongs to event loops that are closed."""
    for loop in list(loops):
        if loop.is_closed():
            loops.pop(loop, None)


class Brokers:
    """The brokers of ``PISTOKE_PUBSUB``, each made when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: "dict[str, Broker]" = {}

    def __getitem__(self, alias: str) -> Broker:
        with self._lock:
            if alias not in self._made:
                self._made[alias] = make_broker(alias)
            return self._made[alias]

    def made(self) -> "list[Broker]":
        """Return the brokers that somebody has asked for."""
        with self._lock:
            return list(self._made.values())

    def forget(self, setting: str, **kwargs: object) -> None:
        """Make the brokers anew where their setting has changed."""
        if setting == "PISTOKE_PUBSUB":
            with self._lock:
                made, self._made = self._made, {}
            for broker in made.values():
                broker.close()


def make_broker(alias: str) -> Broker:
    """Make the broker that the settings call ``alias``; raise ImproperlyConfigured where they do not say how."""
    configured = getattr(settings, "PISTOKE_PUBSUB", {DEFAULT: {}})
    try:
        config = dict(configured[alias])
    except KeyError:
        raise ImproperlyConfigured(
            "expected a broker in PISTOKE_PUBSUB ({}), got {!r}".format(", ".join(map(repr, configured)), alias)
        ) from None
    backend = config.pop("BACKEND", "pistoke.pubsub.memory.MemoryBroker")
    location, options, history = config.pop("LOCATION", None), config.pop("OPTIONS", {}), config.pop("HISTORY", {})
    if config:
        raise ImproperlyConfigured(
            "expected BACKEND, LOCATION, OPTIONS and HISTORY in PISTOKE_PUBSUB[{!r}], got {}".format(
                alias, ", ".join(sorted(config))
            )
        )
    try:
        broker: "type[Broker]" = import_string(backend)
    except ImportError as exc:
        raise ImproperlyConfigured("PISTOKE_PUBSUB[{!r}]: {}".format(alias, exc)) from exc
    return broker(alias, location, options, history)


brokers = Brokers()
setting_changed.connect(brokers.forget, dispatch_uid="pistoke.pubsub")
