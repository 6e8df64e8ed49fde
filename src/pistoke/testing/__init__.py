"""Testing sockets: clients, test cases and a live server.

::

    from pistoke.testing import WebsocketTestCase

    class EchoTest(WebsocketTestCase):
        async def test_echo(self):
            async with self.async_client.websocket("/echo/") as ws:
                await ws.send("hello")
                self.assertEqual(await ws.receive(), "hello")

        def test_the_same_without_async(self):
            with self.client.websocket("/echo/") as ws:
                ws.send("hello")
                self.assertEqual(ws.receive(), "hello")

- :class:`WebsocketClient` is Django's ``AsyncClient`` with ``websocket()``, :class:`WebsocketSyncClient` its ``Client`` with
  the same. They work without any test case, in pytest for one.
- :class:`WebsocketTestCase`, :class:`WebsocketTransactionTestCase` and :class:`WebsocketSimpleTestCase` are Django's test
  cases with these clients; :class:`WebsocketTestMixin` makes another one of them.
- :class:`WebsocketLiveServerTestCase` is a real server in the test process, for a real browser.
"""

from .cases import WebsocketSimpleTestCase, WebsocketTestCase, WebsocketTestMixin, WebsocketTransactionTestCase
from .client import WebsocketClient, WebsocketClientHandler, WebsocketSyncClient
from .exceptions import (
    HandshakeFailed,
    HandshakeForbidden,
    HandshakeMissed,
    HandshakeRefused,
    InputNotRead,
    OutputNotRead,
    SocketTimeout,
    UnexpectedClose,
    UnexpectedHandshake,
    UnexpectedMessage,
    ViewEnded,
)
from .live import WebsocketLiveServerTestCase
from .session import WebsocketSession
from .sync import SyncWebsocketSession

__all__ = [
    "HandshakeFailed",
    "HandshakeForbidden",
    "HandshakeMissed",
    "HandshakeRefused",
    "InputNotRead",
    "OutputNotRead",
    "SocketTimeout",
    "SyncWebsocketSession",
    "UnexpectedClose",
    "UnexpectedHandshake",
    "UnexpectedMessage",
    "ViewEnded",
    "WebsocketClient",
    "WebsocketClientHandler",
    "WebsocketLiveServerTestCase",
    "WebsocketSession",
    "WebsocketSimpleTestCase",
    "WebsocketSyncClient",
    "WebsocketTestCase",
    "WebsocketTestMixin",
    "WebsocketTransactionTestCase",
]
