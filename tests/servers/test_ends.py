"""How a socket ends, and that its view ends with it."""

import sys
import time

import pytest

from pistoke.socket import SENDS_PER_TURN

from .clients import CLOSE, PING, PONG, TEXT, Bare, Frame, Library, close_frame
from .limits import CODES, DEAF


def ended(server, key):
    """Wait until the view has ended; return how."""
    return server.event(event="ended", key=key)["outcome"]


def left(server, key):
    """Leave a view that reads; return what it was told."""
    with Library(server.address, "/reads/?key=" + key) as ws:
        ws.send("hello")
        ws.close(4001, "bye")
    return server.event(event="left", key=key)


class TestViewEnds:
    @pytest.mark.behaviour("The view closes with its code, and returns with 1000")
    @pytest.mark.parametrize(
        "path, code",
        [
            ("/returns-at-once/", 1000),
            ("/returns-after-sending/", 1000),
            ("/answers/?now&status=200", 1000),
            ("/answers/?status=200", 1000),
            ("/answers/?status=302", 4403),
        ],
    )
    def test_view_that_is_done_closes(self, server, path, code):
        with Library(server.address, path) as ws:
            assert ws.end_after("go") == server.seen(code)

    @pytest.mark.behaviour("An error response, or its exception, closes with 4000 and its status")
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 500])
    @pytest.mark.logs("WARNING django.request", "ERROR django.request: .*: /answers/ None")
    def test_error_response_closes_with_4000_and_its_status(self, server, status):
        with Library(server.address, "/answers/?status={}".format(status)) as ws:
            assert ws.end_after("go") == 4000 + status

    @pytest.mark.behaviour("An error response, or its exception, closes with 4000 and its status")
    @pytest.mark.logs("WARNING django.request")
    def test_error_response_at_once_closes_with_it_too(self, server):
        with Library(server.address, "/answers/?now&status=404") as ws:
            assert ws.close_code() == 4404

    @pytest.mark.behaviour("An error response, or its exception, closes with 4000 and its status")
    @pytest.mark.logs("WARNING django.request: Forbidden")
    def test_exception_that_denies_closes_with_4403(self, server):
        with Library(server.address, "/denies-after-message/") as ws:
            assert ws.end_after("go") == 4403

    @pytest.mark.behaviour("An exception of the view closes with 1011, and is reported as over HTTP")
    @CODES
    @pytest.mark.parametrize(
        "path", ["/raises-in-protocol/", "/raises-after-message/", "/raises-before-anything/"]
    )
    @pytest.mark.logs("ERROR django.request: Internal Server Error: /raises-.* ValueError")
    def test_exception_closes_with_1011_and_is_reported(self, server, path):
        with Library(server.address, path) as ws:
            assert ws.end_after("go") == server.seen(1011)
        assert server.event(event="log", level="ERROR", error="ValueError", message="Internal Server Error: " + path)

    @pytest.mark.behaviour("An exception of the view closes with 1011, and is reported as over HTTP")
    @CODES
    @pytest.mark.logs("ERROR django.request: Internal Server Error: /sends-number/ TypeError")
    def test_number_is_no_message(self, server):
        with Library(server.address, "/sends-number/") as ws:
            assert ws.end_after("go") == server.seen(1011)

    @pytest.mark.behaviour("The view closes with its code, and returns with 1000")
    @CODES
    @pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4001, 4999])
    def test_view_closes_with_its_code(self, server, code):
        with Library(server.address, "/closes/?code={}".format(code)) as ws:
            assert ws.end_after("go") == server.seen(code)

    @pytest.mark.behaviour("The view closes with its reason")
    @pytest.mark.limit("daphne", reason="sends no reasons")
    def test_view_closes_with_its_reason(self, server):
        with Library(server.address, "/closes/?code=4001&reason=sy%C3%B6tteess%C3%A4") as ws:
            ws.send("go")
            assert ws.wait_closed() == (4001, "syötteessä")

    @pytest.mark.behaviour("What is sent after the close is refused to the view")
    def test_send_after_close_is_refused_to_the_view(self, server, key):
        with Library(server.address, "/sends-after-close/?key=" + key) as ws:
            assert ws.close_code() == 4001
        assert server.event(event="refused", key=key)["kind"] == "ConnectionClosed"
        assert ended(server, key) == "returned"

    @pytest.mark.behaviour("A client that does not answer a close cannot keep the view")
    def test_client_is_not_waited_for(self, server, key):
        """A client that does not answer a close cannot keep the view."""
        ws = Bare(server.address, "/sends-after-close/?key=" + key)
        assert ws.close_code() == 4001
        began = time.monotonic()
        ws.hang_up()
        assert ended(server, key) == "returned"
        assert time.monotonic() - began < 15


