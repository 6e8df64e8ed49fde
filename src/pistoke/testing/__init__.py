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

========================================  ================================================================
:class:`WebsocketClient`                  Django's ``AsyncClient`` with ``websocket()``; works without any
:class:`WebsocketSyncClient`              test case, in pytest for one; the other is ``Client`` with the same
:class:`WebsocketTestCase`                Django's test cases with these clients, and the mixin that makes
… ``TransactionTestCase``,                them of it
``SimpleTestCase``, ``TestMixin``
:class:`WebsocketLiveServerTestCase`      a real server in the test process, for a real browser
========================================  ================================================================
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
