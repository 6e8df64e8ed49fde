"""Telling the signals of ``signals.py`` what happens on one socket. Imported when the first socket has a listener."""

import time
import typing
from typing import Any

from ._compat import send_robust
from .connection import ABNORMAL, State, payload, size
from .inbound import Wrapped
from .signals import message_received, message_sent, websocket_closed, websocket_opened, websocket_refused

if typing.TYPE_CHECKING:
    from ._types import Event, Receive, Send
    from .request import WebsocketRequest
    from .signals import SocketSignal
    from .socket import Socket


class Observer:
    """One socket as its listeners see it.

    The server's ``receive`` and ``send`` are wrapped only where somebody listens to messages; the socket itself tells what
    else it sends.
    """

    __slots__ = ("_began", "_opened", "_sender", "_status", "closed_by_limit", "request")

    def __init__(self, sender: type, socket: "Socket") -> None:
        self._sender = sender
        # When the handshake began; when the socket was opened, None until then.
        self._began = time.monotonic()
        self._opened: "float | None" = None
        # The HTTP status that has refused it, if one has.
        self._status: "int | None" = None
        # What the receivers get; None until there is one, and in the end, so that nothing is kept in a circle.
        self.request: "WebsocketRequest | None" = None
        # Whether it was we who have ended it, although the socket says what it says when its client leaves.
        self.closed_by_limit: bool = False
        if message_received.receivers:
            socket.watch(lambda receive: Wrapped(receive, self._receive), lambda send: send)
        if message_sent.receivers:
            socket.watch(lambda receive: receive, lambda send: Wrapped(send, self._send))

    def _tell(self, signal: "SocketSignal", **arguments: Any) -> None:
        send_robust(signal, self._sender, request=self.request, **arguments)

    async def _receive(self, receive: "Receive") -> "Event":
        event = await receive()
        if event["type"] == "websocket.receive":
            self._tell_message(message_received, event)
        return event

    async def _send(self, send: "Send", event: "Event") -> None:
        await send(event)
        if event["type"] == "websocket.send":
            self._tell_message(message_sent, event)

    def _tell_message(self, signal: "SocketSignal", event: "Event") -> None:
        message = payload(event)
        self._tell(signal, message=message, size=size(message))

    def answered(self, event: "Event", socket: "Socket") -> None:
        """Note what the server was told that is no message."""
        if event["type"] == "websocket.accept":
            self._opened = time.monotonic()
            self._tell(websocket_opened, subprotocol=socket.subprotocol, seconds=self._opened - self._began)
        elif event["type"] == "websocket.http.response.start":
            self._status = event["status"]
        elif event["type"] == "websocket.close" and self._opened is None:
            # ASGI: «If this is sent before the socket is accepted, the server must close the connection with a HTTP 403
            # error code».
            self._status = 403

    def over(self, socket: "Socket") -> None:
        """Tell how it has ended."""
        now = time.monotonic()
        if self._opened is None:
            self._tell(websocket_refused, status=self._status, seconds=now - self._began)
        else:
            self._tell(
                websocket_closed,
                code=ABNORMAL if socket.close_code is None else socket.close_code,
                reason=socket.close_reason,
                by_client=socket.application is State.CONNECTED and not self.closed_by_limit,
                seconds=now - self._opened,
            )
        self.request = None
