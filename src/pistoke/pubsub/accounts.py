"""What Django tells of users and sessions, and what of it puts an end to open sockets.

A request in which users change their own password is asked at its end whether its session goes on: Django gives it another
key and tells nobody. That is what ``WebsocketMiddleware`` is needed for here.
"""

import logging
import typing
from functools import partial
from typing import Any

from asgiref.local import Local
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth import (
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_backends,
    get_user_model,
    user_logged_in,
    user_logged_out,
)
from django.db import router, transaction
from django.db.models.signals import post_delete, post_save

from .._compat import calling_loop
from ..conf import conf
from . import signout
from .signout import make_news, tell_or_log
from .standing import auth_of, fingerprint, lets_in

if typing.TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest

    from .registry import News

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: The fields of a user that decide whether sessions go on.
FIELDS = {"password", "is_active"}

_local = Local()


def connect() -> None:
    """Listen to what Django tells, where there are users."""
    if not apps.is_installed("django.contrib.auth"):
        return
    signout.available = True
    user_logged_in.connect(logged_in, dispatch_uid="pistoke.pubsub")
    user_logged_out.connect(logged_out, dispatch_uid="pistoke.pubsub")
    for model in apps.get_models():
        # What is saved as a proxy or as a child is not told of as the model itself.
        if issubclass(model, get_user_model()):
            post_save.connect(saved, sender=model, dispatch_uid="pistoke.pubsub")
            post_delete.connect(deleted, sender=model, dispatch_uid="pistoke.pubsub")


# What is told --------------------------------------------------------------------------------------------------------


def logged_out(sender: Any, request: "HttpRequest | None" = None, user: Any = None, **kwargs: Any) -> None:
    """Close the sockets of a session that is about to end."""
    session = getattr(request, "session", None)
    key = getattr(session, "session_key", None)
    if not key or not conf.SIGN_OUT:
        return
    if is_in_cookie(session):
        # No two cookies of a session are the same. Those of the user's other sessions that are closed too come again.
        news = None if user is None else make_news("close", user=str(user.pk))
    else:
        news = make_news("close", session=fingerprint(key), again=True)
    if news is not None:
        after_commit(partial(tell_or_log, news), database_of(session))


def logged_in(sender: Any, request: "HttpRequest | None" = None, **kwargs: Any) -> None:
    """Let the sockets of a session go on whose key was changed; note a socket whose view has logged its user in."""
    from ..request import WebsocketRequest

    if not conf.SIGN_OUT:
        return
    if isinstance(request, WebsocketRequest):
        loop = calling_loop()
        if loop is not None:
            loop.call_soon_threadsafe(signout.admit_anew, request)
        return
    acting = getattr(_local, "acting", None)
    if acting is not None:
        acting.logged_in = True


def saved(
    sender: Any, instance: Any, created: bool, using: str, update_fields: "typing.Iterable[str] | None" = None, **kwargs: Any
) -> None:
    """Close the sockets of a user that their sessions, as the user is now, could not have opened."""
    fields = FIELDS if update_fields is None else FIELDS.intersection(update_fields)
    if created or not fields or not conf.SIGN_OUT:
        return
    news = make_news("compare", user=str(instance.pk))
    try:
        if "password" in fields:
            news["auth"] = auth_of(instance)
        if "is_active" in fields:
            news["backends"] = backends_for(instance)
    except Exception:
        # A user can be saved all the same, and is looked up later.
        logger.exception("whether a user may be logged in could not be found out")
    else:
        after_commit(partial(tell_of_change, news), using)


def backends_for(user: Any) -> "list[str | None]":
    """Return the paths of the backends that let a user in; among them None, if a user needs no session to be let in."""
    paths: "list[str | None]" = [
        path for path, backend in zip(settings.AUTHENTICATION_BACKENDS, get_backends()) if lets_in(backend, user)
    ]
    return paths + [None] if lets_in(None, user) else paths


def tell_of_change(news: "News") -> None:
    """Tell of a change of a user, at the end of the request if it is the user's own."""
    acting = getattr(_local, "acting", None)
    if acting is None or not acting.is_of(news["user"]):
        tell_or_log(news)
    else:
        acting.news = news


def deleted(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """Close the sockets of a user who is deleted."""
    if conf.SIGN_OUT:
        after_commit(partial(tell_or_log, make_news("close", user=str(instance.pk))), using)


def after_commit(callback: "typing.Callable[[], None]", database: "str | None") -> None:
    """Call back when a transaction is committed; at once where there is none, or no database."""
    if database is None:
        callback()
    else:
        transaction.on_commit(callback, using=database)


def is_in_cookie(session: Any) -> bool:
    """Return whether a session is kept by the client."""
    from django.contrib.sessions.backends import signed_cookies

    return isinstance(session, signed_cookies.SessionStore)


def database_of(session: Any) -> "str | None":
    """Return the alias of the database that a session is deleted from, None where it is in none."""
    return router.db_for_write(session.model) if hasattr(session, "get_model_class") else None


# Requests ------------------------------------------------------------------------------------------------------------


def may_act(request: "HttpRequest") -> bool:
    """Return whether something may happen to the user of a request: somebody who has a session already."""
    return signout.available and conf.SIGN_OUT and settings.SESSION_COOKIE_NAME in request.COOKIES


class Acting:
    """An HTTP request in which something may happen to its own user: ``with Acting(request) as acting: …``."""

    __slots__ = ("_outer", "logged_in", "news", "request")

    def __init__(self, request: "HttpRequest") -> None:
        self.request = request
        # Whether somebody has logged in, and what is to be told of a change of the user.
        self.logged_in = False
        self.news: "News | None" = None
        self._outer: "Acting | None" = None

    def __enter__(self) -> "Acting":
        self._outer = getattr(_local, "acting", None)
        _local.acting = self
        return self

    def __exit__(self, *exc_info: object) -> None:
        _local.acting = self._outer

    def is_of(self, user: str) -> bool:
        """Return whether it is a user's own request."""
        session = getattr(self.request, "session", None)
        return session is not None and str(session.get(SESSION_KEY)) == user

    def settle(self) -> None:
        """Tell what has become of the session."""
        if self.news is None and not self.logged_in:
            return
        try:
            news = self._outcome(self.request.session)
        except Exception:
            logger.exception("what has become of a session could not be found out")
            news = self.news
        if news is not None:
            tell_or_log(news)

    async def asettle(self) -> None:
        """The same, from a coroutine."""
        if self.news is not None or self.logged_in:
            await sync_to_async(self.settle)()

    def _outcome(self, session: "SessionBase") -> "News | None":
        cookie = self.request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if not cookie:
            return self.news
        before, now = fingerprint(cookie), session.session_key and fingerprint(session.session_key)
        if now and self.news is None:
            return None if now == before else make_news(
                "move", user=str(session.get(SESSION_KEY)), session=before, to=now, expires=expiry_of(session)
            )
        if now and self.news is not None and self._knows(session, self.news):
            self.news.update(keep=(before, now), to=now, expires=expiry_of(session))
        # A session that was another user's has been emptied, and has no key yet.
        return self.news or make_news("close", session=before)

    def _knows(self, session: "SessionBase", news: "News") -> bool:
        """Return whether the session was told of its user's new password."""
        known = session.get(HASH_SESSION_KEY) or ""
        return str(session.get(SESSION_KEY)) == news["user"] and news["auth"] in (None, fingerprint(known))


def expiry_of(session: "SessionBase") -> float:
    """Return when a session that is saved now expires, as a timestamp."""
    return session.get_expiry_date().timestamp()