NEVER_FAILS = pytest.mark.workaround(
    "uvicorn-websockets-sansio", "uvicorn-wsproto", "hypercorn", "daphne",
    reason="lets an application send to a client that is gone, and never suspends it",
    remedy="`send()` gives the event loop a turn now and then, and raises once the loss is known",
)


class TestConnectionEnds:
    @pytest.mark.parametrize("path, code", [("/returns-at-once/", 1000), ("/raises-before-anything/", 1011)])
    @pytest.mark.behaviour("When the close was answered, the server ends the connection: nobody stays")
    @pytest.mark.logs("ERROR django.request: Internal Server Error: /raises-before-anything/ ValueError")
    def test_server_hangs_up_after_the_close(self, server, path, code):
        with Bare(server.address, path) as ws:
            assert ws.close_code() == server.seen(code)
            ws.close(1000)
            # What is closed by the end of the connection alone reads as 1006.
            assert ws.wait_closed() == (1006, "")

    @pytest.mark.behaviour("A view that goes on after its client is told so each time: it never waits in vain")
    def test_view_that_insists_is_told_again(self, server, key):
        with Library(server.address, "/insists/?key=" + key) as ws:
            ws.send("hello")
        told = server.event(event="told", key=key)
        assert told["receiving"] == ["ClientDisconnected"] * 3
        assert told["sending"] == ["ConnectionClosed"] * 3


class TestSilentViews:
    @pytest.mark.behaviour("A view that neither reads nor sends keeps no client waiting, and no ping")
    @pytest.mark.parametrize("path", ["/sleeps/", "/sleeps-in-protocol/", "/reads/"])
    def test_client_is_let_in(self, server, key, path):
        with Library(server.address, "{}?key={}".format(path, key)):
            assert server.event(event="began", key=key)

    @pytest.mark.behaviour("A view that neither reads nor sends keeps no client waiting, and no ping")
    def test_ping_is_answered(self, server, key):
        with Bare(server.address, "/sleeps/?key=" + key) as ws:
            ws.send_frames(Frame(PING, b"are you there"))
            assert ws.receive_frame() == Frame(PONG, b"are you there")


