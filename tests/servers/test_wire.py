"""What no library would send: the server answers it as RFC 6455 says or hangs up, and neither it nor a view hangs."""

import socket
import zlib

import pytest

from .clients import (
    BINARY,
    COMPRESSED,
    CONTINUATION,
    FINAL,
    PING,
    PONG,
    TEXT,
    Bare,
    Closed,
    Frame,
    encode_frame,
    encode_frames,
)
from .harness import eventually
from .limits import DEAF, OWN_LIMIT

VERSION = b"Sec-WebSocket-Version: 13"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def count(server, event, key):
    """Return how many views have begun or ended."""
    return len(server.journal(event=event, key=key))


class TestHandshake:
    @pytest.mark.behaviour("A client that leaves during the handshake harms nobody, and its view ends")
    @pytest.mark.differs(
        "granian",
        reason="does not tell that the client has left before the view has accepted",
        remedy="the view runs until then",
    )
    @DEAF
    def test_client_that_leaves_during_it_harms_nobody(self, server, key):
        for how in ("hang_up", "vanish"):
            getattr(Bare(server.address, "/slow-handshake/?key=" + key, wait=False), how)()
        # One more that stays, and is through when the others are.
        with Bare(server.address, "/slow-handshake/?key=" + key + "stays"):
            server.event(event="began", key=key + "stays")
        assert eventually(lambda: count(server, "began", key) == count(server, "ended", key))

    @pytest.mark.behaviour("What comes right behind the handshake is heard")
    def test_view_begins_when_slow_middleware_is_done(self, server, key):
        with Bare(server.address, "/slow-handshake/?key=" + key) as ws:
            ws.send("hello")
            ws.close(4001)
            with pytest.raises(Closed):
                ws.receive()
        assert server.event(event="ended", key=key)["outcome"] == "ClientDisconnected"

    @pytest.mark.behaviour("What comes right behind the handshake is heard")
    def test_message_right_behind_the_handshake_is_heard(self, server):
        with Bare(server.address, "/echo/", wait=False) as ws:
            ws.finish_handshake()
            ws.send_frames(Frame(TEXT, b"one"), Frame(TEXT, b"two"))
            assert [ws.receive(), ws.receive()] == ["one", "two"]

    @pytest.mark.behaviour("A client that does not wait for the answer to its handshake harms nobody")
    @pytest.mark.limit(
        "hypercorn",
        reason="loses sight of such a client, and may never say that it has left",
        remedy="`PISTOKE_IDLE_TIMEOUT` ends its view",
    )
    def test_impatient_client_ends_its_view(self, server, key):
        path, message = "/sleeps/?key=" + key, encode_frames(Frame(TEXT, b"impatient"))
        Bare(server.address, path, behind=message, wait=False).vanish()
        with Bare(server.address, path + "patient"):
            server.event(event="began", key=key + "patient")
        assert eventually(lambda: count(server, "began", key) == count(server, "ended", key))

    @pytest.mark.behaviour("A client that does not wait for the answer to its handshake is heard")
    @pytest.mark.limit(
        "uvicorn-websockets", "uvicorn-websockets-sansio", "uvicorn-wsproto", "daphne",
        reason="loses what comes in one packet with the handshake",
        remedy="RFC 6455 lets no client send before it has the answer",
    )
    @pytest.mark.limit("hypercorn", reason="refuses such a client with 400")
    def test_message_in_one_packet_with_the_handshake_is_heard(self, server):
        with Bare(server.address, "/echo/", behind=encode_frames(Frame(TEXT, b"impatient"))) as ws:
            assert ws.receive() == "impatient"

    @pytest.mark.parametrize(
        "request_line, upgrade, headers",
        [
            (b"GET /echo/ HTTP/1.1", b"websocket", [VERSION]),
            (b"GET /echo/ HTTP/1.1", b"websocket", [b"Sec-WebSocket-Version: 7", KEY]),
            (b"GET /both/ HTTP/1.1", b"nonsense", [VERSION, KEY]),
            (b"GET /echo/ HTTP/1.1", b"websocket", [VERSION, KEY, b"\0\xff no header"]),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"websocket", []),
        ],
        ids=["no key", "old version", "no upgrade", "bad header", "TLS"],
    )
    @pytest.mark.behaviour("A handshake that is none (no key, an old version …) opens no socket")
    @pytest.mark.logs("WARNING django", "^Traceback", "Invalid|invalid")
    def test_what_is_no_handshake_opens_no_socket(self, server, request_line, upgrade, headers):
        answer = answer_to(server, handshake_lines(server, request_line, upgrade, *headers))
        assert not answer.startswith(b"HTTP/1.1 101")

    @pytest.mark.parametrize(
        "request_line, headers",
        [
            (b"GET /echo/ HTTP/1.1", [VERSION, b"Sec-WebSocket-Key: short"]),
            (b"GET /echo/ HTTP/1.0", [VERSION, KEY]),
            (b"POST /both/ HTTP/1.1", [VERSION, KEY]),
            (b"GET /echo/ HTTP/1.1", [VERSION, KEY, b"X-Long: " + b"x" * 200000]),
        ],
        ids=["bad key", "HTTP 1.0", "POST", "long header"],
    )
    @pytest.mark.behaviour("A handshake that only some accept (a short key, HTTP/1.0, a header of 200 KB …) harms nobody")
    @DEAF
    @pytest.mark.logs("WARNING django", "^Traceback", "Invalid|invalid")
    def test_what_is_hardly_a_handshake_harms_nobody(self, server, request_line, headers):
        answer_to(server, handshake_lines(server, request_line, b"websocket", *headers))
        with Bare(server.address, "/echo/") as ws:
            assert ws.exchange("still here") == "still here"


