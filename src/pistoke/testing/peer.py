"""The server and the network between a test and the ASGI application: the application's ``receive`` and ``send``."""

import asyncio
import collections
from http.cookies import SimpleCookie
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Union

from django.http import HttpResponse

from .._compat import get_running_loop
from ..connection import Connection, State, payload
from .scope import as_response

Event = Dict[str, Any]
Message = Union[str, bytes]


class Peer:
    """One connection, seen from both ends.

    The application calls :meth:`receive` and :meth:`send`, as a server would give them to it; the rest is for the test.
    """

    def __init__(self) -> None:
        # Whose turn it is: the same rules that an application goes by bind it here.
        self.connection: Connection = Connection()
        # Events for the application, messages for the test.
        self.inbound: "Deque[Event]" = collections.deque([{"type": "websocket.connect"}])
        self.outbound: "Deque[Message]" = collections.deque()
        # The application's event of acceptance, and what it refuses with: status (``bare``: of a close without a
        # response), headers, content.
        self.accepted: Optional[Event] = None
        self.status: Optional[int] = None
        self.bare: bool = False
        self.denial_headers: Any = ()
        self.denial: bytes = b""
        # Whether the application knows of the end.
        self.disconnect_taken: bool = False
        # Futures of those who wait for something to change.
        self._waiters: "List[asyncio.Future[None]]" = []

    # Of the application

    async def receive(self) -> Event:
        """Return the next event; wait for ever after the last one, as several servers do."""
        await self.until(lambda: self.inbound)
        event: Event = self.inbound.popleft()
        if event["type"] == "websocket.disconnect":
            self.disconnect_taken = True
        self.changed()
        return event

    async def send(self, event: Event) -> None:
        """Take an event.

        Raises OSError when the client has gone (ASGI: «server … should raise an exception of OSError»), RuntimeError for
        an event out of turn.
        """
        if self.connection.client is State.DISCONNECTED:
            raise OSError("the client has left")
        self.connection.sending(event)
        getattr(self, "_" + event["type"].replace(".", "_"))(event)
        self.changed()

    def _websocket_accept(self, event: Event) -> None:
        self.accepted = event

    def _websocket_send(self, event: Event) -> None:
        self.outbound.append(payload(event))

    def _websocket_close(self, event: Event) -> None:
        if self.accepted is None:
            # ASGI: «If this is sent before the socket is accepted, the server must close the connection with a HTTP 403».
            self.status, self.bare = 403, True
        self._say_goodbye()

    def _websocket_http_response_start(self, event: Event) -> None:
        self.status = event["status"]
        self.denial_headers = event.get("headers", ())

    def _websocket_http_response_body(self, event: Event) -> None:
        self.denial += event.get("body", b"")
        if not event.get("more_body"):
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        connection = self.connection
        self.inbound.append(
            {"type": "websocket.disconnect", "code": connection.close_code, "reason": connection.close_reason}
        )

    # Of the test

    @property
    def undecided(self) -> bool:
        """Whether the handshake is neither accepted nor refused yet."""
        return self.connection.application in (State.CONNECTING, State.RESPONSE)

    @property
    def closed_by_application(self) -> bool:
        """Whether the application has nothing more to say."""
        return self.connection.application is State.DISCONNECTED

    @property
    def refused(self) -> bool:
        """Whether the handshake was answered with an HTTP response."""
        return self.status is not None and not self.undecided

    @property
    def response(self) -> HttpResponse:
        """The response that the handshake was refused with."""
        return as_response(self.status or 403, self.denial_headers, self.denial)

    @property
    def accept_cookies(self) -> "SimpleCookie":
        """The cookies that came with the acceptance."""
        return as_response(101, (self.accepted or {}).get("headers") or (), b"").cookies

    def unread(self, kept: Iterable[Event] = ()) -> List[Message]:
        """Return the messages that the view has not read: ``kept`` are the events that wait beside it, then come ours."""
        events = list(kept) + list(self.inbound)
        return [payload(event) for event in events if event["type"] == "websocket.receive"]

    def put(self, event: Event) -> None:
        """Give an event to the application."""
        self.inbound.append(event)
        self.changed()

    def leave(self, code: int, reason: str) -> None:
        """Tell the application that the client has left."""
        if not self.connection.over:
            event = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self.connection.received(event)
            self.put(event)

    def changed(self) -> None:
        """Wake those who wait."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], Any], seconds: Optional[float] = None) -> bool:
        """Wait until ``condition()`` holds, ``seconds`` at most; return whether it does."""
        deadline = None if seconds is None else get_running_loop().time() + seconds
        while not condition():
            left = None if deadline is None else deadline - get_running_loop().time()
            if left is not None and left <= 0:
                return False
            waiter = get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await asyncio.wait([waiter], timeout=left)
            finally:
                # It holds no reference that anybody needs, and nobody is to be woken by it.
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return True


def receive_event(message: object) -> Event:
    """Return the event that brings a message to the application; raise TypeError for neither text nor binary."""
    if isinstance(message, str):
        return {"type": "websocket.receive", "text": str(message)}
    if isinstance(message, (bytes, bytearray, memoryview)):
        return {"type": "websocket.receive", "bytes": bytes(message)}
    raise TypeError(
        "expected a message of type str or bytes, got {}; use send_json() for objects".format(type(message).__name__)
    )