class TestClientLeaves:
    @pytest.mark.behaviour("A view that has read nothing ends at once where its client leaves")
    @pytest.mark.parametrize("path", ["/sleeps/", "/sleeps-in-protocol/"])
    def test_view_that_has_read_nothing_is_cancelled_at_once(self, server, key, path):
        Library(server.address, "{}?key={}".format(path, key)).leave()
        assert server.event(1.5, event="ended", key=key)["outcome"] == "CancelledError"

    @pytest.mark.behaviour("A view that has read nothing ends at once where its client vanishes (RST)")
    def test_view_is_cancelled_when_the_client_vanishes(self, server, key):
        ws = Bare(server.address, "/sleeps/?key=" + key)
        server.event(event="began", key=key)
        ws.vanish()
        assert ended(server, key) == "CancelledError"

    @pytest.mark.behaviour("A view that has read something has its grace, and ends then")
    def test_view_that_has_read_has_its_grace(self, server, key):
        ws = Bare(server.address, "/sleeps-after-reading/?key=" + key)
        ws.send("hello")
        ws.leave()
        began = time.monotonic()
        assert ended(server, key) == "CancelledError"
        assert 0.5 < time.monotonic() - began < 10

    @pytest.mark.behaviour("A view that reads learns the code that its client closed with")
    @pytest.mark.limit("hypercorn", reason="tells the application 1006, however the client has left")
    def test_reader_learns_the_code(self, server, key):
        assert left(server, key)["code"] == 4001
        assert ended(server, key) == "ClientDisconnected"

    @pytest.mark.behaviour("A view that reads learns the reason")
    @pytest.mark.limit("hypercorn", "daphne", "granian", "old-uvicorn", reason="passes no reasons on to the application")
    def test_reader_learns_the_reason(self, server, key):
        assert left(server, key)["reason"] == "bye"

    @pytest.mark.behaviour("A view that reads learns of a close without a code, and of a loss")
    def test_reader_learns_of_a_close_without_a_code(self, server, key):
        with Bare(server.address, "/reads/?key=" + key) as ws:
            ws.send_frames(Frame(CLOSE, b""))
            ws.hang_up()
            assert server.event(event="left", key=key)["code"] in (1005, 1006)

    @pytest.mark.behaviour("A view that reads learns of a close without a code, and of a loss")
    def test_reader_learns_that_the_client_vanished(self, server, key):
        ws = Bare(server.address, "/reads/?key=" + key)
        server.event(event="began", key=key)
        ws.vanish()
        assert server.event(event="left", key=key)["code"] in (1005, 1006)

    @pytest.mark.behaviour("Nothing that the client has sent before it left is lost")
    @pytest.mark.parametrize("farewell", [close_frame(1000), pytest.param(None, marks=DEAF)], ids=["close", "hang-up"])
    def test_reader_gets_every_message_sent_before(self, server, key, farewell):
        ws = Bare(server.address, "/collect/?key=" + key)
        assert ws.exchange("0") == "started"
        ws.send_frames(*[Frame(TEXT, str(n).encode()) for n in range(1, 20)], *([farewell] if farewell else []))
        ws.hang_up()
        assert server.event(event="collected", key=key)["messages"] == [str(n) for n in range(20)]
        assert ended(server, key) == "returned"

    @pytest.mark.behaviour("A view that sends without a pause ends with its client, and hangs nobody")
    @NEVER_FAILS
    @pytest.mark.parametrize(
        "path, how",
        [
            ("/flood/", "leave"),
            ("/flood/", "vanish"),
            pytest.param("/flood/", "hang_up", marks=DEAF),
            # A view that has its grace.
            ("/flood-after-reading/", "leave"),
            ("/flood-after-reading/", "vanish"),
        ],
    )
    def test_flooding_view_ends_and_hangs_nobody(self, server, key, path, how):
        ws = Bare(server.address, "{}?key={}".format(path, key))
        ws.send("go")
        assert ws.receive() == "x" * 1000
        getattr(ws, how)()
        with Bare(server.address, "/echo/") as other:
            assert other.exchange("still here") == "still here"
        assert ended(server, key) in ("CancelledError", "ConnectionClosed")
        if "sansio" in server.name and sys.version_info < (3, 10):
            # The releases of Uvicorn for older Pythons tell of a loss only after a while; the view has ended all the same.
            return
        # asyncio's own warning, of each send after a loss: a few of them, and not thousands.
        assert server.output.count("socket.send() raised exception") < SENDS_PER_TURN * 10

    @pytest.mark.behaviour("A view that sends without a pause hangs nobody while its client does not read")
    def test_flooding_view_waits_for_a_slow_client(self, server, key):
        with Bare(server.address, "/flood/?key=" + key) as ws:
            time.sleep(0.5)
            with Bare(server.address, "/echo/") as other:
                assert other.exchange("still here") == "still here"
            assert [ws.receive() for _ in range(1000)] == ["x" * 1000] * 1000
        assert ended(server, key) in ("CancelledError", "ConnectionClosed")
