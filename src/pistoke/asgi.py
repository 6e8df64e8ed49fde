"""HTTP, WebSocket and lifespan in one ASGI application."""

from typing import Awaitable, Callable, Mapping

import django.core.asgi

from ._types import Receive, Scope, Send


def get_asgi_application() -> "Application":
    """Set Django up, and return an application that answers HTTP, sockets and the lifespan of the server.

    For ``asgi.py``, in place of the function of the same name in ``django.core.asgi``.
    """
    http = django.core.asgi.get_asgi_application()

    from .handler import WebsocketHandler

    return Application({"http": http, "websocket": WebsocketHandler(), "lifespan": lifespan})


class Application:
    """An ASGI application that passes each scope on by its type."""

    def __init__(self, applications: Mapping[str, Callable[..., Awaitable[None]]]) -> None:
        self.applications = applications

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a scope on; raise ValueError for a type that nobody knows."""
        try:
            application = self.applications[scope["type"]]
        except KeyError:
            raise ValueError(
                "expected an ASGI scope of type {}, got {!r}".format(
                    " or ".join(map(repr, self.applications)), scope["type"]
                )
            ) from None
        await application(scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a server that asks to start and stop: there is nothing to do, but not answering is taken for a failure."""
    while True:
        event = await receive()
        await send({"type": event["type"] + ".complete"})
        if event["type"] == "lifespan.shutdown":
            return
