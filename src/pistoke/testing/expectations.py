"""What a test expects of its socket, and what it is told where that does not come true."""

import asyncio
import functools
import inspect
import json
import operator
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Union

from django.http import HttpResponse

from .._compat import get_running_loop
from .application import Application
from .exceptions import (
    HandshakeRefused,
    SocketTimeout,
    UnexpectedClose,
    UnexpectedHandshake,
    UnexpectedMessage,
    ViewEnded,
    listed,
    short,
)
from .peer import Message, Peer

# pytest shows the line of the test, and what the view has raised; nothing of what is between.
__tracebackhide__ = True

#: Stands for the time-out of the client.
DEFAULT: Any = object()

#: Seconds, or None: for ever.
Timeout = Union[float, None]

#: How often a condition is looked at, in seconds.
INTERVAL = 0.005

#: How long a socket that should not have opened may take to say with which code it closes, in seconds.
MOMENT = 0.1


class Expectations:
    """Waits that fail: the part of a session that a test reads as a sentence."""

    timeout: Optional[float]
    _application: Application
    _peer: Peer

    if TYPE_CHECKING:
        # Of the session.
        @property
        def path(self) -> str: ...
        @property
        def close_code(self) -> Optional[int]: ...
        @property
        def close_reason(self) -> str: ...
        @property
        def view_error(self) -> Optional[BaseException]: ...
        @property
        def _over(self) -> bool: ...
        async def __aenter__(self) -> Any: ...
        async def _abandon(self) -> None: ...
        async def _notice_error(self) -> None: ...
        async def _next(self, expected: str, timeout: Timeout) -> Any: ...
        async def _wait(self, condition: Callable[[], Any], expected: str, timeout: Timeout = DEFAULT) -> None: ...
        def _require_entered(self) -> None: ...
        def _raise_view_error(self) -> None: ...
        def _view_ended(self, expected: str) -> ViewEnded: ...
        def _timed_out(self, expected: str, seconds: Optional[float], got: str = "") -> SocketTimeout: ...

    # Messages

    async def expect(self, message: Union[str, bytes], timeout: Timeout = DEFAULT) -> None:
        """Fail unless the next message is ``message``, ``str`` or ``bytes``.

        Raises :class:`UnexpectedMessage` where another one comes, and what :meth:`receive` raises.
        """
        if not isinstance(message, (str, bytes)):
            raise TypeError(
                "expected a message of type str or bytes, got {}; use expect_json() for objects".format(
                    type(message).__name__
                )
            )
        got = await self._next(short(message), timeout)
        if got != message:
            raise UnexpectedMessage(message, got)

    async def expect_json(self, message: Any, timeout: Timeout = DEFAULT) -> None:
        """Fail unless the next message is the JSON of an object that equals ``message``."""
        got = await self._next("JSON of " + short(message), timeout)
        try:
            got = json.loads(got)
        except ValueError:
            raise UnexpectedMessage(message, got) from None
        if not message == got:
            raise UnexpectedMessage(message, got)

    async def receive_until(self, condition: Any, json: bool = False, timeout: Timeout = DEFAULT) -> Any:
        """Return the next message that is wanted; take and forget those before it.

        ``condition`` is the message itself, or a function that is called with each and returns whether it is wanted. With
        ``json=True`` messages are objects. ``timeout`` is for all of it, in seconds. Raises what :meth:`receive` raises.
        """
        wanted = condition if callable(condition) else functools.partial(operator.eq, condition)
        expected = "a message that is wanted" if callable(condition) else short(condition)
        seconds = self.timeout if timeout is DEFAULT else timeout
        deadline = None if seconds is None else get_running_loop().time() + seconds
        others: List[Message] = []
        while True:
            left = None if deadline is None else max(0, deadline - get_running_loop().time())
            try:
                message = await self._next(expected, left)
            except SocketTimeout:
                raise self._timed_out(expected, seconds, listed(others)) from None
            others.append(message)
            message = loads(message) if json else message
            if wanted(message):
                return message

    async def assert_silent(self, seconds: float = 0.1) -> None:
        """Fail if a message or a close comes within ``seconds``."""
        self._require_entered()
        expected = "silence for {} s".format(seconds)
        if await self._peer.until(lambda: self._peer.outbound or self._over, seconds):
            if self._peer.outbound:
                raise UnexpectedMessage(None, self._peer.outbound[0], expected)
            await self._notice_error()
            raise self._view_ended(expected)
        self._raise_view_error()

    # The end

    async def wait_closed(self, timeout: Timeout = DEFAULT) -> Optional[int]:
        """Wait until the view has closed the socket; return the close code."""
        await self._until_closed("a close", timeout)
        return self.close_code

    async def assert_closed(
        self, code: Optional[int] = None, reason: Optional[str] = None, timeout: Timeout = DEFAULT
    ) -> None:
        """Wait until the socket is closed, and fail unless that is with ``code`` and ``reason``, where they are given.

        Raises :class:`UnexpectedClose` where they differ, :class:`SocketTimeout` where it is not closed, and what the view
        raises.
        """
        expected = UnexpectedClose.describe(code, reason)
        await self._until_closed(expected, timeout)
        if code not in (None, self.close_code) or reason not in (None, self.close_reason):
            raise UnexpectedClose(expected, self.close_code, self.close_reason, list(self._peer.outbound))

    async def _until_closed(self, expected: str, timeout: Timeout) -> None:
        self._require_entered()
        await self._wait(lambda: self._over, expected, timeout)
        await self._notice_error()

    async def assert_refused(self, status: Optional[int] = None) -> HttpResponse:
        """Ask for a socket that is not open yet, and fail unless the answer is HTTP, with ``status`` where that is given.

        Returns the response. Raises :class:`UnexpectedHandshake` where the socket opens or the status is another one, and
        what the view raises.
        """
        expected = "a refusal{} at {}".format("" if status is None else " with {}".format(status), self.path)
        response: Optional[HttpResponse] = None
        try:
            await self.__aenter__()
        except HandshakeRefused as refusal:
            response, got = refusal.response, refusal.describe()
            if status in (None, refusal.status_code):
                return response
        else:
            got = await self._describe_opened()
        raise UnexpectedHandshake(expected, got, response) from self.view_error

    async def _describe_opened(self) -> str:
        await self._peer.until(lambda: self._over, MOMENT)
        closed = "" if self.close_code is None else ", and then " + UnexpectedClose.describe(
            self.close_code, self.close_reason or None
        )
        await self._abandon()
        return "an open socket" + closed

    # Anything else

    async def wait_until(self, condition: Callable[[], Any], timeout: Timeout = DEFAULT) -> Any:
        """Wait until ``condition()`` is true, and return what it returned; meanwhile the view goes on.

        It may be a coroutine function. Raises :class:`SocketTimeout` where it stays false, and what the view raises.
        """
        self._require_entered()
        seconds = self.timeout if timeout is DEFAULT else timeout
        deadline = None if seconds is None else get_running_loop().time() + seconds
        while True:
            result = condition()
            result = await result if inspect.isawaitable(result) else result
            if result:
                return result
            self._raise_view_error()
            if deadline is not None and get_running_loop().time() >= deadline:
                raise self._timed_out("the condition to come true", seconds, "{!r}".format(result))
            await asyncio.sleep(INTERVAL)


def loads(message: Message) -> Any:
    """Return the object that a message means, itself where it is no JSON."""
    try:
        return json.loads(message)
    except ValueError:
        return message
