"""Refusing a handshake with a real HTTP answer, or with the next best thing that the server can do."""

import http
import inspect
import logging
import typing
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpResponseForbidden

from .exceptions import ConnectionClosed

if typing.TYPE_CHECKING:
    from ._types import Response, Scope
    from .socket import Socket

logger: logging.Logger = logging.getLogger("pistoke")

#: The ASGI extension that carries an HTTP answer; a server without it answers a close before the accept with a 403.
EXTENSION = "websocket.http.response"

#: How long to wait for Uvicorn to say that a refused connection has ended, in seconds: it does so at once, and logs an
#: error where nobody waits for it. (Hypercorn says it when the client hangs up, Granian never.)
SECONDS_TO_END = 5


async def refuse(socket: "Socket", response: "Response", scope: "Scope") -> None:
    """Answer a handshake with ``response``, as far as the server can; a redirect becomes a 403.

    A browser does not follow a redirect for a socket, and a page of another address is of no use to a script.
    """
    if 300 <= response.status_code < 400:
        close_resources(response)
        response = HttpResponseForbidden()
    try:
        if EXTENSION in (scope.get("extensions") or {}) and not is_bare_403(response):
            await send_response(socket, response)
        else:
            await socket.send_event({"type": "websocket.close", "code": 1000})
    except ConnectionClosed:
        # The client left while it was being refused.
        pass
    finally:
        close_resources(response)


def is_bare_403(response: "Response") -> bool:
    """Return whether a response says nothing that a close before the accept does not say as well."""
    return (
        response.status_code == 403
        and not response.streaming
        and not response.getvalue()
        and not response.cookies
        and all(name.lower() in ("content-length", "content-type") for name, _ in response.items())
    )


async def send_response(socket: "Socket", response: "Response") -> None:
    """Send a response in place of a socket, and wait until the server is done with it."""
    body = await read_body(response)
    start = {
        "type": "websocket.http.response.start",
        "status": known_status(response.status_code, socket),
        "headers": encode_headers(response, len(body), socket),
    }
    await socket.send_event(start)
    await socket.send_event({"type": "websocket.http.response.body", "body": body, "more_body": False})
    if socket.is_served_by("uvicorn"):
        await socket.wait_for_end(SECONDS_TO_END)


async def read_body(response: "Response") -> bytes:
    """Return the content of a response, a streamed one to its end."""
    if not response.streaming:
        return response.getvalue()
    if getattr(response, "is_async", False):
        return b"".join([part async for part in response])  # type: ignore[attr-defined]  # novm: 3.6 has it, in async def
    return await sync_to_async(b"".join)(response)


def encode_headers(response: "Response", length: int, socket: "Socket") -> "list[tuple[bytes, bytes]]":
    """Return the headers of a response as pairs of bytes."""
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    if not response.has_header("Content-Length"):
        headers.append((b"content-length", str(length).encode("ascii")))
    cookies = [(b"set-cookie", cookie.OutputString().encode("latin-1")) for cookie in response.cookies.values()]
    # Granian dies on a name that comes twice.
    return headers + (cookies[:1] if socket.is_served_by("granian") else cookies)


def known_status(status: int, socket: "Socket") -> int:
    """Return a status that the server can send: one implementation of Uvicorn's knows only those of the registry."""
    if socket.is_served_by("uvicorn.protocols.websockets.websockets_impl"):
        known = {item.value for item in http.HTTPStatus}
        return status if status in known else status // 100 * 100
    return status


def close_resources(response: Any) -> None:
    """Close what a response holds on to (files, say), without telling Django that a request has finished.

    ``request_finished`` is sent when the socket is over, once.
    """
    closers, response._resource_closers = response._resource_closers, []
    for closer in closers:
        try:
            closer()
        except Exception:
            logger.exception("a response could not be closed")
    response.closed = True


def rendered(response: Any) -> Any:
    """Return a template response rendered; any other as it is."""
    return response.render() if callable(getattr(response, "render", None)) else response


def printable(text: str) -> str:
    """Return what a client has sent as it may stand in a log: on one line, and without control characters.

    Django escapes what it logs of a request since the middle of 2025.
    """
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


async def finished(response: "Response | typing.Awaitable[Response]") -> "Response":
    """Return a response that can be sent: a template is rendered, in a thread."""
    if inspect.isawaitable(response):
        response = await response
    return await sync_to_async(rendered)(response) if hasattr(response, "render") else response
