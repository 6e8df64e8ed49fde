"""Who is where, put together from what all processes say."""

import collections
import typing
from typing import Any

from .._compat import Context

if typing.TYPE_CHECKING:
    import asyncio

    #: Somebody somewhere: a topic and a key.
    Place = typing.Tuple[str, str]

#: In the place of what is known of somebody of whom nobody has been told.
UNKNOWN = object()


class Person:
    """Somebody present at a topic, in one or several processes."""

    __slots__ = ("holders", "leaving", "told")

    def __init__(self) -> None:
        # What each process says of them, the last one last.
        self.holders: "collections.OrderedDict[str, Any]" = collections.OrderedDict()
        # The timer of their absence, while no process knows them any more.
        self.leaving: "asyncio.TimerHandle | None" = None
        # What was told of them last.
        self.told: Any = UNKNOWN

    def return_(self) -> None:
        """Be there again."""
        if self.leaving is not None:
            self.leaving.cancel()
            self.leaving = None


class Table:
    """Who is where.

    ``changed`` is called with topic, key and information where somebody has come, or something else is said of them;
    ``left`` with the same where somebody has gone.
    """

    def __init__(
        self,
        loop: "asyncio.AbstractEventLoop",
        changed: "typing.Callable[[str, str, Any], None]",
        left: "typing.Callable[[str, str, Any], None]",
    ) -> None:
        self._loop = loop
        self._changed = changed
        self._left = left
        self._topics: "dict[str, dict[str, Person]]" = {}
        # Who is where in each process, and what it says of them.
        self._places: "dict[str, dict[Place, Any]]" = {}

    def people(self, topic: str) -> "dict[str, Any]":
        """Return who is at a topic: what is said of them by their key, those first who came first."""
        return {key: person.told for key, person in self._topics.get(topic, {}).items()}

    def places(self, process: str) -> "dict[Place, Any]":
        """Return who is where in a process."""
        return self._places.get(process, {})

    def set(self, process: str, place: "Place", info: Any) -> None:
        """Note that somebody is there."""
        topic, key = place
        person = self._topics.setdefault(topic, {}).setdefault(key, Person())
        person.return_()
        self._places.setdefault(process, {})[place] = info
        person.holders.pop(process, None)
        person.holders[process] = info
        self._tell(place, person)

    def unset(self, process: str, place: "Place", linger: float) -> None:
        """Note that somebody has gone from a process; nobody is told for so many seconds, in which they may come back."""
        if self._places.get(process, {}).pop(place, UNKNOWN) is UNKNOWN:
            return
        if not self._places[process]:
            del self._places[process]
        topic, key = place
        person = self._topics[topic][key]
        del person.holders[process]
        if person.holders:
            self._tell(place, person)
        elif linger > 0:
            person.leaving = Context().run(self._loop.call_later, linger, self._gone, topic, key)
        else:
            self._gone(topic, key)

    def replace(self, process: str, places: "dict[Place, Any]", linger: float) -> None:
        """Note who is where in a process, all at once."""
        for place in list(self.places(process)):
            if place not in places:
                self.unset(process, place, linger)
        for place, info in places.items():
            self.set(process, place, info)

    def clear(self) -> None:
        """Forget everybody, and tell nobody."""
        for people in self._topics.values():
            for person in people.values():
                person.return_()
        self._topics.clear()
        self._places.clear()

    def _tell(self, place: "Place", person: Person) -> None:
        info = next(reversed(person.holders.values()))
        if info != person.told:
            person.told = info
            self._changed(place[0], place[1], info)

    def _gone(self, topic: str, key: str) -> None:
        person = self._topics[topic].pop(key)
        if not self._topics[topic]:
            del self._topics[topic]
        self._left(topic, key, person.told)
