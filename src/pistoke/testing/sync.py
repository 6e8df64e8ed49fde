"""A socket in the hands of a synchronous test."""

import asyncio
from typing import Any, Callable, Dict, Optional, Union

from asgiref.sync import sync_to_async
from django.http import HttpResponse

from .exceptions import ViewEnded
from .expectations import DEFAULT, Timeout
from .session import WebsocketSession
from .threads import Portal

# pytest shows the line of the test, and what the view has raised; nothing of what is between.
__tracebackhide__ = True


class SyncWebsocketSession:
    """The synchronous twin of :class:`~pistoke.testing.WebsocketSession`: the same without ``async`` and ``await``.

    Its view moves on while the test waits for the socket in one of these methods.
    """

    def __init__(self, client: Any, scope: Dict[str, Any], timeout: Optional[float]) -> None:
        # The session proper, the loop that it lives in, and whether that was entered.
        self._session = WebsocketSession(client, scope, timeout)
        self._portal: Optional[Portal] = None

    def __getattr__(self, name: str) -> Any:
        # What is known of the connection (``close_code``, ``subprotocol``, ``request`` …) is known there.
        return getattr(self.__dict__["_session"], name)

    def __enter__(self) -> "SyncWebsocketSession":
        require_no_loop()
        portal = Portal.enter()
        try:
            portal.call(self._session.__aenter__)
        except BaseException:
            portal.leave()
            raise
        self._portal = portal
        return self

    def __exit__(self, *exc_info: Any) -> None:
        portal = self._entered_portal()
        self._portal = None
        try:
            portal.call(self._session.__aexit__, *exc_info)
        finally:
            portal.leave()

    def _entered_portal(self) -> Portal:
        if self._portal is None:
            raise RuntimeError(
                "the socket to {} is not open: use `with client.websocket({!r}) as ws:`".format(self.path, self.path)
            )
        return self._portal

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._entered_portal().call(getattr(self._session, name), *args, **kwargs)

    def send(self, message: Any, json: bool = False) -> None:
        """Send ``message``: ``str`` as text, ``bytes`` as binary, with ``json=True`` any object as JSON text."""
        self._call("send", message, json=json)

    def send_json(self, message: Any) -> None:
        """Send an object as JSON text."""
        self._call("send_json", message)

    def receive(self, timeout: Timeout = DEFAULT) -> Any:
        """Return the next message of the view; wait ``timeout`` seconds at most."""
        return self._call("receive", timeout)

    def receive_json(self, timeout: Timeout = DEFAULT) -> Any:
        """Return the next message as the object that its JSON means."""
        return self._call("receive_json", timeout)

    def __iter__(self) -> "SyncWebsocketSession":
        return self

    def __next__(self) -> Any:
        try:
            return self.receive()
        except ViewEnded:
            raise StopIteration from None

    def receive_until(self, condition: Any, json: bool = False, timeout: Timeout = DEFAULT) -> Any:
        """Return the next message that is wanted (``condition``: itself, or a function of it); forget those before it."""
        return self._call("receive_until", condition, json=json, timeout=timeout)

    def expect(self, message: Union[str, bytes], timeout: Timeout = DEFAULT) -> None:
        """Fail unless the next message is ``message``, ``str`` or ``bytes``."""
        self._call("expect", message, timeout)

    def expect_json(self, message: Any, timeout: Timeout = DEFAULT) -> None:
        """Fail unless the next message is the JSON of an object that equals ``message``."""
        self._call("expect_json", message, timeout)

    def assert_silent(self, seconds: float = 0.1) -> None:
        """Fail if a message or a close comes within ``seconds``."""
        self._call("assert_silent", seconds)

    def wait_closed(self, timeout: Timeout = DEFAULT) -> Optional[int]:
        """Wait until the view has closed the socket; return the close code."""
        code: Optional[int] = self._call("wait_closed", timeout)
        return code

    def assert_closed(
        self, code: Optional[int] = None, reason: Optional[str] = None, timeout: Timeout = DEFAULT
    ) -> None:
        """Wait until the socket is closed, and fail unless that is with ``code`` and ``reason``, where they are given."""
        self._call("assert_closed", code, reason, timeout)

    def assert_refused(self, status: Optional[int] = None) -> HttpResponse:
        """Ask for a socket that is not open yet, and fail unless it is refused, with ``status`` where that is given.

        Returns the response.
        """
        require_no_loop()
        portal = Portal.enter()
        try:
            response: HttpResponse = portal.call(self._session.assert_refused, status)
            return response
        finally:
            portal.leave()

    def wait_until(self, condition: Callable[[], Any], timeout: Timeout = DEFAULT) -> Any:
        """Wait until ``condition()``, which is called in this thread, is true; return what it returned."""
        return self._call("wait_until", sync_to_async(condition), timeout)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket as a client does, and wait for the end of the view."""
        self._call("close", code, reason)

    async def __aenter__(self) -> None:
        raise TypeError("expected `with` for the socket of a synchronous client, got `async with`; use async_client")

    async def __aexit__(self, *exc_info: object) -> None:
        """Exist for the sake of ``__aenter__`` and its message."""

    def __repr__(self) -> str:
        return "<{} of {!r}>".format(type(self).__name__, self._session)


def require_no_loop() -> None:
    """Raise RuntimeError in an asynchronous test."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "expected a synchronous test, got a running event loop: use `async with` and the asynchronous client"
        )
