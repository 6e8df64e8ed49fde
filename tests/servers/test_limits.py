"""What a view's limits look like from the other side."""

import time

import pytest

from .clients import Bare, Refused
from .limits import BARE_403, CODES, NEVER_WAITS
from .test_refusals import expected


def ended(server, key, outcome):
    """Wait until a view has ended, and see how."""
    assert server.event(event="ended", key=key)["outcome"] == outcome


class TestMessages:
    @pytest.mark.behaviour("More messages than a view allows close with 1008")
    @CODES
    def test_one_message_too_many_closes(self, server):
        with Bare(server.address, "/limited/rate/") as ws:
            for number in range(5):
                assert ws.exchange(str(number)) == str(number)
            assert ws.end_after("too many") == server.seen(1008)

    @pytest.mark.behaviour("More messages than a view allows close with 1008")
    @CODES
    def test_view_that_reads_nothing_is_cancelled(self, server, key):
        with Bare(server.address, "/limited/rate-unread/?key=" + key) as ws:
            for number in range(6):
                ws.send(str(number))
            ended(server, key, "CancelledError")
            assert ws.close_code() == server.seen(1008)


class TestTime:
    @pytest.mark.behaviour("A socket that is idle for longer than its view allows closes with 1001")
    @CODES
    @pytest.mark.parametrize("path, outcome", [("idle", "ClientDisconnected"), ("idle-asleep", "CancelledError")])
    def test_idle_socket_is_closed(self, server, key, path, outcome):
        began = time.monotonic()
        with Bare(server.address, "/limited/{}/?key={}".format(path, key)) as ws:
            assert ws.close_code() == server.seen(1001)
            ended(server, key, outcome)
        assert 0.2 < time.monotonic() - began < 10

    @pytest.mark.behaviour("A client that does not read for longer than its view allows is hung up on")
    @NEVER_WAITS
    @pytest.mark.parametrize("path", ["slow", "slow-in-megabytes"])
    def test_view_of_a_client_that_does_not_read_ends(self, server, key, path):
        with Bare(server.address, "/limited/{}/?key={}".format(path, key)) as ws:
            ended(server, key, "ConnectionClosed")
            # What was on its way is read still; whether the close frame is among it depends on who was faster.
            assert ws.close_code() in (1008, 1006)


class TestSockets:
    @pytest.mark.behaviour("A socket too many, in all or of one session, is refused with 503 and `Retry-After`")
    @BARE_403
    @pytest.mark.logs("WARNING django.request: Service Unavailable")
    def test_socket_too_many_is_refused(self, server):
        with Bare(server.address, "/limited/one/") as first:
            assert first.exchange("a") == "a"
            assert_full(server, "/limited/one/")
            assert first.exchange("b") == "b"
        opened_again(server, "/limited/one/")

    @pytest.mark.behaviour("A socket too many, in all or of one session, is refused with 503 and `Retry-After`")
    @BARE_403
    @pytest.mark.logs("WARNING django.request: Service Unavailable")
    def test_each_session_has_its_own_count(self, server):
        cookies = [[("Cookie", server.get("/login/")[2])] for _ in range(2)]
        with Bare(server.address, "/limited/one-a-session/", headers=cookies[0]) as first:
            with Bare(server.address, "/limited/one-a-session/", headers=cookies[1]) as second:
                assert first.exchange("a") == second.exchange("a") == "a"
                assert_full(server, "/limited/one-a-session/", headers=cookies[0])
                assert_full(server, "/limited/one-a-session/", headers=cookies[1])


def assert_full(server, path, **options):
    """See that there is no room for one socket more."""
    with pytest.raises(Refused) as caught:
        Bare(server.address, path, **options).leave()
    refused = caught.value
    assert refused.status == expected(server, 503)
    if refused.status == 503:
        assert dict(refused.headers)["retry-after"] == "10"


def opened_again(server, path):
    """See that a place is given back, as soon as the server has told the view."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with Bare(server.address, path) as ws:
                assert ws.exchange("c") == "c"
                return
        except Refused:
            assert time.monotonic() < deadline
            time.sleep(0.05)
