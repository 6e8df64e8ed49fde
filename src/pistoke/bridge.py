"""Other ASGI applications as views: a Channels consumer, a GraphQL server, python-socketio, Starlette."""

import typing
from typing import Any

from asgiref.compatibility import guarantee_single_callable
from django.http import HttpRequest, HttpResponse

from .protocol import RawWebsocketProtocol
from .request import WebsocketRequest

if typing.TYPE_CHECKING:
    from ._types import Scope


def asgi_view(application: "typing.Callable[..., Any]") -> "typing.Callable[..., Any]":
    """Return a view that lets an ASGI application answer the socket: ``path("ws/", asgi_view(Consumer.as_asgi()))``.

    The application gets the scope of the server, whose ``path`` is the whole one, and in it what Channels' own middleware
    and routing would have put there: ``user`` and ``session`` (where the project has them), ``cookies`` and
    ``url_route``. It accepts, refuses and closes the socket itself. What stands before it is Django's: ``urls.py``, the
    middleware, decorators.

    An HTTP request is answered with 426 (RFC 9110 section 15.5.22). An application in the style of ASGI 2 will do too.
    """
    single = guarantee_single_callable(application)  # type: ignore[no-untyped-call]  # asgiref's

    async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> "HttpResponse | None":
        if not isinstance(request, WebsocketRequest):
            return upgrade_required(request)
        socket = request._socket
        await single(scope_of(request, args, kwargs), socket.receive, socket.send)
        return None

    view.__name__ = view.__qualname__ = getattr(application, "__name__", type(application).__name__)
    view.__module__ = getattr(application, "__module__", None) or view.__module__
    return RawWebsocketProtocol()(view)


def upgrade_required(request: HttpRequest) -> HttpResponse:
    """Return the answer to a request that is no WebSocket."""
    response = HttpResponse("expected a WebSocket", status=426, content_type="text/plain")
    if hasattr(request, "scope"):
        # Over WSGI it is the server's to say, and some refuse to pass it on.
        response["Upgrade"] = "websocket"
    return response


def scope_of(request: WebsocketRequest, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> "Scope":
    """Return the scope of a request with what Django knows of it."""
    scope = dict(request.scope, cookies=request.COOKIES, url_route={"args": args, "kwargs": kwargs})
    for name in ("user", "session"):
        if hasattr(request, name):
            scope[name] = getattr(request, name)
    return scope
