"""The open sockets of users who have logged in: each is closed when its user or its session is logged in no more.

A socket is noted when its handshake is done. What happens to users and sessions is told to every process; what nobody tells
is looked up now and then (see ``standing.py``).

No moment is left in which a sign-out could miss a socket: what is told between the loading of its user and its being noted
is applied to it afterwards, and where something may not have been heard at all the database is asked.
"""

import asyncio
import collections
import contextlib
import itertools
import logging
import time
import typing
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY

from .. import threads
from .._compat import Context
from ..conf import conf
from ..exceptions import ConnectionClosed
from .broker import brokers
from .follower import Follower
from .line import Line
from .message import RESERVED
from .presence import audience
from .standing import auth_of, fingerprint, look

if typing.TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

    from ..socket import Socket
    from .broker import Broker

    #: Something that has happened to a user or a session, as it travels (see ``signout.py``).
    News = typing.Dict[str, Any]

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: The topic over which processes tell each other.
TOPIC = RESERVED + "signout"

#: The close code of a socket whose user is logged in no more: 4000 and what HTTP would say.
SIGNED_OUT = 4401

#: How much that was told is remembered: the handshakes that are under way may have missed it.
REMEMBERED = 256

#: How many sockets one query is about, and how many are closed before the event loop gets a turn.
SOCKETS_PER_QUERY = 500
SOCKETS_PER_TURN = 256

#: When to look again for sockets of a session that is about to end, in seconds: Django tells of it before it ends.
SECOND_LOOK = 1

#: How long after a session has expired it is looked for, in seconds: the clocks of two machines agree no better.
MOMENT = 0.05


class SignedIn:
    """An open socket of a user who has logged in."""

    __slots__ = ("auth", "backend", "due", "expires", "fingerprint", "moved", "pk", "registry", "session", "socket", "user")

    def __init__(self, registry: "Registry", socket: "Socket", user: Any, session: "SessionBase | None") -> None:
        self.registry: "Registry" = registry
        self.socket: "Socket" = socket
        # The user's primary key as text; the key itself where it is one of the project's own users.
        self.user: str = str(user.pk)
        self.pk: Any = user.pk if hasattr(user, "_meta") else None
        # The session that the user comes from, if any, what stands for its key, and who has let the user in.
        self.session: "SessionBase | None" = session
        self.fingerprint: "str | None" = None if session is None else fingerprint(session.session_key or "")
        self.backend: "str | None" = None if session is None else session.get(BACKEND_SESSION_KEY)
        # What stands for the password that the session belongs to.
        self.auth: "str | None" = None if session is None else auth_of(user)
        # Whether the session goes on under a key that only its fingerprint is known of.
        self.moved: bool = False
        # When the session expires, as a timestamp, where that is known; when to look after it, by the clock of the loop.
        self.expires: "float | None" = None
        self.due: float = 0.0

    def leave(self) -> None:
        """Note that the socket has ended."""
        self.registry.discard(self)

    def is_ended_by(self, news: "News") -> bool:
        """Return whether it has to be closed because of what was told."""
        if news["session"] is not None and news["session"] != self.fingerprint:
            return False
        if news["user"] is not None and news["user"] != self.user:
            # A session that goes on as that of somebody else.
            return bool(news["do"] == "move")
        if news["do"] == "compare":
            return self._is_shut_out_by(news) or (self._differs_from(news) and self.fingerprint not in news["keep"])
        return bool(news["do"] == "close")

    def _is_shut_out_by(self, news: "News") -> bool:
        return news["backends"] is not None and self.backend not in news["backends"]

    def _differs_from(self, news: "News") -> bool:
        """Return whether the session belongs to another password."""
        return self.auth is not None and news["auth"] not in (None, self.auth)

    def is_moved_by(self, news: "News") -> bool:
        """Return whether its session has gone on under another key, or with another password."""
        return news["to"] is not None and (news["do"] == "move" or self.fingerprint in news["keep"])

    def move(self, news: "News") -> None:
        """Go on with the key and the password that its session has now."""
        self.moved = self.moved or news["to"] != self.fingerprint
        self.fingerprint = news["to"]
        if self.auth is not None and news["auth"] is not None:
            self.auth = news["auth"]
        if self.moved:
            self.expires = news["expires"]


class Index:
    """Sockets by what they have in common."""

    def __init__(self) -> None:
        # One, or several as the keys of a dictionary: most have nothing in common, and that would be half of their cost.
        self._found: "dict[str, SignedIn | dict[SignedIn, None]]" = {}

    def of(self, key: "str | None") -> "list[SignedIn]":
        """Return the sockets that have something in common."""
        found = None if key is None else self._found.get(key)
        return [] if found is None else [found] if isinstance(found, SignedIn) else list(found)

    def put(self, key: "str | None", signed_in: SignedIn) -> None:
        """Add a socket."""
        if key is None:
            return
        found = self._found.setdefault(key, signed_in)
        if isinstance(found, dict):
            found[signed_in] = None
        elif found is not signed_in:
            self._found[key] = {found: None, signed_in: None}

    def drop(self, key: "str | None", signed_in: SignedIn) -> None:
        """Take a socket away."""
        found = None if key is None else self._found.get(key)
        if isinstance(found, dict):
            found.pop(signed_in, None)
        if key is not None and (not found or found is signed_in):
            self._found.pop(key, None)


