"""A socket in the hands of an asynchronous test."""

import asyncio
import json
from http.cookies import SimpleCookie
from typing import Any, Callable, Dict, Generator, List, Optional, Tuple, Type

from django.core.serializers.json import DjangoJSONEncoder

from .._compat import get_running_loop
from ..connection import INTERNAL_ERROR, NORMAL
from ..request import WebsocketRequest
from ..socket import RawSocket
from .application import Application
from .exceptions import (
    HandshakeForbidden,
    HandshakeMissed,
    HandshakeRefused,
    InputNotRead,
    OutputNotRead,
    SocketTimeout,
    ViewEnded,
    listed,
)
from .expectations import DEFAULT, Expectations, Timeout
from .peer import Message, receive_event
from .places import begin_at_view, describe_place
from .threads import borrow_test_thread

# pytest shows the line of the test, and what the view has raised; nothing of what is between.
__tracebackhide__ = True

#: Where the scope of a test's socket holds its session, for the handler of the client.
SESSION = "pistoke.testing.session"


class WebsocketSession(Expectations):
    """One socket of a test, opened and closed by ``async with client.websocket(path) as ws:``.

    ``request`` is the :class:`~pistoke.request.WebsocketRequest` that the view sees, ``scope`` the ASGI scope,
    ``subprotocol`` the one that was agreed on, ``accept_headers`` the list of headers (pairs of bytes) of the acceptance.
    ``close_code`` and ``close_reason`` tell how the socket was closed, by whichever side; ``close_code`` is None until then.

    What the view raises is raised by the next call here, at the latest by the end of the ``async with`` block, unless the
    client was made with ``raise_request_exception=False``.
    """

    def __init__(self, client: Any, scope: Dict[str, Any], timeout: Optional[float]) -> None:
        self.client = client
        self.scope: Dict[str, Any] = dict(scope, **{SESSION: self})
        self.timeout = timeout
        self.request: Optional[WebsocketRequest] = None
        self._application = Application(client.websocket_handler, self.scope)
        self._peer = self._application.peer
        # Whether the test has been told of the exception of the view.
        self._told = False
        # What gives the test's thread back.
        self._return_thread: Any = None

    # What is known of the connection

    @property
    def path(self) -> str:
        """The path that was asked for."""
        return str(self.scope["path"])

    @property
    def subprotocol(self) -> Optional[str]:
        """The subprotocol that the view chose, None where there is none."""
        return (self._peer.accepted or {}).get("subprotocol")

    @property
    def accept_headers(self) -> List[Tuple[bytes, bytes]]:
        """The headers of the acceptance, pairs of bytes."""
        return list((self._peer.accepted or {}).get("headers") or ())

    @property
    def close_code(self) -> Optional[int]:
        """The code that the socket was closed with, None while it is open."""
        return self._peer.connection.close_code

    @property
    def close_reason(self) -> str:
        """The reason that the socket was closed with."""
        return self._peer.connection.close_reason

    @property
    def closed(self) -> bool:
        """Whether either side has closed the socket."""
        return bool(self._peer.connection.over)

    @property
    def view_error(self) -> Optional[BaseException]:
        """What the view has raised, None as long as nothing."""
        return self._application.error

    def note_error(self, exc: Optional[BaseException]) -> None:
        """Keep what the view has raised; may be called in another thread, and before the socket is closed for it."""
        self._application.error = self._application.error or exc

    # Opening

    async def __aenter__(self) -> "WebsocketSession":
        if self._application.started:
            raise RuntimeError("expected a new socket for each `async with`; call client.websocket() again")
        self._return_thread = borrow_test_thread(get_running_loop())
        try:
            self._application.start()
            await self._handshake()
        except BaseException:
            await self._abandon()
            raise
        return self

    async def _abandon(self) -> None:
        """End everything after a handshake that failed: nobody is there to complain to."""
        try:
            if self._application.started:
                await self._application.leave(NORMAL, "", self.timeout)
        except SocketTimeout:
            pass
        finally:
            self._return_thread()

    async def _handshake(self) -> None:
        peer = self._peer
        await self._wait(lambda: not peer.undecided or self._application.done(), "an answer to the handshake")
        if peer.refused or peer.undecided:
            # Whoever waits for the view's end knows what it raised.
            await self._wait(self._application.done, "the view to end after its refusal")
            self._raise_view_error()
            self._keep_cookies(peer.response.cookies)
            raise self._refusal()(self._dress(peer.response), self.path)
        self._keep_cookies(peer.accept_cookies)

    def _refusal(self) -> Type[HandshakeRefused]:
        # Only a view that exchanges ASGI events itself can end in this way; the handler then closes for it.
        is_raw = isinstance(getattr(self.request, "_socket", None), RawSocket)
        if self._peer.undecided or (is_raw and self._peer.bare and self.close_code == NORMAL):
            return HandshakeMissed
        return HandshakeForbidden if self._peer.status == 403 else HandshakeRefused

    def _keep_cookies(self, cookies: "SimpleCookie") -> None:
        if cookies:
            self.client.cookies.update(cookies)

    def _dress(self, response: Any) -> Any:
        """Add what Django's clients add to a response."""
        response.client = self.client
        response.asgi_request = self.request
        return response

    # Sending and receiving

    async def send(self, message: Any, json: bool = False) -> None:
        """Send ``message``: ``str`` as text, ``bytes`` as binary, with ``json=True`` any object as JSON text.

        Raises TypeError for another type, :class:`ViewEnded` where the view has closed the socket.
        """
        self._require_entered()
        event = receive_event(_dumps(message) if json else message)
        self._raise_view_error()
        if self.closed:
            await self._notice_error()
            raise self._view_ended("an open socket to send to")
        self._peer.put(event)
        # The view goes on as far as it can in a turn.
        await asyncio.sleep(0)

    async def send_json(self, message: Any) -> None:
        """Send an object as JSON text."""
        await self.send(message, json=True)

    async def receive(self, timeout: Timeout = DEFAULT) -> Any:
        """Return the next message of the view, ``str`` or ``bytes``; wait ``timeout`` seconds at most.

        Raises :class:`SocketTimeout` where none comes, :class:`ViewEnded` where none can come, and what the view raises.
        """
        return await self._next("a message", timeout)

    async def _next(self, expected: str, timeout: Timeout) -> Any:
        self._require_entered()
        peer = self._peer
        await self._wait(lambda: peer.outbound or self._over, expected, timeout)
        if peer.outbound:
            return peer.outbound.popleft()
        await self._notice_error()
        raise self._view_ended(expected)

    async def receive_json(self, timeout: Timeout = DEFAULT) -> Any:
        """Return the next message as the object that its JSON means; raise ValueError where it is none."""
        return json.loads(await self.receive(timeout))

    def __aiter__(self) -> "WebsocketSession":
        self._require_entered()
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except ViewEnded:
            raise StopAsyncIteration from None

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the socket as a client does, and wait for the end of the view."""
        self._require_entered()
        await self._application.leave(code, reason, self.timeout)
        self._raise_view_error()

    @property
    def _over(self) -> bool:
        return self.closed or self._application.done()

    async def _wait(self, condition: Callable[[], Any], expected: str, timeout: Timeout = DEFAULT) -> None:
        seconds = self.timeout if timeout is DEFAULT else timeout
        if not await self._peer.until(condition, seconds):
            # What the view raised meanwhile says more.
            self._raise_view_error()
            raise self._timed_out(expected, seconds, listed(list(self._peer.outbound)))

    def _timed_out(self, expected: str, seconds: Optional[float], got: str = "") -> SocketTimeout:
        return SocketTimeout(expected, seconds, got, describe_place(self._application.coroutine), self._input_not_read())

    def _view_ended(self, expected: str) -> ViewEnded:
        ended = ViewEnded(expected, self.close_code, self.close_reason)
        ended.__cause__ = self.view_error
        return ended

    async def _notice_error(self) -> None:
        """Raise what the view has raised; a close with 1011 says that it has."""
        if self.close_code == INTERNAL_ERROR and not self._application.done():
            await self._wait(self._application.done, "the view to end after its error")
        self._raise_view_error()

    def _raise_view_error(self) -> None:
        if self.view_error is None or self._told:
            return
        if self.client.raise_request_exception or self._application.escaped:
            self._told = True
            raise begin_at_view(self.view_error)

    # Leaving

    async def __aexit__(self, exc_type: object, exc: Optional[BaseException], traceback: object) -> None:
        try:
            await self._application.let_read()
            await self._application.leave(NORMAL, "", self.timeout)
        except BaseException as problem:
            if exc is None or isinstance(problem, asyncio.CancelledError) or not isinstance(problem, Exception):
                raise
        finally:
            self._return_thread()
        if exc is None:
            self._complain()
        elif exc.__context__ is None and exc is not self.view_error and not exc.__suppress_context__:
            # The test failed on its own; that the view had failed before is shown above it.
            exc.__context__ = self.view_error

    def _complain(self) -> None:
        self._raise_view_error()
        if self.view_error is None:
            unread = self._input_not_read()
            if unread:
                raise InputNotRead(unread)
        if self._peer.outbound:
            raise OutputNotRead(list(self._peer.outbound))

    def _input_not_read(self) -> List[Message]:
        """Return what waits for the view: with the server, and where the reader keeps it for a view that is busy."""
        socket = getattr(self.request, "_socket", None)
        socket = getattr(socket, "_socket", socket)
        return self._peer.unread(getattr(socket, "_buffer", ()))

    # Use without a context manager

    def _require_entered(self) -> None:
        if not self._application.started:
            raise RuntimeError(
                "the socket to {} is not open: use `async with client.websocket({!r}) as ws:`".format(self.path, self.path)
            )

    def __await__(self) -> "Generator[None, None, None]":
        self._require_entered()
        raise TypeError("a socket cannot be awaited: expected `await ws.receive()` or `await ws.send(…)`")

    def __enter__(self) -> None:
        raise TypeError("expected `async with` for the socket of an asynchronous client, got `with`")

    def __exit__(self, *exc_info: object) -> None:
        """Exist for the sake of ``__enter__`` and its message."""

    def __repr__(self) -> str:
        state = "new" if not self._application.started else "closed {}".format(self.close_code) if self.closed else "open"
        return "<{} {} {}>".format(type(self).__name__, self.path, state)


def _dumps(message: object) -> str:
    return json.dumps(message, cls=DjangoJSONEncoder)
