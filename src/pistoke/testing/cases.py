"""Django's test cases, with sockets."""

from django.test import SimpleTestCase, TestCase, TransactionTestCase

from .client import TIMEOUT_NAMES, WebsocketClient, WebsocketSyncClient, timeout_of


class WebsocketTestMixin:
    """Gives ``self.client`` and ``self.async_client`` of a test case sockets; comes before the test case class.

    ``websocket_timeout`` or ``websocket_aikakatkaisu`` (seconds, None: for ever) is that of both clients.
    """

    client_class = WebsocketSyncClient
    async_client_class = WebsocketClient

    def run(self, result=None):
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
