"""Decorators of views of sockets: other messages than text, a CSRF handshake, another origin."""

import copy
import json
import typing
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext as _

from .decoration import DecoratedView, ViewDecorator, call_view
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
                message = json.loads(message)
            except (ValueError, RecursionError):
                return None
        return message if isinstance(message, dict) else None

    async def fail(self, request: "WebsocketRequest", code: int, text: str) -> None:
        """Tell the client what is wrong, and close the socket."""
        if self.error_key is not None:
            error = {self.error_key: text, "status": code - 4000}
            await request.send(json.dumps(error, cls=DjangoJSONEncoder) if request._socket.encode is None else error)
        await close_quietly(request._socket, code)


class origin_exempt(ViewDecorator):
    """Let pages of any origin open the sockets of a view."""

    def __call__(self, view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]":
        """Return ``view`` marked; itself it is left alone."""
        exempt = copy.copy(view) if isinstance(view, DecoratedView) else super().__call__(view)
        exempt.origin_exempt = True  # type: ignore[union-attr]  # it is a DecoratedView
        return exempt