def handshake_lines(server, request_line, upgrade, *headers):
    """Return the bytes of something like a handshake."""
    lines = [request_line, b"Host: " + server.address.encode(), b"Upgrade: " + upgrade, b"Connection: Upgrade", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answer_to(server, data):
    """Return how a server begins its answer to bytes; nothing where it hangs up, or waits for more."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), 1) as connection:
        try:
            connection.sendall(data)
            return connection.recv(65536)
        except (ConnectionError, socket.timeout):
            return b""


class TestFragments:
    @pytest.mark.behaviour("A message in fragments arrives whole, a ping between them is answered")
    def test_fragments_are_put_together(self, server):
        first, last = "äi".encode()[:1], "äi".encode()[1:]
        with Bare(server.address, "/echo/") as ws:
            ws.socket.sendall(
                encode_frame(TEXT, first, 0)
                + encode_frame(CONTINUATION, b"", 0)
                + encode_frame(PING, b"between")
                + encode_frame(CONTINUATION, last)
            )
            assert ws.receive_frame() == Frame(PONG, b"between")
            assert ws.receive() == "äi"

    @pytest.mark.behaviour("The limit of size is that of all fragments together")
    @OWN_LIMIT
    def test_fragments_over_the_limit_close_with_1009(self, server):
        with Bare(server.address, "/echo/") as ws:
            ws.socket.sendall(encode_frame(BINARY, b"", 0))
            for _ in range(16):
                ws.socket.sendall(encode_frame(CONTINUATION, b"x" * 2 ** 16, 0))
            assert ws.end_with_frame(encode_frame(CONTINUATION, b"x")) == 1009


BROKEN = pytest.mark.parametrize(
    "data, code",
    [
        (b"\x81\x05hello", 1002),
        (encode_frame(3, b""), 1002),
        (encode_frame(TEXT, b"", FINAL | 0x20), 1002),
        (encode_frame(PING, b"x" * 126), 1002),
        (encode_frame(CONTINUATION, b""), 1002),
        (encode_frame(TEXT, b"\xff"), 1007),
    ],
    ids=["unmasked", "unknown opcode", "reserved bit", "long ping", "no beginning", "no UTF-8"],
)


class TestBrokenFrames:
    @BROKEN
    @pytest.mark.behaviour("What breaks the protocol (no mask, an unknown opcode, text that is no UTF-8 …) ends the view")
    @pytest.mark.logs("Invalid UTF-8 sequence received from client", "^Traceback")
    def test_broken_frame_ends_the_view(self, server, key, data, code):
        with Bare(server.address, "/reads/?key=" + key) as ws:
            ws.end_with_frame(data)
        assert server.event(event="ended", key=key)["outcome"] == "ClientDisconnected"

    @BROKEN
    @pytest.mark.behaviour("What breaks the protocol closes with 1002, text that is no UTF-8 with 1007")
    @pytest.mark.limit("uvicorn-wsproto", "hypercorn", "daphne", reason="hangs up on it without a close frame")
    @pytest.mark.limit("granian", reason="sends a close frame without a code")
    @pytest.mark.logs("Invalid UTF-8 sequence received from client", "^Traceback")
    def test_broken_frame_closes(self, server, data, code):
        with Bare(server.address, "/echo/") as ws:
            assert ws.end_with_frame(data) == code

    @pytest.mark.behaviour("A client that hangs up half (FIN, and goes on listening) ends its view")
    @DEAF
    def test_half_a_hang_up_ends_the_view(self, server, key):
        ws = Bare(server.address, "/sleeps/?key=" + key)
        ws.socket.shutdown(socket.SHUT_WR)
        assert server.event(event="ended", key=key)["outcome"] == "CancelledError"
        ws.hang_up()


class TestCompression:
    HEADERS = [("Sec-WebSocket-Extensions", "permessage-deflate")]

    @pytest.mark.behaviour("Messages are compressed where the client can (`permessage-deflate`)")
    @pytest.mark.limit("daphne", "granian", reason="knows no compression")
    def test_compression_is_agreed_on(self, server):
        with Bare(server.address, "/echo/", headers=self.HEADERS) as ws:
            assert "permessage-deflate" in dict(ws.headers).get("sec-websocket-extensions", "")
            ws.socket.sendall(encode_frame(TEXT, deflate(b"hello"), FINAL | COMPRESSED))
            assert inflate(ws.receive_frame().payload) == b"hello"

    @pytest.mark.behaviour("A message of 32 KiB that inflates to 32 MiB closes with 1009")
    @pytest.mark.limit("daphne", "granian", reason="knows no compression")
    def test_bomb_closes_with_1009(self, server):
        with Bare(server.address, "/echo/", headers=self.HEADERS) as ws:
            bomb = deflate(bytes(2 ** 25))
            assert ws.end_with_frame(encode_frame(BINARY, bomb, FINAL | COMPRESSED)) == 1009


def deflate(data):
    """Return a message compressed, RFC 7692 section 7.2.1."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(data):
    """Return what a compressed message says."""
    return zlib.decompressobj(wbits=-15).decompress(data + b"\0\0\xff\xff")
