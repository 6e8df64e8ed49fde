"""The live server, with a real client."""
import asyncio
import gc
import os
import sys
import tempfile
import threading
import time
from unittest import mock
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path

from pistoke.testing import WebsocketLiveServerTestCase, live
from tests import testing_views as views
from tests.parts import importable, require

require("Uvicorn", importable("uvicorn"), "pip install uvicorn")
require("a WebSocket client", importable("websockets"), "pip install websockets")

import websockets  # noqa: E402

# An older Uvicorn uses what newer versions of websockets deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets", "ignore::DeprecationWarning:uvicorn")

urlpatterns = views.urlpatterns + [
    path("users/", lambda request: HttpResponse(",".join(user.username for user in get_user_model().objects.all()))),
    path("address/", lambda request: HttpResponse(request.build_absolute_uri())),
]


def run(coroutine):
    """Run a coroutine on this thread; no `async_to_sync`, so that nobody waits here for the server's queries."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(coroutine, 10))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def read(url):
    with urlopen(url, timeout=10) as response:
        return response.read().decode()


async def exchange(url, *messages):
    answers = []
    async with websockets.connect(url) as ws:
        for message in messages:
            await ws.send(message)
            answers.append(await ws.recv())
    return answers


@override_settings(ROOT_URLCONF="tests.test_testing_live")
class LiveServerTest(WebsocketLiveServerTestCase):
    """A server in the process of the test, and its database."""

    def test_http(self):
        self.assertEqual(read(self.live_server_url + "/address/"), self.live_server_url + "/address/")

    def test_sockets(self):
        self.assertEqual(run(exchange(self.live_server_ws_url + "/echo/", "x", b"y")), ["x", b"y"])

    def test_the_database_is_that_of_the_test(self):
        get_user_model().objects.create_user("mats")
        self.assertEqual(read(self.live_server_url + "/users/"), "mats")
        self.assertEqual(run(exchange(self.live_server_ws_url + "/user-names/", "", "pia")), ["mats", "mats,pia"])
        self.assertEqual(get_user_model().objects.count(), 2)

    def test_the_database_is_empty_again(self):
        self.assertEqual(read(self.live_server_url + "/users/"), "")

    def test_several_clients_and_the_database(self):
        async def together():
            url = self.live_server_ws_url + "/user-names/"
            return await asyncio.gather(*[exchange(url, *[""] * 5) for _ in range(5)])

        get_user_model().objects.create_user("mats")
        self.assertEqual(run(together()), [["mats"] * 5] * 5)

    def test_the_clients_without_a_server_are_there_too(self):
        with self.client.websocket("/echo/") as ws:
            ws.send("x")
            self.assertEqual(ws.receive(), "x")


class StaticFilesTest(WebsocketLiveServerTestCase):
    """Static and media files."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.settings_of_files = override_settings(
            ROOT_URLCONF="tests.test_testing_live",
            INSTALLED_APPS=["pistoke.Pistoke", "django.contrib.staticfiles", "django.contrib.auth",
                            "django.contrib.contenttypes", "django.contrib.sessions"],
            STATIC_URL="/static/",
            STATICFILES_DIRS=[cls.directory.name],
            MEDIA_URL="/media/",
            MEDIA_ROOT=cls.directory.name,
        )
        cls.settings_of_files.enable()
        with open(os.path.join(cls.directory.name, "file.txt"), "w") as file:
            file.write("content")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.settings_of_files.disable()
        cls.directory.cleanup()

    def test_files(self):
        self.assertEqual(read(self.live_server_url + "/static/file.txt"), "content")
        self.assertEqual(read(self.live_server_url + "/media/file.txt"), "content")
        with self.assertRaises(HTTPError) as caught:
            read(self.live_server_url + "/media/missing.txt")
        caught.exception.close()

    def test_sockets_beside_them(self):
        self.assertEqual(run(exchange(self.live_server_ws_url + "/echo/", "x")), ["x"])


@pytest.mark.parametrize("name", ["waiting", "sleeping", "stubborn"])
def test_the_server_ends_although_sockets_are_open(name, settings):
    settings.ROOT_URLCONF = "tests.test_testing_live"
    settings.ALLOWED_HOSTS = ["localhost"]
    views.log.clear()
    end_with_an_open_socket(name)
    # A view that never ends is destroyed, and Uvicorn logs its end with a traceback: better here than in the middle of
    # something else. Python 3.11 cannot write one while it parses a module.
    gc.collect()


def end_with_an_open_socket(name):
    """Start a server, open a socket, and end the server."""
    thread = live.UvicornThread("localhost", live.static_application)
    thread.start()
    thread.is_ready.wait(10)
    loop = asyncio.new_event_loop()
    try:

        async def connect():
            return await websockets.connect("ws://localhost:{}/{}/".format(thread.port, name))

        async def leave(ws):
            try:
                await asyncio.wait_for(ws.close(), 10)
            except websockets.ConnectionClosed:
                # Closed by the server, or by the end of its thread.
                pass

        ws = loop.run_until_complete(connect())
        started = time.monotonic()
        thread.terminate()
        assert time.monotonic() - started < 8
        assert not thread.is_alive() and thread.error is None
        loop.run_until_complete(leave(ws))
    finally:
        loop.close()
    assert views.log[-1] in ("left", "finally", "swallowed")


def start(**kwargs):
    thread = live.UvicornThread("localhost", live.static_application, **kwargs)
    thread.start()
    thread.is_ready.wait(10)
    thread.terminate()
    return thread


def test_without_uvicorn():
    with mock.patch.dict(sys.modules, {"uvicorn": None}):
        thread = start()
    assert isinstance(thread.error, ImproperlyConfigured)
    assert "pip install django-pistoke[runserver]" in str(thread.error)


def test_without_a_websocket_library():
    def load(config):
        config.ws_protocol_class = None

    with mock.patch("uvicorn.Config.load", load):
        thread = start()
    assert isinstance(thread.error, ImproperlyConfigured)
    assert "websockets or wsproto" in str(thread.error)


def test_a_port_in_use():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        thread = live.UvicornThread("127.0.0.1", live.static_application, port=taken.getsockname()[1])
        thread.start()
        thread.is_ready.wait(10)
        thread.terminate()
    assert isinstance(thread.error, OSError)


def test_nothing_is_left_running():
    thread = start()
    assert thread.error is None
    with pytest.raises(OSError):
        urlopen("http://localhost:{}/".format(thread.port), timeout=1)
    assert not [other for other in threading.enumerate() if other.name == "pistoke-live-server"]
