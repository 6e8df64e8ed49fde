"""A server that is told to end ends soon, and so do its views."""

import threading
import time

import pytest

from tests.parts import importable, require

from .clients import Bare, Library

VIEWS = ["reads", "sleeps", "sleeps-in-protocol", "sleeps-after-reading", "flood"]


class Visitor(threading.Thread):
    """A client that reads until the server closes, and then says good-bye as RFC 6455 section 5.5.1 asks."""

    def __init__(self, server, view, key):
        super().__init__()
        self.websocket = Bare(server.address, "/{}/?key={}".format(view, key + view))
        self.websocket.send("hello")
        server.event(event="began", key=key + view)
        self.code = None
        self.start()

    def run(self):
        """Read."""
        self.code = self.websocket.close_code()
        self.websocket.leave()


def shut_down(server, key):
    """Open a socket to each view, and end the server; return how long that took, and the codes that clients saw."""
    server.start()
    visitors = {view: Visitor(server, view, key) for view in VIEWS}
    time.sleep(server.housekeeping)
    try:
        seconds = server.stop()
    finally:
        server.kill()
        for visitor in visitors.values():
            visitor.join(60)
    return seconds, {view: visitor.code for view, visitor in visitors.items()}


@pytest.mark.limit("patient-hypercorn", reason="on some Pythons it waits until all clients have left by themselves")
class TestShutdown:
    def test_open_sockets_do_not_keep_the_server(self, own_server, key):
        seconds, _ = shut_down(own_server, key)
        assert seconds < 8
        assert own_server.alarms() == []

    @pytest.mark.limit("granian", reason="its process ends without ending the views")
    def test_views_end(self, own_server, key):
        shut_down(own_server, key)
        assert [view for view in VIEWS if not own_server.journal(event="ended", key=key + view)] == []

    @pytest.mark.limit("daphne", "granian", "old-uvicorn-websockets", reason="hangs up without a close frame")
    def test_clients_are_told(self, own_server, key):
        _, codes = shut_down(own_server, key)
        assert codes == dict.fromkeys(VIEWS, 1012)


class TestApplicationInOneCall:
    def test_it_answers_both_and_starts_and_ends_in_peace(self, own_server):
        own_server.application = "tests.servers.project.asgi_whole:application"
        own_server.start()
        assert own_server.get("/both/")[:2] == (200, "over HTTP")
        with Library(own_server.address, "/nakyma/") as ws:
            assert ws.exchange("hei") == 'Kirjoitit "hei".'
        own_server.stop()
        assert own_server.alarms() == []
        assert own_server.records() == []


class TestUvloop:
    @pytest.mark.limit("hypercorn", "daphne", "granian", reason="chooses its event loop itself")
    def test_sockets_work_on_it(self, own_server, key):
        require("uvloop", importable("uvloop"), "pip install uvloop")
        own_server.loop = "uvloop"
        own_server.start()
        with Library(own_server.address, "/nakyma/") as ws:
            assert ws.exchange("hei") == 'Kirjoitit "hei".'
        Bare(own_server.address, "/sleeps/?key=" + key).vanish()
        assert own_server.event(event="ended", key=key)["outcome"] == "CancelledError"
        own_server.stop()
        assert own_server.alarms() == []
