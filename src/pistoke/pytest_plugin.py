"""Fixtures for pytest: ``websocket_client``, ``async_websocket_client`` and ``live_websocket_server``.

pytest finds this module by itself (an entry point), in every project that has the package installed, whatever it tests: so
no settings are read before a fixture is asked for. pytest-django is not needed; where it is there, its rules for
databases hold.
"""

import os
import typing

import pytest

if typing.TYPE_CHECKING:
    from .testing import WebsocketClient, WebsocketSyncClient
    from .testing.live import LiveServer


@pytest.fixture
def websocket_client() -> "WebsocketSyncClient":
    """Return Django's test client, with sockets: ``with websocket_client.websocket("/echo/") as ws:``."""
    set_up_django()
    from .testing import WebsocketSyncClient

    return WebsocketSyncClient()


@pytest.fixture
def async_websocket_client() -> "typing.Iterator[WebsocketClient]":
    """Return Django's asynchronous test client, with sockets.

    ``async with async_websocket_client.websocket("/echo/") as ws:``. With a fixture or mark of pytest-django for databases,
    views take part in the transaction of the test.
    """
    set_up_django()
    from .testing import WebsocketClient
    from .testing.lending import lent_connections

    with lent_connections():
        yield WebsocketClient()


@pytest.fixture
def live_websocket_server() -> "typing.Iterator[LiveServer]":
    """Return a running Uvicorn with the project, sockets and static files: ``.url``, ``.ws_url``.

    With pytest-django the test has a database, as with ``transactional_db``.
    """
    set_up_django()
    from .testing.live import LiveServer

    with LiveServer() as server:
        yield server


def pytest_itemcollected(item: "pytest.Item") -> None:
    """Give tests of a live server a database of pytest-django, whose fixtures are planned before they are run."""
    has_pytest_django = item.config.pluginmanager.has_plugin("django")
    if has_pytest_django and "live_websocket_server" in getattr(item, "fixturenames", ()):
        given = item.get_closest_marker("django_db")
        options = dict(given.kwargs if given else {}, transaction=True)
        item.add_marker(pytest.mark.django_db(**options), append=False)


def set_up_django() -> None:
    """Set Django up if nobody has; skip the test where it has no settings."""
    import django
    from django.apps import apps
    from django.conf import settings

    if not (settings.configured or os.environ.get("DJANGO_SETTINGS_MODULE")):
        pytest.skip("no Django settings: expected DJANGO_SETTINGS_MODULE to be set, in the environment or for pytest-django")
    if not apps.ready:
        django.setup()
