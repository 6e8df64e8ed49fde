"""Decorators of views of sockets: other messages than text, a CSRF handshake, another origin, other limits."""

import copy
import json
import typing
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext as _

from ._compat import JSON_LIMITS
from .decoration import DecoratedView, SocketResponse, ViewDecorator, begin, call_view
from .limits import check_limits, impose
from .protocol import close_quietly, json_codec

if typing.TYPE_CHECKING:
    from ._types import Decode, Encode, P, View
    from .request import WebsocketRequest


class json_messages(ViewDecorator):
    """Exchange JSON values inside of any protocol: ``receive()`` returns objects, ``send()`` takes them.

    ``loads`` and ``dumps`` are keyword arguments for :func:`json.loads` and :func:`json.dumps`; Django's encoder is the
    default. A message that is no JSON closes the socket with 1007.
    """

    codec: "tuple[Decode, Encode]"

    if typing.TYPE_CHECKING:

        @typing.overload
        def __new__(cls, __view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]": ...  # type: ignore[misc]
        @typing.overload
        def __new__(
            cls, loads: "dict[str, Any] | None" = None, dumps: "dict[str, Any] | None" = None
        ) -> "json_messages": ...
        def __new__(cls, *args: Any, **kwargs: Any) -> Any: ...

    else:

        def __init__(self, loads=None, dumps=None):
            self.codec = json_codec(loads or {}, dumps or {})

    async def session(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Run the view with its messages translated."""
        socket = request._socket
        codec = socket.decode, socket.encode
        socket.decode, socket.encode = self.codec
        try:
            return await call_view(view, *args, **kwargs)
        finally:
            socket.decode, socket.encode = codec


class csrf_handshake(ViewDecorator):
    """Check the CSRF token in the first message before the view is called.

    The message is a JSON object; ``csrf_key`` names its member that holds the token. The whole object is then
    ``request.csrf_handshake``. A bad token is answered by an object whose member ``error_key`` says so, if that is given,
    and whose ``status`` is 403, and the socket is closed with 4403; a first message that is no object likewise, with 4400.

    ``csrf_avain`` and ``virhe_avain`` are other names of the two.
    """

    csrf_key: str
    error_key: "str | None"

    if typing.TYPE_CHECKING:

        @typing.overload
        def __new__(cls, __view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]": ...  # type: ignore[misc]
        @typing.overload
        def __new__(
            cls,
            csrf_key: str = "csrfmiddlewaretoken",
            error_key: "str | None" = None,
            csrf_avain: "str | None" = None,
            virhe_avain: "str | None" = None,
        ) -> "csrf_handshake": ...
        def __new__(cls, *args: Any, **kwargs: Any) -> Any: ...

    else:

        def __init__(self, csrf_key="csrfmiddlewaretoken", error_key=None, csrf_avain=None, virhe_avain=None):
            self.csrf_key = csrf_avain or csrf_key
            self.error_key = virhe_avain or error_key

    async def session(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Receive the token, and run the view if it is right."""
        handshake = await self.receive(request)
        if handshake is None:
            return await self.fail(request, 4400, _("Connection setup failed!"))
        if not request.check_csrf(handshake.get(self.csrf_key)):
            return await self.fail(request, 4403, _("CSRF token missing or incorrect!"))
        request.csrf_handshake = handshake
        return await call_view(view, *args, **kwargs)

    async def receive(self, request: "WebsocketRequest") -> "dict[str, Any] | None":
        """Return the first message, None where it is no object; it does not count as read by the view."""
        socket = request._socket
        has_read, readable = socket.has_read, socket.readable
        message = await request.receive()
        socket.has_read, socket.readable = has_read, readable and socket.readable
        if socket.decode is None:
            try:
                message = json.loads(message, **JSON_LIMITS)
            except (ValueError, RecursionError):
                return None
        return message if isinstance(message, dict) else None

    async def fail(self, request: "WebsocketRequest", code: int, text: str) -> None:
        """Tell the client what is wrong, and close the socket."""
        if self.error_key is not None:
            error = {self.error_key: text, "status": code - 4000}
            await request.send(json.dumps(error, cls=DjangoJSONEncoder) if request._socket.encode is None else error)
        await close_quietly(request._socket, code)


class limits(ViewDecorator):
    """Set limits to what a client may ask of a view, in the place of the settings of the same names.

    Any of these may be given; all but the two that bound the buffer may be None, which lifts the setting for this view:

    - ``max_message_size``: bytes; a larger message closes the socket with 1009.
    - ``inbound_messages``, ``inbound_bytes``: how much waits for a busy view before the client has to.
    - ``message_rate``: a pair, so many messages at once and again in so many seconds; one more closes with 1008.
    - ``send_timeout``: seconds in which the client has to read what is sent; else the socket is closed with 1008.
    - ``idle_timeout``: seconds that may pass without a message either way; then the socket is closed with 1001.
    - ``max_sockets``, ``max_sockets_per_session``: how many may be open to this view in a process; one more is refused with
      HTTP 503.

    Where the decorator stands, outside or inside of a protocol, makes no difference as long as it can be seen there: the
    limits are in force before the view is called. Only under a decorator that hides the view (without ``functools.wraps``)
    they wait for the call: there one socket too many closes with 4503 where the protocol has opened it.

    Raises TypeError for a limit that there is none of, ValueError for a value that makes no sense.
    """

    values: "dict[str, Any]"

    if typing.TYPE_CHECKING:

        @typing.overload
        def __new__(cls, __view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]": ...  # type: ignore[misc]
        @typing.overload
        def __new__(
            cls,
            *,
            max_message_size: "int | None" = ...,
            inbound_messages: int = ...,
            inbound_bytes: int = ...,
            message_rate: "tuple[int, float] | None" = ...,
            send_timeout: "float | None" = ...,
            idle_timeout: "float | None" = ...,
            max_sockets: "int | None" = ...,
            max_sockets_per_session: "int | None" = ...
        ) -> "limits": ...
        def __new__(cls, *args: Any, **kwargs: Any) -> Any: ...

    else:

        def __init__(self, **values):
            check_limits(values)
            self.values = values

    def __call__(self, view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]":
        """Return ``view`` decorated, with its limits to be seen by the handler."""
        limited = super().__call__(view)
        limited.websocket_limits = getattr(view, "websocket_limits", ()) + (self,)  # type: ignore[attr-defined]
        return limited

    async def session(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Run the view within its limits, or answer that there is no room."""
        response = impose(request, (self,))
        return await call_view(view, *args, **kwargs) if response is None else response

    async def begin(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Call the view, and get out of the way of its messages."""
        response = impose(request, (self,))
        if response is not None:
            return response
        response = await begin(view, *args, **kwargs)
        return await response.begin() if type(response) is SocketResponse else response


class origin_exempt(ViewDecorator):
    """Let pages of any origin open the sockets of a view."""

    def __call__(self, view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]":
        """Return ``view`` marked; itself it is left alone."""
        exempt = copy.copy(view) if isinstance(view, DecoratedView) else super().__call__(view)
        exempt.origin_exempt = True  # type: ignore[union-attr]  # it is a DecoratedView
        return exempt
