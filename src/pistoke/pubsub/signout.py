"""Sign-out reaches open sockets: those of a user or a session are closed, in every process.

What processes tell each other are dictionaries. ``do`` is what:

- ``close``: close the sockets of ``user`` or of ``session``, with ``code`` and ``reason``; of ``topic``, if it is one, only
  those that follow it. ``again``: look once more after a moment.
- ``compare``: ``user`` has changed. Close the sockets whose session belongs to another password than ``auth``, or was begun
  by a backend that is not among ``backends``; but not those of the sessions in ``keep``, which go on as ``to``.
- ``move``: ``session`` of ``user`` goes on as ``to``, which expires at ``expires``.

Users are primary keys as text; sessions and passwords are fingerprints, and never travel themselves.
"""

import asyncio
import logging
import threading
import typing
import uuid
from functools import partial
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.db import DEFAULT_DB_ALIAS, transaction

from .._compat import get_running_loop, running_loop_or_none
from ..conf import conf
from ..connection import close_event
from .broker import DEFAULT, brokers, forget_closed
from .message import check_topic, encode
from .registry import SIGNED_OUT, TOPIC, Registry
from .standing import fingerprint, user_of

if typing.TYPE_CHECKING:
    from ..request import WebsocketRequest
    from .registry import News

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: The registry of each event loop.
_registries: "dict[asyncio.AbstractEventLoop, Registry]" = {}
_lock = threading.Lock()

#: Whether there are users who could sign out; set when Django is set up.
available = False


# Sockets -------------------------------------------------------------------------------------------------------------


def registry() -> Registry:
    """Return the registry of the running event loop."""
    loop, broker = get_running_loop(), brokers[DEFAULT]
    found = _registries.get(loop)
    if found is None or (found.broker is not broker and not len(found)):
        with _lock:
            forget_closed(_registries)
            found = _registries[loop] = Registry(loop, broker)
    return found


def begin() -> "int | None":
    """Return what :func:`admit` has to know of the moment before a session is loaded."""
    return registry().now() if available and conf.SIGN_OUT else None


def admit(request: "WebsocketRequest", since: "int | None") -> bool:
    """Note the socket of a request that the middleware has let through; return whether its user is still logged in.

    Nobody is logged in as far as this is concerned whom the middleware has not looked up.
    """
    user = user_of(request)
    if user is None or not (available and conf.SIGN_OUT):
        return True
    session = request.__dict__.get("session")
    if session is not None and str(session.get(SESSION_KEY)) != str(user.pk):
        # The user comes from elsewhere: from a token, say.
        session = None
    return registry().add(request._socket, user, session, since)


def admit_anew(request: "WebsocketRequest") -> None:
    """Note the socket of a view that has logged its user in itself."""
    socket = getattr(request._socket, "_socket", request._socket)
    if not socket.over:
        if socket.signed_in is not None:
            socket.signed_in.leave()
        admit(request, None)


# News ----------------------------------------------------------------------------------------------------------------


def make_news(do: str, user: "str | None" = None, session: "str | None" = None, **more: Any) -> "News":
    """Return what is to be told."""
    news: "News" = {
        "id": uuid.uuid4().hex, "do": do, "user": user, "session": session, "topic": None, "code": SIGNED_OUT, "reason": "",
        "again": False, "auth": None, "backends": None, "keep": (), "to": None, "expires": None,
    }
    news.update(more)
    return news


def tell(news: "News") -> None:
    """Tell every process, from synchronous code; this one first, whatever the engine does.

    Raises :class:`~pistoke.exceptions.BrokerUnavailable` where the others cannot be told.
    """
    tell_here(news)
    if brokers[DEFAULT].shared:
        brokers[DEFAULT].publish(TOPIC, encode(news))


async def atell(news: "News") -> None:
    """The same, from a coroutine."""
    tell_here(news)
    if brokers[DEFAULT].shared:
        await brokers[DEFAULT].apublish(TOPIC, encode(news))


def tell_here(news: "News") -> None:
    """Tell the event loops of this process."""
    with _lock:
        registries = list(_registries.values())
    for one in registries:
        one.tell(news)


def tell_or_log(news: "News") -> None:
    """Tell every process; log where the others cannot be told."""
    try:
        if running_loop_or_none() is None:
            tell(news)
        else:
            # Synchronous code that ought not to be here; it is no reason to leave a socket open.
            get_running_loop().create_task(_tell_or_log(news))
    except Exception:
        logger.exception("other processes could not be told that a user was signed out")


async def _tell_or_log(news: "News") -> None:
    try:
        await atell(news)
    except asyncio.CancelledError:
        raise
    except Exception:
        logger.exception("other processes could not be told that a user was signed out")


# The API -------------------------------------------------------------------------------------------------------------


def disconnect(
    *,
    user: Any = None,
    session: Any = None,
    topic: "str | None" = None,
    code: int = SIGNED_OUT,
    reason: str = "",
    on_commit: bool = True,
    database: str = DEFAULT_DB_ALIAS
) -> None:
    """Close the open sockets of a user or a session, in every process, from synchronous code.

    ``user`` is a user or a primary key, ``session`` a session or its key. With ``topic`` only those sockets are closed that
    follow it (``request.follow``): of a user who may do so no more. ``code`` and ``reason`` are those of ``request.close``.

    Inside of ``transaction.atomic`` on ``database`` the commit is waited for, unless ``on_commit`` is False. Raises
    :class:`~pistoke.exceptions.BrokerUnavailable` where other processes cannot be told; the sockets of this one are closed
    all the same. After a commit that is logged.
    """
    if running_loop_or_none() is not None:
        raise RuntimeError("expected 'await adisconnect(…)' in asynchronous code, got disconnect(), which would block it")
    news = closing(user, session, topic, code, reason)
    if on_commit and transaction.get_connection(database).in_atomic_block:
        transaction.on_commit(partial(tell_or_log, news), using=database)
    else:
        tell(news)


async def adisconnect(
    *, user: Any = None, session: Any = None, topic: "str | None" = None, code: int = SIGNED_OUT, reason: str = ""
) -> None:
    """Close the open sockets of a user or a session, in every process, from a coroutine; see :func:`disconnect`.

    It is done at once: a transaction belongs to synchronous code.
    """
    await atell(closing(user, session, topic, code, reason))


def closing(user: Any, session: Any, topic: "str | None", code: int, reason: str) -> "News":
    """Return what is told to close sockets; raise where that makes no sense."""
    if (user is None) == (session is None):
        raise TypeError("expected a user or a session whose sockets are to be closed, got {}".format(
            "neither" if user is None else "both"
        ))
    if topic is not None:
        check_topic(topic)
    close_event(code, reason)
    news = make_news("close", topic=topic, code=code, reason=reason)
    if user is not None:
        news["user"] = str(getattr(user, "pk", user))
    else:
        news["session"] = fingerprint(str(getattr(session, "session_key", session)))
    return news
