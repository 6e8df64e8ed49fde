"""The request of a WebSocket: a Django request over which messages pass while the socket is open."""

import io
import typing
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.messages.storage import default_storage
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, QueryDict, parse_cookie
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.functional import cached_property

from ._compat import markcoroutinefunction
from .connection import NORMAL, close_event
from .meta import Meta

if typing.TYPE_CHECKING:
    from django.contrib.auth.models import _AnyUser
    from django.contrib.messages.storage.base import BaseStorage
    from django.http.request import _ImmutableQueryDict
    from django.urls import ResolverMatch
    from typing_extensions import TypeForm

    from ._compat import Context
    from ._types import Scope
    from .pubsub.follower import Follower, Transform
    from .pubsub.message import Position
    from .pubsub.presence import Presence
    from .socket import Socket
    from .typed.declaration import Declaration
    from .typed.reading import Messages, OnError

    T = typing.TypeVar("T")

#: The schemes of a socket, and those that all of Django knows them by.
HTTP_SCHEMES = {"ws": "http", "wss": "https"}


class WebsocketRequest(ASGIRequest):
    """A WebSocket as a Django request.

    It has what an HTTP request has (``GET``, ``COOKIES``, ``headers``, ``META``, ``session``, ``user``,
    ``resolver_match``, ``get_host()``, ``build_absolute_uri()`` …) and no body; its ``method`` is ``"Websocket"``.

    ``subprotocol`` is the subprotocol that both sides agreed on, or None; ``csrf_handshake`` the whole first message after
    a CSRF handshake (see :func:`pistoke.decorators.csrf_handshake`).
    """

    method = "Websocket"
    # What an HTTP request sets in each instance, and a socket, which may be one of ten thousand, need not.
    content_type: str = ""
    content_params: "dict[str, str]" = {}
    resolver_match: "ResolverMatch" = None  # type: ignore[assignment]  # no view gets it without
    csrf_handshake: "dict[str, Any] | None" = None
    _body = b""
    _stream = io.BytesIO()
    _read_started = False
    _post_parse_error = False
    # Read by Django's CSRF middleware and ``csrf_protect``: a socket has no form to look for a token in. See check_csrf.
    _dont_enforce_csrf_checks = True
    # Whether check_csrf looks at all: Django's test clients do without.
    enforce_csrf_checks = True
    # Set while the middleware runs: who refused the socket, what the view runs in, what Django's auser() looks at.
    _refused_by: str
    _context: "Context"
    _acached_user: Any

    scope: "Scope"
    path: str
    path_info: str
    script_name: str

    def __init__(self, scope: "Scope", socket: "Socket") -> None:
        """Make the request of an ASGI scope; raise UnicodeError where its path or query is no UTF-8."""
        self.scope = scope
        self._socket = socket
        self.path = scope["path"]
        # Both raise where something was decoded by force.
        self.path.encode()
        self._query_string.encode()
        self.script_name = settings.FORCE_SCRIPT_NAME or scope.get("root_path") or ""
        within = self.script_name and self.path.startswith(self.script_name)
        self.path_info = self.path[len(self.script_name):] if within else self.path

    # What the client asked for

    @property
    def _query_string(self) -> str:
        query_string = self.scope.get("query_string", b"")
        return query_string.decode() if isinstance(query_string, bytes) else query_string

    @cached_property
    def META(self) -> Meta:  # type: ignore[override]  # made late, as in Django
        """The environment of the request, a dictionary."""
        return Meta(self)

    @cached_property
    def GET(self) -> "_ImmutableQueryDict":  # type: ignore[override]  # made late, as in Django
        """The query as a QueryDict."""
        return QueryDict(self._query_string)

    def _mark_post_parse_error(self) -> None:
        """Note that the query has too many fields, as Django does before it reports it: the report looks at the query."""
        super()._mark_post_parse_error()  # type: ignore[misc]  # Django's own
        self.__dict__.setdefault("GET", QueryDict())

    @cached_property
    def COOKIES(self) -> "dict[str, str]":  # type: ignore[override]  # made late, as in Django
        """The cookies as a dictionary."""
        headers = self.header_values(b"cookie")
        return parse_cookie(";".join(value.decode("latin-1") for value in headers)) if headers else {}

    def header_values(self, name: bytes) -> "list[bytes]":
        """Return all values of a header, as bytes; ``name`` is bytes in lower case."""
        if self._headers:
            return [self._headers[name]] if name in self._headers else []
        return [value for key, value in self.scope.get("headers", ()) if key.lower() == name]

    @cached_property
    def _headers(self) -> "dict[bytes, bytes]":
        """The headers by their names, where each is there once and in lower case; empty where they are not.

        A handshake looks for four: to go through all of them each time took five hundredths of what is ours in it.
        """
        headers = tuple(self.scope.get("headers", ()))
        found = dict(headers)
        return found if len(found) == len(headers) and b"".join(found).islower() else {}

    def _get_scheme(self) -> str:
        scheme = self.scope.get("scheme") or "ws"
        return HTTP_SCHEMES.get(scheme, scheme)

    @cached_property
    def _messages(self) -> "BaseStorage":
        """Django's storage of messages: what its middleware makes for each request, made when somebody looks.

        It took two per cent of a handshake and five of the memory of an idle socket.
        """
        if not self._has_messages:
            raise AttributeError("_messages")
        return default_storage(self)

    # Whether Django's middleware for messages is in force.
    _has_messages = False

    async def auser(self) -> "_AnyUser":
        """Return the user of the session; Django's own middleware does it from 5.0 on."""
        return await sync_to_async(evaluated_user)(self)

    # What passes over the socket

    @property
    def subprotocol(self) -> "str | None":
        """The subprotocol that both sides agreed on, None where neither names one."""
        return self._socket.subprotocol

    @markcoroutinefunction
    def receive(self) -> "typing.Coroutine[Any, Any, Any]":
        """Return the next message: ``str`` or ``bytes``; in a JSON protocol the object.

        A coroutine. Raises :class:`~pistoke.exceptions.ClientDisconnected` when there is none any more; every message that
        arrived before the client left is returned first. To a type checker a message is ``Any``: what it is depends on the
        protocol around the view, and ``str | bytes`` would be wrong in JSON.
        """
        return self._socket.receive()

    @markcoroutinefunction
    def send(self, message: object) -> "typing.Coroutine[Any, Any, None]":
        """Send a message: ``str`` as text, ``bytes`` as binary; in a JSON protocol any object; a
        dataclass, pydantic model or msgspec struct as JSON in both.

        A coroutine, which ends when the server has taken the message. Raises
        :class:`~pistoke.exceptions.ConnectionClosed` where there is nobody to send to, TypeError for a message of another
        type. May be called from several tasks.
        """
        return self._socket.send(message)

    def __aiter__(self) -> "Socket":
        """Iterate over the messages until the client leaves."""
        return self._socket

    def __iter__(self) -> "typing.NoReturn":
        """Refuse to iterate as over the lines of a body, which a socket has not."""
        raise TypeError("expected 'async for message in request', got 'for': messages of a socket are waited for")

    # Typed messages

    # What the view has declared of its messages, if anything (see :func:`pistoke.typed.messages`).
    _declaration: "Declaration | None" = None

    if typing.TYPE_CHECKING:
        @typing.overload
        def messages(self, *, on_error: "OnError | None" = None) -> "Messages[Any]": ...
        # A union as well as a class (PEP 747).
        @typing.overload
        def messages(self, __expected: "TypeForm[T]", *, on_error: "OnError | None" = None) -> "Messages[T]": ...
        @typing.overload
        def messages(self, *expected: Any, on_error: "OnError | None" = None) -> "Messages[Any]": ...
        def messages(self, *expected: Any, **kwargs: Any) -> "Messages[Any]": ...

    else:

        def messages(self, *expected, on_error=None):
            """Iterate over the messages as instances of classes: ``async for message in request.messages(Say | Typing)``.

            ``expected`` are dataclasses, pydantic models or msgspec structs, or unions of them; none where the view has
            declared them (see :class:`pistoke.typed.messages`). A client that sends anything else is told so, by an object
            whose ``type`` is ``"error"``, and goes on. ``on_error`` may be ``"reply"``, that; ``"close"``, which closes with
            1007; ``"raise"``, which raises :class:`~pistoke.typed.BadMessage`; or a function that is called with the
            exception and returns what to send, None for nothing. Raises TypeError where there are no classes, or they
            cannot be told apart.
            """
            from .typed.reading import Messages

            declared = self._declaration
            if not expected and declared is not None and declared.receives is not None:
                expected = (declared.receives,)
            if on_error is None:
                on_error = "reply" if declared is None else declared.on_error
            return Messages(self, expected, on_error)

    def close(self, code: int = NORMAL, reason: object = "") -> "Closing":  # type: ignore[override]  # awaitable
        """Close the socket: ``await request.close(4000, "why")``.

        ``code`` is one of 1000–1003, 1007–1014 or 3000–4999 (RFC 6455 section 7.4), else ValueError is raised; ``reason``
        is cut to 123 bytes. Does nothing where it is not awaited, which is how Django itself calls it.
        """
        close_event(code, reason)
        return Closing(self._socket, code, reason)

    # Topics

    def follow(
        self,
        *topics: str,
        since: "str | Position | typing.Mapping[str, str | Position] | None" = None,
        transform: "Transform | None" = None,
        slow: str = "close",
        buffer: int = 100,
        using: str = "default"
    ) -> "Follower":
        """Send what is published to topics to this client: ``async with request.follow("room.lobby"): …``.

        Meanwhile the view does whatever it does. ``since`` is a position that the client has shown, from which on everything
        is replayed first; whether that was possible is ``recovered`` of what ``async with`` gives. ``transform`` is called
        with each :class:`~pistoke.pubsub.Message` and returns what is sent for it, None for nothing; without it the data are
        sent as they were published. Objects are sent as JSON. ``slow`` is what happens when ``buffer`` messages wait for a
        client: ``"close"`` closes its socket with 4008, ``"drop_oldest"`` drops the oldest, ``"latest"`` keeps one.
        """
        from .pubsub import checked
        from .pubsub.broker import brokers
        from .pubsub.follower import Follower

        return Follower(self._socket, transform, brokers[using], checked(topics), since, slow, buffer)

    def present(
        self,
        topic: str,
        info: Any = None,
        *,
        key: "str | None" = None,
        announce: bool = False,
        linger: float = 5,
        using: str = "default"
    ) -> "Presence":
        """Be present at a topic: ``async with request.present("room.lobby", {"name": "Aino"}) as here: …``.

        ``info`` is a JSON value that is said of the user, to whoever asks; ``here.people`` is who is there. One who is there
        with several tabs is there once: the same ``key`` is the same person, by default the primary key of the user, or else
        the session. With ``announce`` the client is sent ``{"here": {…}}`` first, everybody by their key, and then
        ``{"joined": {…}, "left": {…}}`` as people come and go. Who has left is waited for ``linger`` seconds before anybody
        is told: a page that is loaded anew, or a client that reconnects, makes no noise.
        """
        from .pubsub.broker import brokers
        from .pubsub.presence import Presence

        return Presence(self, topic, info, key, announce, linger, brokers[using])

    # CSRF

    def check_csrf(self, token: object) -> bool:
        """Return whether ``token`` is the one that Django gave to this client.

        The rules are Django's own, against the CSRF cookie or, with ``CSRF_USE_SESSIONS``, the session. Anything that is
        missing or malformed is False.
        """
        if not self.enforce_csrf_checks:
            return True
        form = HttpRequest()
        form.method = "POST"
        form.POST = {"csrfmiddlewaretoken": token if isinstance(token, str) else ""}  # type: ignore[assignment]  # enough
        form.COOKIES = self.COOKIES
        if hasattr(self, "session"):
            form.session = self.session
        return _TokenCheck(_no_response).process_view(form, _no_response, (), {}) is None

    # The names of README.fi.md

    tarkista_csrf = check_csrf
    _tarkista_csrf = check_csrf
    protokolla = subprotocol

    @property
    def _csrf_kattely(self) -> "dict[str, Any] | None":
        return self.csrf_handshake


class Closing:
    """Closes a socket where it is awaited."""

    __slots__ = ("_arguments", "_socket")

    def __init__(self, socket: "Socket", *arguments: Any) -> None:
        self._socket = socket
        self._arguments = arguments

    def __await__(self) -> "typing.Generator[Any, None, None]":
        return self._socket.close(*self._arguments).__await__()


class _TokenCheck(CsrfViewMiddleware):
    """Django's check of a token, without the page that says it failed."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def evaluated_user(request: HttpRequest) -> "_AnyUser":
    """Return the user of a request, and not a lazy object in its place; may query."""
    user = request.user
    # Any attribute evaluates a lazy user.
    getattr(user, "is_authenticated", None)
    return getattr(user, "_wrapped", user)


def _no_response(request: HttpRequest) -> Any:
    """Stand for a view and for what comes after the middleware: neither is called."""
