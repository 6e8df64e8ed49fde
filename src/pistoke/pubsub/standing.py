"""Who has logged in, and whether they still are: what the session store and the database of users say, for many at once.

What asks them is synchronous, and runs in a thread.
"""

import hashlib
import typing
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.core.cache import caches
from django.utils import timezone
from django.utils.functional import LazyObject, empty

if typing.TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

    from ..request import WebsocketRequest
    from .registry import SignedIn


class Finding:
    """What was found out about sockets."""

    def __init__(self) -> None:
        # Those whose session or user is no more.
        self.gone: "list[SignedIn]" = []
        # When the sessions of the others expire, as timestamps, where that is known.
        self.expiries: "dict[SignedIn, float]" = {}
        # Those whose session has been told of a new password of its user, and the fingerprint of that.
        self.renewed: "dict[SignedIn, str]" = {}


def user_of(request: "WebsocketRequest") -> Any:
    """Return the user of a request who is logged in; None where nobody is."""
    user = request.__dict__.get("user")
    if isinstance(user, LazyObject):
        user = user.__dict__["_wrapped"]
    if user is None or user is empty or getattr(user, "pk", None) is None:
        return None
    return user if user.is_authenticated else None


def fingerprint(secret: str) -> str:
    """Return what stands for a secret (the key of a session, the hash of a password) where others may read it."""
    return hashlib.sha256(b"pistoke:" + secret.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def auth_of(user: Any) -> "str | None":
    """Return the fingerprint of what ties sessions to the password of a user, None where nothing does."""
    get_hash = getattr(user, "get_session_auth_hash", None)
    return None if get_hash is None else fingerprint(get_hash())


def look(sockets: "list[SignedIn]") -> Finding:
    """Look after sockets, with a query for all users and one for all sessions."""
    finding = Finding()
    expiries = living_sessions([socket.session for socket in sockets if socket.session is not None and not socket.moved])
    users = living_users(sockets)
    for socket in sockets:
        if socket.session is not None and not socket.moved:
            key = socket.session.session_key
            if key not in expiries:
                finding.gone.append(socket)
                continue
            expiry = expiries[key]
            if expiry is not None:
                finding.expiries[socket] = expiry
        if socket.pk is not None:
            compare(socket, users.get((socket.backend, socket.pk)), finding)
    return finding


def compare(socket: "SignedIn", user: Any, finding: Finding) -> None:
    """Note what the user of a socket has become; None is nobody."""
    if user is None:
        finding.gone.append(socket)
        return
    auth = auth_of(user) if socket.auth is not None else None
    if auth == socket.auth:
        return
    # The session that the password was changed in goes on, if the view has told it so.
    if auth is not None and knows_password(socket, user):
        finding.renewed[socket] = auth
    else:
        finding.gone.append(socket)


def knows_password(socket: "SignedIn", user: Any) -> bool:
    """Return whether the session of a socket belongs to the password that its user has now."""
    if socket.session is None or socket.moved:
        return False
    data = stored(socket.session)
    return str(data.get(SESSION_KEY)) == socket.user and data.get(HASH_SESSION_KEY) == user.get_session_auth_hash()


# Users ---------------------------------------------------------------------------------------------------------------


def living_users(sockets: "list[SignedIn]") -> "dict[tuple[str | None, Any], Any]":
    """Return the users that may be logged in, by the path of the backend that says so and their primary key."""
    wanted: "dict[str | None, set[Any]]" = {}
    for socket in sockets:
        if socket.pk is not None:
            wanted.setdefault(socket.backend, set()).add(socket.pk)
    found: "dict[tuple[str | None, Any], Any]" = {}
    for backend, keys in wanted.items():
        for user in users_of(backend, keys):
            found[backend, user.pk] = user
    return found


def users_of(path: "str | None", keys: "set[Any]") -> "typing.Iterable[Any]":
    """Return those of some users that a backend lets in; None is that of users who were let in without a session."""
    from django.contrib.auth.backends import ModelBackend

    if path is not None and path not in settings.AUTHENTICATION_BACKENDS:
        return []
    backend = None if path is None else load_backend(path)
    if backend is not None and getattr(type(backend), "get_user", None) is not ModelBackend.get_user:
        # What it does only it knows, and it knows it of one at a time.
        return [user for user in map(backend.get_user, keys) if user is not None]
    users = get_user_model()._default_manager.filter(pk__in=keys)
    return [user for user in users if lets_in(backend, user)]


def lets_in(backend: Any, user: Any) -> bool:
    """Return whether a backend lets a user be logged in who is known."""
    check = getattr(backend, "user_can_authenticate", None)
    if check is not None:
        return bool(check(user))
    return backend is not None or bool(user.is_active)


# Sessions ------------------------------------------------------------------------------------------------------------


def living_sessions(sessions: "list[SessionBase]") -> "dict[str, float | None]":
    """Return the keys of the sessions that there still are, and when each expires, as a timestamp; None if not known."""
    stores: "dict[type, dict[str, SessionBase]]" = {}
    for session in sessions:
        key = session.session_key
        if key:
            stores.setdefault(type(session), {})[key] = session
    living: "dict[str, float | None]" = {}
    for store, wanted in stores.items():
        living.update(living_of(store)(wanted))
    return living


def living_of(store: type) -> "typing.Callable[[dict[str, SessionBase]], dict[str, float | None]]":
    """Return what looks for the sessions of a store."""
    from django.contrib.sessions.backends import cache

    if hasattr(store, "get_model_class"):
        return in_database
    return in_cache if issubclass(store, cache.SessionStore) else one_by_one


def in_database(sessions: "dict[str, SessionBase]") -> "dict[str, float | None]":
    """Look for sessions in the database, which those in the cache before it are deleted from too."""
    model = next(iter(sessions.values())).model  # type: ignore[attr-defined]  # such a store has one
    rows = model.objects.filter(session_key__in=list(sessions), expire_date__gt=timezone.now())
    return {key: expiry.timestamp() for key, expiry in rows.values_list("session_key", "expire_date")}


def in_cache(sessions: "dict[str, SessionBase]") -> "dict[str, float | None]":
    """Look for sessions in the cache."""
    names = {store.cache_key_prefix + key: key for key, store in sessions.items()}  # type: ignore[attr-defined]
    return dict.fromkeys(names[name] for name in caches[settings.SESSION_CACHE_ALIAS].get_many(list(names)))


def one_by_one(sessions: "dict[str, SessionBase]") -> "dict[str, float | None]":
    """Look for sessions in a store that has no other way: in files, in a cookie, in what a project has written itself."""
    return dict.fromkeys(key for key, session in sessions.items() if SESSION_KEY in stored(session))


def stored(session: "SessionBase") -> "dict[str, Any]":
    """Return what is stored of a session, whatever was made of it since."""
    return dict(type(session)(session.session_key).load())
