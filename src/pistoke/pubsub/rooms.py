"""Telling clients who comes and who leaves."""

import itertools
import typing
from typing import Any

from .._compat import Context
from .delivery import MEMBERS_PER_TURN, deliver
from .message import Message, encode

if typing.TYPE_CHECKING:
    import asyncio

    from .follower import Follower

#: How long comings and goings are gathered before clients are told, in seconds: a thousand people who come at once are one
#: message.
BATCH = 0.02


class Rooms:
    """The clients of one event loop that are told, by topic.

    What they are told are objects: first ``{"here": {…}}``, everybody by their key; then ``{"joined": {…}, "left": {…}}``,
    which are to be added to that and taken from it.
    """

    def __init__(self, loop: "asyncio.AbstractEventLoop") -> None:
        self._loop = loop
        self._followers: "dict[str, dict[Follower, None]]" = {}
        # What they are yet to be told, and the timer of that.
        self._news: "dict[str, dict[str, dict[str, Any]]]" = {}
        self._timer: "asyncio.TimerHandle | None" = None

    def followers(self, topic: str) -> "list[Follower]":
        """Return the clients that are told who comes to a topic."""
        return list(self._followers.get(topic, ()))

    def add(self, topic: str, follower: "Follower", people: "dict[str, Any]") -> None:
        """Tell a client who is there, and from now on who comes and who leaves."""
        self._tell(topic)
        self._followers.setdefault(topic, {})[follower] = None
        follower.deliver(Message(topic, encode({"here": people})))

    def discard(self, topic: str, follower: "Follower") -> None:
        """Tell a client no more."""
        followers = self._followers.get(topic, {})
        followers.pop(follower, None)
        if not followers:
            self._followers.pop(topic, None)

    def changed(self, topic: str, key: str, info: Any) -> None:
        """Somebody has come, or something else is said of them."""
        self._note(topic, "joined", "left", key, info)

    def left(self, topic: str, key: str, info: Any) -> None:
        """Somebody has gone."""
        self._note(topic, "left", "joined", key, info)

    def _note(self, topic: str, what: str, opposite: str, key: str, info: Any) -> None:
        if topic in self._followers:
            news = self._news.setdefault(topic, {"joined": {}, "left": {}})
            news[opposite].pop(key, None)
            news[what][key] = info
            if self._timer is None:
                self._timer = Context().run(self._loop.call_later, BATCH, self._tell_all)

    def _tell_all(self) -> None:
        self._timer = None
        for topic in list(self._news):
            self._tell(topic)

    def _tell(self, topic: str) -> None:
        news = self._news.pop(topic, None)
        if news is not None:
            self._deliver(Message(topic, encode(news)), iter(self.followers(topic)))

    def _deliver(self, message: Message, followers: "typing.Iterator[Follower]") -> None:
        """Bring a message to some clients, and to the rest in the next turns of the event loop."""
        some = list(itertools.islice(followers, MEMBERS_PER_TURN))
        deliver(message, some)
        if len(some) == MEMBERS_PER_TURN:
            self._loop.call_soon(self._deliver, message, followers)
