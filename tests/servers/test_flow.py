"""A flood, from either side, is held back: it costs bounded memory and hangs nobody."""

import socket
import time

import pytest

from .clients import BINARY, Bare, encode_frame
from .limits import NEVER_WAITS


class TestFlow:
    # What one socket may hold back, in the kernel and the server, is a few MiB.
    FLOOD = 2 ** 26

    @pytest.mark.behaviour("`send()` waits while the client does not read; nothing is lost when it does")
    @NEVER_WAITS
    def test_send_waits_for_the_client(self, server, key):
        with Bare(server.address, "/sends-much/?key=" + key) as ws:
            stalled_at = stalled(lambda: len(server.journal(event="sent", key=key)))
            assert stalled_at < 32
            assert [ws.receive()[:2] for _ in range(32 * 16)] == [b"%02d" % (number // 16) for number in range(32 * 16)]
        server.event(event="ended", key=key, outcome="returned")

    @pytest.mark.behaviour("A client that sends more than its view reads has to wait")
    @pytest.mark.limit(
        "daphne",
        reason="reads all that a client sends into memory, without a bound",
        remedy="something in front of it should limit what a client may send",
    )
    def test_client_waits_for_the_view(self, server, key):
        ws = Bare(server.address, "/reads-later/?key=" + key)
        ws.socket.settimeout(0.3)
        frame, sent = encode_frame(BINARY, b"x" * 2 ** 16), 0
        with pytest.raises(socket.timeout):
            while sent < self.FLOOD:
                ws.socket.sendall(frame)
                sent += len(frame)
        ws.vanish()
        Bare(server.address, "/opens-gate/?key=" + key).leave()
        server.event(event="ended", key=key)


def stalled(progress):
    """Wait until there is no more progress; return how far it went."""
    last = None
    while True:
        now = progress()
        if now == last:
            return now
        last = now
        time.sleep(0.2)
