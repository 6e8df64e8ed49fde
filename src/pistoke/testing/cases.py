"""Django's test cases, with sockets."""

from typing import TYPE_CHECKING, Any, Optional
from unittest import TestResult

from django.test import SimpleTestCase, TestCase, TransactionTestCase

from .client import TIMEOUT_NAMES, WebsocketClient, WebsocketSyncClient, timeout_of

if TYPE_CHECKING:
    _TestCase = SimpleTestCase
else:
    _TestCase = object


class WebsocketTestMixin(_TestCase):
    """Gives ``self.client`` and ``self.async_client`` of a test case sockets; comes before the test case class.

    ``websocket_timeout`` or ``websocket_aikakatkaisu`` (seconds, None: for ever) is that of both clients.
    """

    client_class: Any = WebsocketSyncClient
    async_client_class: Any = WebsocketClient
    client: WebsocketSyncClient
    async_client: WebsocketClient

    def run(self, result: Optional[TestResult] = None) -> Any:
        """Run one test; its clients have been made by now."""
        if any(hasattr(self, name) for name in TIMEOUT_NAMES):
            for client in (self.client, self.async_client):
                client.websocket_timeout = timeout_of(self)
        return super().run(result)


class WebsocketTestCase(WebsocketTestMixin, TestCase):
    """Django's :class:`~django.test.TestCase`: each test in a transaction, which views take part in."""


class WebsocketTransactionTestCase(WebsocketTestMixin, TransactionTestCase):
    """Django's :class:`~django.test.TransactionTestCase`."""


class WebsocketSimpleTestCase(WebsocketTestMixin, SimpleTestCase):
    """Django's :class:`~django.test.SimpleTestCase`: without a database."""
