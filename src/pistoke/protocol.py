"""Protocols: how a socket is opened and closed, and what a message is.

A protocol decorates a view. Access control *around* a protocol (``login_required(WebsocketProtocol(view))``) refuses with
an HTTP status, because the socket is not open yet; *inside* of it the socket opens, and closes at once with the error.
"""

import asyncio
import contextlib
import json
import typing
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404
from django.http.response import HttpResponseBase

from ._compat import JSON_LIMITS, BadRequest
from .connection import INTERNAL_ERROR, NORMAL, State, close_code_for_status
from .decoration import PlaceholderResponse, ViewDecorator, begin, call_view, is_view
from .exceptions import ConnectionClosed, HandshakeError
from .socket import RawSocket

if typing.TYPE_CHECKING:
    from typing_extensions import Self

    from ._types import Decode, Encode, P, View
    from .request import WebsocketRequest
    from .socket import Socket


class WebsocketProtocol(ViewDecorator):
    """Open the socket, pass text and binary messages, close it when the view ends.

    Use as ``@WebsocketProtocol`` or ``@WebsocketProtocol()`` on an ``async def`` view, or by
    ``method_decorator(WebsocketProtocol(), name="websocket")`` on a view class.
    """

    #: The subprotocols that the view supports.
    subprotocols: "tuple[str, ...]" = ()

    def __call__(self, view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]":
        """Return ``view`` decorated.

        Raises ValueError where it has an explicit protocol already, TypeError where it is no callable.
        """
        if not is_view(view):
            raise TypeError("expected a view to decorate, got {!r}".format(view))
        inner = getattr(view, "websocket_protocol", None)
        if inner is not None:
            raise ValueError("expected one protocol for a view, got {} around {}".format(self, inner))
        decorated = super().__call__(view)
        decorated.websocket_protocol = self  # type: ignore[attr-defined]  # it is a DecoratedView
        return decorated

    def __repr__(self) -> str:
        return "{}({})".format(type(self).__name__, ", ".join(map(repr, self.subprotocols)))

    #: Whether the protocol can be applied inside of another, and to a socket that is open already.
    adopts: bool = True

    async def session(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Open the socket, run the view, close the socket by its outcome."""
        socket = request._socket
        codec = socket.decode, socket.encode
        # Until it is opened here, closing the socket is somebody else's business.
        adopted = True
        try:
            adopted = await self.enter(request)
            response = await call_view(view, *args, **kwargs)
        except asyncio.CancelledError:
            # Why is known where the view is driven.
            raise
        except BaseException as exc:
            if socket.application is State.CONNECTED and not adopted:
                await close_quietly(socket, close_code_for_exception(exc), close_reason_for_exception(exc))
            raise
        finally:
            socket.decode, socket.encode = codec
        if adopted:
            return response
        await close_quietly(socket, close_code_for_response(response), close_reason_for_response(response))
        return None

    async def begin(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Open the socket and call the view; return what the call returns."""
        await self.enter(request)
        return await begin(view, *args, **kwargs)

    async def enter(self, request: "WebsocketRequest") -> bool:
        """Open the socket, or adopt it where it is open; return whether it was adopted."""
        socket = request._socket
        adopted = self.adopted(socket)
        self.translate(socket)
        if not adopted:
            socket.protocol, socket.automatic = self, False
            await self.open(request)
        return adopted

    def adopted(self, socket: "Socket") -> bool:
        """Return whether the socket was opened by another protocol, and this one goes on with it.

        Raises ValueError inside of an explicit protocol, HandshakeError for an open socket, where this one cannot.
        """
        if socket.protocol is not None and not self.adopts:
            raise ValueError("expected one protocol for a view, got {} inside of {}".format(self, socket.protocol))
        if socket.application is not State.CONNECTING and not self.adopts:
            raise HandshakeError(
                "expected an untouched handshake, got an open socket: the view awaited something else before "
                "{} was applied".format(self)
            )
        return socket.protocol is not None or socket.application is not State.CONNECTING

    async def open(self, request: "WebsocketRequest") -> None:
        """Open the socket with the subprotocol that suits both sides."""
        await request._socket.accept(self.subprotocols)

    def translate(self, socket: "Socket") -> None:
        """Set what translates the messages of this protocol."""


class WebsocketSubprotocol(WebsocketProtocol):
    """Open the socket with one of the subprotocols given, the one that the client likes best.

    ``WebsocketSubprotocol("v2.example", "v1.example")``. A client that offers none of them is refused. The one chosen is
    ``request.subprotocol``. (RFC 6455 section 1.9)
    """

    adopts = False

    def __new__(cls, *subprotocols: str) -> "Self":
        if len(subprotocols) == 1 and is_view(subprotocols[0]):
            raise TypeError("expected subprotocols: @{}('name'), got a view".format(cls.__name__))
        return super().__new__(cls, *subprotocols)

    def __init__(self, *subprotocols: str) -> None:
        self.subprotocols: "tuple[str, ...]" = check_subprotocols(subprotocols)


class WebsocketJSONProtocol(WebsocketProtocol):
    """Exchange JSON values: ``receive()`` returns objects, ``send()`` takes them.

    ``encoder`` and ``decoder`` are classes for :func:`json.dumps` and :func:`json.loads`; the default encoder is Django's.
    With ``subprotocols`` one of them is agreed on first. A message that is no JSON closes the socket with 1007.
    """

    codec: "tuple[Decode, Encode]"

    if typing.TYPE_CHECKING:

        @typing.overload
        def __new__(cls, __view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]": ...  # type: ignore[misc]
        @typing.overload
        def __new__(
            cls,
            *subprotocols: str,
            encoder: "type[json.JSONEncoder]" = DjangoJSONEncoder,
            decoder: "type[json.JSONDecoder] | None" = None
        ) -> "WebsocketJSONProtocol": ...
        def __new__(cls, *args: Any, **kwargs: Any) -> Any: ...

    else:

        def __init__(self, *subprotocols, encoder=DjangoJSONEncoder, decoder=None):
            self.subprotocols = check_subprotocols(subprotocols)
            self.adopts = not subprotocols
            self.codec = json_codec({"cls": decoder}, {"cls": encoder})

    def translate(self, socket: "Socket") -> None:
        """Decode and encode JSON."""
        socket.decode, socket.encode = self.codec


class RawWebsocketProtocol(WebsocketProtocol):
    """Leave the whole exchange of ASGI events to the view.

    ``receive()`` returns them (``{"type": "websocket.connect"}`` first), ``send()`` takes them. Kept until version 1.2.
    """

    adopts = False

    async def open(self, request: "WebsocketRequest") -> None:
        """Open nothing: the view does."""
        request._socket = RawSocket(request._socket)  # type: ignore[assignment]  # the view uses what both have


def check_subprotocols(subprotocols: "tuple[str, ...]") -> "tuple[str, ...]":
    """Return the names of subprotocols as a tuple; raise where one is no token (RFC 6455 section 4.1)."""
    for name in subprotocols:
        if not isinstance(name, str):
            raise TypeError("expected the name of a subprotocol as str, got {!r}".format(name))
        if not name or not all("!" <= char <= "~" and char not in '()<>@,;:\\\\"/[]?={}' for char in name):
            raise ValueError("expected the name of a subprotocol without spaces and separators, got {!r}".format(name))
    return tuple(subprotocols)


def json_codec(loads: "dict[str, Any]", dumps: "dict[str, Any]") -> "tuple[Decode, Encode]":
    """Return functions that decode and encode a message, given arguments of ``json.loads`` and ``json.dumps``."""
    dumps = dict({"cls": DjangoJSONEncoder}, **dumps)
    if loads.get("cls") is None:
        loads = dict(JSON_LIMITS, **loads)

    def decode(message: "str | bytes") -> Any:
        return json.loads(message, **loads)

    def encode(value: Any) -> str:
        try:
            return json.dumps(value, **dumps)
        except TypeError as exc:
            return dumps_models(value, dumps, exc)

    return decode, encode


def dumps_models(value: Any, dumps: "dict[str, Any]", exc: TypeError) -> str:
    """Return the JSON of a value with typed messages in it, given what was wrong with it without them."""
    try:
        from .typed.models import dumps_with_models
    except ImportError:
        # Python 3.6 has no dataclasses, and no messages made of them.
        raise exc from None
    return dumps_with_models(value, dumps)


async def close_quietly(socket: "Socket", code: int, reason: str = "") -> None:
    """Close the socket, whether the client is still there or not."""
    with contextlib.suppress(ConnectionClosed):
        await socket.close(code, reason)


def close_code_for_response(response: object) -> int:
    """Return the close code for what a view has returned.

    Raises TypeError for something that is neither a response nor nothing: most likely of a plain ``def``.
    """
    if response is None or isinstance(response, PlaceholderResponse):
        return NORMAL
    if isinstance(response, HttpResponseBase):
        return close_code_for_status(response.status_code)
    raise TypeError("expected nothing or an HttpResponse from a view of a socket, got {!r}".format(response))


def close_reason_for_response(response: object) -> str:
    """Return what the client is told of a response: in ``DEBUG`` that there was one, and where it leads, else nothing."""
    if not (settings.DEBUG and isinstance(response, HttpResponseBase)) or isinstance(response, PlaceholderResponse):
        return ""
    target = " to {}, but a socket is not redirected".format(response["Location"]) if response.has_header("Location") else ""
    return "the view answered with {} {}{}".format(response.status_code, response.reason_phrase, target)


#: The exceptions that are an answer of the view's, and their HTTP status.
STATUSES = ((Http404, 404), (PermissionDenied, 403), (SuspiciousOperation, 400), (BadRequest, 400))


def close_code_for_exception(exc: BaseException) -> int:
    """Return the close code for what a view has raised."""
    for kind, status in STATUSES:
        if isinstance(exc, kind):
            return close_code_for_status(status)
    return INTERNAL_ERROR


def close_reason_for_exception(exc: BaseException) -> str:
    """Return what the client is told of an exception: in ``DEBUG`` what it says, for the browser's console, else nothing."""
    return "{}: {}".format(type(exc).__name__, exc) if settings.DEBUG else ""
