"""Who is here: each user once, whatever the number of tabs, in all processes."""

import asyncio
import threading
import typing
import uuid
from typing import Any

from .._compat import get_running_loop, running_loop_or_none
from .background import Background
from .broker import DEFAULT, brokers, forget_closed
from .follower import Follower
from .message import check_topic, decode, encode
from .rooms import Rooms
from .standing import fingerprint, user_of
from .tracker import Tracker

if typing.TYPE_CHECKING:
    from ..request import WebsocketRequest
    from .broker import Broker

#: The trackers of each event loop, by their brokers.
_trackers: "dict[asyncio.AbstractEventLoop, dict[Broker, Tracker]]" = {}
_lock = threading.Lock()

#: How long synchronous code waits for an event loop that is busy, in seconds.
PATIENCE = 10


def tracker_of(broker: "Broker") -> Tracker:
    """Return the tracker of the running event loop for a broker."""
    loop = get_running_loop()
    with _lock:
        found = _trackers.setdefault(loop, {})
        if broker not in found:
            forget_closed(_trackers)
            found[broker] = Tracker(loop, broker, Rooms(loop))
            others = [trackers[broker] for trackers in _trackers.values() if broker in trackers]
            for tracker in others:
                tracker.alone = tracker.alone and len(others) == 1
        return found[broker]


def audience(topic: str) -> "list[Follower]":
    """Return the clients in the running event loop that are told who comes to a topic."""
    trackers = _trackers.get(get_running_loop(), {})
    return [follower for tracker in list(trackers.values()) for follower in tracker.rooms.followers(topic)]


class Presence:
    """Somebody present at a topic, as long as ``async with`` lasts.

    ``people`` is who is there at this moment, by their keys; ``key`` is one's own.
    """

    def __init__(
        self,
        request: "WebsocketRequest",
        topic: str,
        info: Any,
        key: "str | None",
        announce: bool,
        linger: float,
        broker: "Broker",
    ) -> None:
        # As it comes out of a message: what is said of somebody is the same wherever it is read.
        self._info = decode(encode([info]))[0]
        self.key = key_of(request) if key is None else str(key)
        self._topic = check_topic(topic)
        self._linger = linger
        self._broker = broker
        self._tracker: "Tracker | None" = None
        # What is told who comes and who leaves, if the client is to be.
        self._follower: "Follower | None" = None
        if announce:
            self._follower = Follower(request._socket, None, broker, (topic,))

    @property
    def people(self) -> "dict[str, Any]":
        """Who is here: what is said of them by their key."""
        return {} if self._tracker is None else self._tracker.table.people(self._topic)

    async def __aenter__(self) -> "Presence":
        if self._tracker is not None:
            raise RuntimeError("expected a new request.present(…) for each 'async with', got one that is in use")
        tracker = self._tracker = tracker_of(self._broker)
        tracker.enter((self._topic, self.key), self, self._info)
        try:
            await tracker.settled()
        except BaseException:
            self._leave(tracker)
            raise
        if self._follower is not None:
            tracker.rooms.add(self._topic, self._follower, self.people)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        assert self._tracker is not None
        follower = self._follower
        if follower is not None:
            self._tracker.rooms.discard(self._topic, follower)
        self._leave(self._tracker)
        if follower is not None:
            await follower.__aexit__(*exc_info)

    def _leave(self, tracker: Tracker) -> None:
        self._tracker = None
        tracker.leave((self._topic, self.key), self, self._linger)


def key_of(request: "WebsocketRequest") -> str:
    """Return what tells a visitor from others: the user, the session of an anonymous one, or else the socket."""
    user = user_of(request)
    if user is not None:
        return str(user.pk)
    session = getattr(request.__dict__.get("session"), "session_key", None)
    # Everybody present may read it, and nobody may become somebody else by it.
    return "session-" + fingerprint(session)[:16] if session else "socket-" + uuid.uuid4().hex[:16]


async def present(topic: str, using: str = DEFAULT) -> "dict[str, Any]":
    """Return who is present at a topic: what is said of them by their key, those first who came first.

    ``using`` names a broker of ``PISTOKE_PUBSUB``. A process that asks for the first time waits a tenth of a second for
    what the others say; from then on it knows. Somebody whose process has died is forgotten after 15 seconds.
    """
    return await tracker_of(brokers[using]).people(check_topic(topic))


def present_sync(topic: str, using: str = DEFAULT) -> "dict[str, Any]":
    """Return who is present at a topic, from synchronous code; see :func:`present`.

    A process without an event loop of its own gets one, in a thread, when this is called first.
    """
    if running_loop_or_none() is not None:
        raise RuntimeError("expected 'await present(…)' in asynchronous code, got present_sync(), which would block it")
    check_topic(topic)
    broker = brokers[using]
    loop = loop_that_knows(broker)
    if loop is None:
        if not broker.shared:
            # Whoever is here would have a tracker.
            return {}
        loop = background.loop()
    return asyncio.run_coroutine_threadsafe(present(topic, using), loop).result(PATIENCE)


def loop_that_knows(broker: "Broker") -> "asyncio.AbstractEventLoop | None":
    """Return an event loop of this process that knows who is present, None where there is none."""
    with _lock:
        for loop, trackers in _trackers.items():
            if broker in trackers and trackers[broker].active and loop.is_running():
                return loop
    return None


background = Background("pistoke-presence")
