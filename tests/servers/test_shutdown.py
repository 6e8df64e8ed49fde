"""A server that is told to end ends soon, and so do its views."""

import json
import ssl
import subprocess
import threading
import time

import pytest

from tests.parts import importable, on_path, require

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


class Shutdown:
    """What became of a server that was told to end with a socket open to each view."""

    #: Those that were made already. It takes seconds, so the tests of a server look at the same one.
    made = {}

    def __init__(self, server, key):
        self.server = server
        self.key = key
        self.seconds, self.codes = shut_down(server, key)


@pytest.fixture
def shutdown(request, own_server, key):
    """Return what became of a server; something new where a test has its second chance."""
    kind = type(own_server)
    if kind not in Shutdown.made or getattr(request.node, "execution_count", 1) > 1:
        Shutdown.made[kind] = Shutdown(own_server, key)
    return Shutdown.made[kind]


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


@pytest.mark.limit(
    "patient-hypercorn",
    reason="waits until all clients have left by themselves",
    remedy="what supervises it has to end it by force",
)
class TestShutdown:
    @pytest.mark.behaviour("Open sockets do not keep the process from ending, and nothing alarming is logged")
    def test_open_sockets_do_not_keep_the_server(self, shutdown):
        assert shutdown.seconds < 8
        assert shutdown.server.alarms() == []

    @pytest.mark.behaviour("Each view ends, its `finally` runs")
    @pytest.mark.limit("granian", reason="its process ends without ending the views", remedy="nothing can be done about it")
    def test_views_end(self, shutdown):
        ended = [view for view in VIEWS if shutdown.server.journal(event="ended", key=shutdown.key + view)]
        assert ended == VIEWS

    @pytest.mark.behaviour("Clients see 1012")
    @pytest.mark.limit("daphne", "granian", "old-uvicorn-websockets", reason="hangs up without a close frame")
    def test_clients_are_told(self, shutdown):
        assert shutdown.codes == dict.fromkeys(VIEWS, 1012)


class TestApplicationInOneCall:
    @pytest.mark.behaviour("HTTP, sockets and lifespan in one application")
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
    @pytest.mark.behaviour("All of this works on `uvloop`")
    @pytest.mark.limit("daphne", reason="runs on an event loop of its own choice")
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return the paths of a certificate and its key."""
    require("OpenSSL", on_path("openssl"), "apt-get install openssl")
    directory = tmp_path_factory.mktemp("certificate")
    paths = str(directory / "cert.pem"), str(directory / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(command + ["-out", paths[0], "-keyout", paths[1]], check=True, stderr=subprocess.DEVNULL, timeout=60)
    return paths


class TestTLS:
    @pytest.mark.behaviour("Over TLS a request is secure, and its addresses are `https` and `wss`")
    @pytest.mark.limit(
        "daphne",
        reason="does not tell an application of a socket's TLS",
        remedy="let a proxy speak TLS, and name its header in `SECURE_PROXY_SSL_HEADER`",
    )
    def test_request_is_secure(self, own_server, certificate):
        own_server.certificate = certificate
        own_server.start()
        context = ssl.create_default_context(cafile=certificate[0])
        context.check_hostname = False
        with Bare(own_server.address, "/facts/", tls=context) as ws:
            seen = json.loads(ws.exchange("tell"))
        assert seen["secure"] is True
        assert seen["uri"] == "https://{}/facts/".format(own_server.address)