class Registry:
    """The sockets of logged-in users in one event loop; all but :meth:`tell` is called in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: "Broker") -> None:
        self._loop = loop
        self.broker = broker
        self._line = Line(broker, TOPIC, self.told, self._missed)
        self._all: "dict[SignedIn, None]" = {}
        self._of_user, self._of_session = Index(), Index()
        # What was told last, by its id, and how much was in all.
        self._news: "collections.OrderedDict[str, News]" = collections.OrderedDict()
        self._count = 0
        # Those to look after, and the task that does.
        self._doubtful: "collections.OrderedDict[SignedIn, None]" = collections.OrderedDict()
        self._looking: "asyncio.Task[None] | None" = None
        # What rings when it is time to look after others, and when that is.
        self._timer: "asyncio.TimerHandle | None" = None
        self._rings = 0.0
        # Whether sockets run their synchronous code in the threads of this package.
        self._pooled = True
        # The tasks that close sockets.
        self._closing: "set[asyncio.Task[None]]" = set()

    def __len__(self) -> int:
        return len(self._all)

    # Sockets

    def now(self) -> "int | None":
        """Return how much was told until now, for a handshake that begins; None where something may not be heard."""
        return self._count if self._hears else None

    @property
    def _hears(self) -> bool:
        """Whether all that is told is heard. When it begins to be, all sockets are looked after."""
        return self._line.heard or not self.broker.shared

    def add(self, socket: "Socket", user: Any, session: "SessionBase | None", since: "int | None") -> bool:
        """Note a socket whose handshake began when so much had been told; return whether its user is still logged in."""
        signed_in = SignedIn(self, socket, user, session)
        news = self._news_since(since)
        if any(signed_in.is_ended_by(one) for one in news or () if one["topic"] is None):
            return False
        self._put(signed_in)
        if news is None and self._hears:
            self._doubt((signed_in,))
        if conf.SESSION_CHECK is not None:
            age = conf.SESSION_CHECK if session is None else session.get_expiry_age()
            self._plan(signed_in, min(conf.SESSION_CHECK, max(0, age)))
        return True

    def _put(self, signed_in: SignedIn) -> None:
        self._pooled = threads.entered()
        if self.broker.shared:
            self._line.take()
        signed_in.socket.signed_in = signed_in
        self._all[signed_in] = None
        self._of_user.put(signed_in.user, signed_in)
        self._of_session.put(signed_in.fingerprint, signed_in)

    def _news_since(self, since: "int | None") -> "list[News] | None":
        """Return what was told since then; None where that is not known."""
        if since == self._count:
            return []
        missed = len(self._news) + 1 if since is None else self._count - since
        return None if missed > len(self._news) else list(self._news.values())[-missed:]

    def discard(self, signed_in: SignedIn) -> None:
        """Forget a socket."""
        if self._all.pop(signed_in, self) is self:
            return
        signed_in.socket.signed_in = None
        self._doubtful.pop(signed_in, None)
        self._of_user.drop(signed_in.user, signed_in)
        self._of_session.drop(signed_in.fingerprint, signed_in)
        if not self._all:
            self._line.let_go()
            self._stop_timer()

    def end(self, signed_in: SignedIn, code: int = SIGNED_OUT, reason: str = "") -> None:
        """Close a socket, in a task."""
        self.discard(signed_in)
        task = self._loop.create_task(close(signed_in.socket, code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # What is told

    def tell(self, news: "News") -> None:
        """Tell of something, in any thread."""
        with contextlib.suppress(RuntimeError):
            # The loop may have ended.
            self._loop.call_soon_threadsafe(self.told, news)

    def told(self, news: "News") -> None:
        """Close the sockets that something puts an end to."""
        if news["id"] in self._news:
            # It was told in this process, and has come back from the engine.
            return
        self._news[news["id"]] = news
        self._count += 1
        if len(self._news) > REMEMBERED:
            self._news.popitem(last=False)
        self._apply(news, iter(self._concerned(news)))
        if news["again"]:
            self._loop.call_later(SECOND_LOOK, self._look_again, news)

    def _apply(self, news: "News", sockets: "typing.Iterator[SignedIn]") -> None:
        """Close some sockets, if something puts an end to them, and the rest in the next turns of the event loop."""
        some = list(itertools.islice(sockets, SOCKETS_PER_TURN))
        for signed_in in some:
            if signed_in not in self._all:
                # It has ended in the meantime.
                continue
            if signed_in.is_ended_by(news):
                logger.info("closing a socket of user %s, who was signed out", signed_in.user)
                self.end(signed_in, news["code"], news["reason"])
            elif signed_in.is_moved_by(news):
                self._move(signed_in, news)
        if len(some) == SOCKETS_PER_TURN:
            self._loop.call_soon(self._apply, news, sockets)

    def _concerned(self, news: "News") -> "list[SignedIn]":
        """Return the sockets that something may be about."""
        index, key = (self._of_user, "user") if news["session"] is None else (self._of_session, "session")
        found = index.of(news[key])
        if news["topic"] is None:
            return found
        following = followers(news["topic"])
        return [signed_in for signed_in in found if signed_in.socket in following]

    def _move(self, signed_in: SignedIn, news: "News") -> None:
        self._of_session.drop(signed_in.fingerprint, signed_in)
        signed_in.move(news)
        self._of_session.put(signed_in.fingerprint, signed_in)
        self._expect(signed_in, signed_in.expires)

    def _look_again(self, news: "News") -> None:
        self._doubt(self._concerned(news))

    # What nobody tells

    def _missed(self) -> None:
        """Look after everybody: something may have been told that was not heard."""
        # Nor was it by the handshakes that are under way.
        self._count += 1
        self._news.clear()
        self._doubt(self._all)

    def _doubt(self, sockets: "typing.Iterable[SignedIn]") -> None:
        self._doubtful.update(dict.fromkeys(sockets))
        if self._doubtful and self._looking is None:
            # In no context: neither that of a socket nor that of a request.
            self._looking = Context().run(self._loop.create_task, self._look())

    async def _look(self) -> None:
        lane = threads.Lane()
        if self._pooled:
            threads.enter(lane)
        try:
            while self._doubtful:
                some = [signed_in for signed_in, _ in zip(self._doubtful, range(SOCKETS_PER_QUERY))]
                for signed_in in some:
                    del self._doubtful[signed_in]
                await self._look_after(some)
        finally:
            self._looking = None
            threads.leave(lane)

    async def _look_after(self, sockets: "list[SignedIn]") -> None:
        try:
            finding = await sync_to_async(look)(sockets)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            # They are looked after again. A database that is away signs nobody out.
            logger.warning("whether users are still logged in could not be looked up: %s", exc)
            return
        for signed_in in finding.gone:
            if signed_in in self._all:
                logger.info("closing a socket of user %s, who is logged in no more", signed_in.user)
                self.end(signed_in)
        for signed_in, auth in finding.renewed.items():
            signed_in.auth = auth
        for signed_in, expires in finding.expiries.items():
            self._expect(signed_in, expires)

    # When to look

    def _expect(self, signed_in: SignedIn, expires: "float | None") -> None:
        """Look after a socket when its session expires."""
        signed_in.expires = expires
        if expires is not None and conf.SESSION_CHECK is not None and signed_in in self._all:
            self._plan(signed_in, min(conf.SESSION_CHECK, max(0, expires - time.time()) + MOMENT))

    def _plan(self, signed_in: SignedIn, seconds: float) -> None:
        signed_in.due = self._loop.time() + seconds
        if self._timer is None or signed_in.due < self._rings:
            self._ring_at(signed_in.due)

    def _ring_at(self, when: float) -> None:
        self._stop_timer()
        self._rings = when
        self._timer = Context().run(self._loop.call_at, when, self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        """Look after the sockets that are due, and those that soon will be: there is one query for all."""
        self._timer = None
        seconds = conf.SESSION_CHECK
        if seconds is None:
            return
        soon = self._loop.time() + seconds / 2
        due = [signed_in for signed_in in self._all if signed_in.due <= soon]
        for signed_in in due:
            signed_in.due = self._loop.time() + seconds
            if signed_in.moved and signed_in.expires is not None and signed_in.expires <= time.time():
                # Whether it was prolonged could only be seen under the key that is not known here.
                self.end(signed_in)
        self._doubt(signed_in for signed_in in due if signed_in in self._all)
        if self._all:
            self._ring_at(min(signed_in.due for signed_in in self._all))


def followers(topic: str) -> "set[Socket]":
    """Return the sockets in the running event loop that follow a topic, or who comes to it."""
    members = [member for broker in brokers.made() for member in broker.members(topic)]
    members += audience(topic)
    return {member.socket for member in members if isinstance(member, Follower)}


async def close(socket: "Socket", code: int, reason: str) -> None:
    """Close a socket; the view learns of it like of any other close."""
    try:
        # Where the client does not read at all, it does not read this either.
        await asyncio.wait_for(socket.close(code, reason), conf.SHUTDOWN_GRACE)
    except asyncio.CancelledError:
        raise
    except (ConnectionClosed, asyncio.TimeoutError):
        pass
    except Exception:
        logger.exception("the socket of a user who was signed out could not be closed")
