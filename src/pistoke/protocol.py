"""Protocols: how a socket is opened and closed, and what a message is.

A protocol decorates a view. Access control *around* a protocol (``login_required(WebsocketProtocol(view))``) refuses with
an HTTP status, because the socket is not open yet; *inside* of it the socket opens, and closes at once with the error.
"""

import asyncio
import contextlib
import json

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404
from django.http.response import HttpResponseBase

from ._compat import BadRequest
from .connection import INTERNAL_ERROR, NORMAL, State, close_code_for_status
from .decoration import PlaceholderResponse, ViewDecorator, begin, call_view, is_view
from .exceptions import ConnectionClosed, HandshakeError
from .socket import RawSocket


class WebsocketProtocol(ViewDecorator):
    """Open the socket, pass text and binary messages, close it when the view ends.

    Use as ``@WebsocketProtocol`` or ``@WebsocketProtocol()`` on an ``async def`` view, or by
    ``method_decorator(WebsocketProtocol(), name="websocket")`` on a view class.
    """

    #: The subprotocols that the view supports.
    subprotocols = ()

    def __call__(self, view):
        """Return ``view`` decorated.

        Raises ValueError where it has an explicit protocol already, TypeError where it is no callable.
        """
        if not is_view(view):
            raise TypeError("expected a view to decorate, got {!r}".format(view))
        inner = getattr(view, "websocket_protocol", None)
        if inner is not None:
            raise ValueError("expected one protocol for a view, got {} around {}".format(self, inner))
        decorated = super().__call__(view)
        decorated.websocket_protocol = self
        return decorated

    def __repr__(self):
        return "{}({})".format(type(self).__name__, ", ".join(map(repr, self.subprotocols)))

    #: Whether the protocol can be applied inside of another, and to a socket that is open already.
    adopts = True

    async def session(self, view, request, args, kwargs):
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
                await close_quietly(socket, close_code_for_exception(exc))
            raise
        finally:
            socket.decode, socket.encode = codec
        if adopted:
            return response
        await close_quietly(socket, close_code_for_response(response))
        return None

    async def begin(self, view, request, args, kwargs):
        """Open the socket and call the view; return what the call returns."""
        await self.enter(request)
        return await begin(view, *args, **kwargs)

    async def enter(self, request):
        """Open the socket, or adopt it where it is open; return whether it was adopted."""
        socket = request._socket
        adopted = self.adopted(socket)
        self.translate(socket)
        if not adopted:
            socket.protocol, socket.automatic = self, False
            await self.open(request)
        return adopted

    def adopted(self, socket):
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

    async def open(self, request):
        """Open the socket with the subprotocol that suits both sides."""
        await request._socket.accept(self.subprotocols)

    def translate(self, socket):
        """Set what translates the messages of this protocol."""


class WebsocketSubprotocol(WebsocketProtocol):
    """Open the socket with one of the subprotocols given, the one that the client likes best.

    ``WebsocketSubprotocol("v2.example", "v1.example")``. A client that offers none of them is refused. The one chosen is
    ``request.subprotocol``. (RFC 6455 section 1.9)
    """

    adopts = False

    def __new__(cls, *subprotocols):
        if len(subprotocols) == 1 and is_view(subprotocols[0]):
            raise TypeError("expected subprotocols: @{}('name'), got a view".format(cls.__name__))
        return super().__new__(cls, *subprotocols)

    def __init__(self, *subprotocols):
        self.subprotocols = check_subprotocols(subprotocols)


class WebsocketJSONProtocol(WebsocketProtocol):
    """Exchange JSON values: ``receive()`` returns objects, ``send()`` takes them.

    ``encoder`` and ``decoder`` are classes for :func:`json.dumps` and :func:`json.loads`; the default encoder is Django's.
    With ``subprotocols`` one of them is agreed on first. A message that is no JSON closes the socket with 1007.
    """

    def __init__(self, *subprotocols, encoder=DjangoJSONEncoder, decoder=None):
        self.subprotocols = check_subprotocols(subprotocols)
        self.adopts = not subprotocols
        self.codec = json_codec({"cls": decoder}, {"cls": encoder})

    def translate(self, socket):
        """Decode and encode JSON."""
        socket.decode, socket.encode = self.codec


class RawWebsocketProtocol(WebsocketProtocol):
    """Leave the whole exchange of ASGI events to the view.

    ``receive()`` returns them (``{"type": "websocket.connect"}`` first), ``send()`` takes them. Kept until version 1.2.
    """

    adopts = False

    async def open(self, request):
        """Open nothing: the view does."""
        request._socket = RawSocket(request._socket)


def check_subprotocols(subprotocols):
    """Return the names of subprotocols as a tuple; raise where one is no token (RFC 6455 section 4.1)."""
    for name in subprotocols:
        if not isinstance(name, str):
            raise TypeError("expected the name of a subprotocol as str, got {!r}".format(name))
        if not name or not all("!" <= char <= "~" and char not in '()<>@,;:\\\\"/[]?={}' for char in name):
            raise ValueError("expected the name of a subprotocol without spaces and separators, got {!r}".format(name))
    return tuple(subprotocols)


def json_codec(loads, dumps):
    """Return functions that decode and encode a message, given arguments of ``json.loads`` and ``json.dumps``."""
    dumps = dict({"cls": DjangoJSONEncoder}, **dumps)

    def decode(message):
        return json.loads(message, **loads)

    def encode(value):
        return json.dumps(value, **dumps)

    return decode, encode


async def close_quietly(socket, code):
    """Close the socket, whether the client is still there or not."""
    with contextlib.suppress(ConnectionClosed):
        await socket.close(code)


def close_code_for_response(response):
    """Return the close code for what a view has returned.

    Raises TypeError for something that is neither a response nor nothing: most likely of a plain ``def``.
    """
    if response is None or isinstance(response, PlaceholderResponse):
        return NORMAL
    if isinstance(response, HttpResponseBase):
        return close_code_for_status(response.status_code)
    raise TypeError("expected nothing or an HttpResponse from a view of a socket, got {!r}".format(response))


#: The exceptions that are an answer of the view's, and their HTTP status.
STATUSES = ((Http404, 404), (PermissionDenied, 403), (SuspiciousOperation, 400), (BadRequest, 400))


def close_code_for_exception(exc):
    """Return the close code for what a view has raised."""
    for kind, status in STATUSES:
        if isinstance(exc, kind):
            return close_code_for_status(status)
    return INTERNAL_ERROR
