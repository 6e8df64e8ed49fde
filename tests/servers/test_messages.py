"""Messages arrive, whole, in order, as what they were sent."""

import json
import os
import time

import pytest

from .clients import Bare, Library
from .limits import CODES, OWN_LIMIT

CLIENTS = pytest.mark.parametrize("client", [Library, Bare], ids=["library", "bare"])


class TestReadmeExample:
    """The view of README.fi.md."""

    @pytest.mark.behaviour("Text arrives as text, binary as binary, whole and as it was")
    @CLIENTS
    def test_text_is_answered_as_text(self, server, client):
        with client(server.address, "/nakyma/") as ws:
            assert ws.exchange("hei äiti 🙂") == 'Kirjoitit "hei äiti 🙂".'

    @pytest.mark.behaviour("Text arrives as text, binary as binary, whole and as it was")
    @CLIENTS
    def test_binary_is_answered_as_binary(self, server, client):
        with client(server.address, "/nakyma/") as ws:
            assert ws.exchange("hyvää".encode("latin-1")) == 'Kirjoitit "hyvää".'.encode("latin-1")

    def test_page_names_the_socket_by_its_address(self, server):
        status, body, _ = server.get("/nakyma/")
        assert status == 200
        assert '"ws://{}/nakyma/"'.format(server.address) in body


def assert_all_arrive(server, path):
    """See that a view that reads with time-outs reads all that is sent."""
    with Bare(server.address, path) as ws:
        for number in range(100):
            ws.send(str(number))
            time.sleep(0.002)
        assert ws.receive() == ",".join(map(str, range(100)))


class TestMessages:
    @pytest.mark.behaviour("Text arrives as text, binary as binary, whole and as it was")
    @pytest.mark.parametrize("message", ["\0", b"\0\xff", "x" * 125, "x" * 126, b"x" * 65536, "ä€🙂" * 9999])
    def test_message_comes_back_as_it_was(self, server, message):
        with Library(server.address, "/echo/") as ws:
            assert ws.exchange(message) == message

    @pytest.mark.behaviour("Empty messages")
    @pytest.mark.limit("daphne", "old-uvicorn-sansio", reason="sends no empty messages")
    @pytest.mark.parametrize("message", ["", b""])
    def test_nothing_is_a_message_too(self, server, message):
        with Library(server.address, "/echo/") as ws:
            assert ws.exchange(message) == message

    @pytest.mark.behaviour("A message of 1 MiB in one frame")
    def test_one_mebibyte_in_one_frame_passes(self, server):
        message = os.urandom(2 ** 20)
        with Bare(server.address, "/echo/") as ws:
            assert ws.exchange(message) == message

    @pytest.mark.behaviour("Messages keep their order, a burst in one packet too")
    def test_burst_is_answered_in_order(self, server):
        with Library(server.address, "/echo/") as ws:
            for number in range(20):
                ws.send(str(number))
            assert [ws.receive() for _ in range(20)] == [str(number) for number in range(20)]

    @pytest.mark.behaviour("Messages keep their order, a burst in one packet too")
    def test_burst_in_one_packet_is_answered_in_order(self, server):
        with Bare(server.address, "/echo/") as ws:
            ws.send_frames(*((1, str(number).encode()) for number in range(500)))
            assert [ws.receive() for _ in range(500)] == [str(number) for number in range(500)]

    @pytest.mark.behaviour("Several tasks read, and several send, on one socket")
    def test_two_tasks_that_read_share_the_messages(self, server):
        with Bare(server.address, "/two-readers/") as ws:
            for number in range(10):
                ws.send(str(number))
            assert ws.receive() == "0,1,2,3,4,5,6,7,8,9"

    @pytest.mark.behaviour("Several tasks read, and several send, on one socket")
    def test_two_tasks_that_write_keep_their_orders(self, server):
        with Library(server.address, "/two-writers/") as ws:
            ws.send("go")
            received = [ws.receive() for _ in range(200)]
        for letter in "ab":
            assert [word for word in received if word[0] == letter] == [letter + str(n) for n in range(100)]

    @pytest.mark.behaviour("A `receive()` that is cancelled, by a time-out say, loses no message")
    @pytest.mark.workaround(
        "granian",
        reason="loses a message that comes in while a `receive()` of the server's is being cancelled",
        remedy="one task reads for the socket then, and is never cancelled",
    )
    def test_cancelled_receive_loses_nothing(self, server):
        assert_all_arrive(server, "/polls/")

    @pytest.mark.behaviour("A `receive()` cancelled while it opens the socket of a view without a protocol loses none")
    @pytest.mark.limit(
        "granian",
        reason="drops a connection where the accept is cancelled",
        remedy="decorate the view with `WebsocketProtocol`, which opens the socket before it",
    )
    def test_cancelled_first_receive_loses_nothing(self, server):
        assert_all_arrive(server, "/polls-at-once/")

    def test_view_class_without_a_protocol_answers(self, server):
        with Library(server.address, "/both/") as ws:
            assert ws.receive() == "over a socket"


class TestTopic:
    def test_what_is_published_reaches_everybody_at_once(self, server):
        with Library(server.address, "/room/") as one, Library(server.address, "/room/") as other:
            assert one.receive() == other.receive() == "True"
            for number in range(100):
                one.send(str(number))
            for client in one, other:
                assert [client.receive() for _ in range(100)] == [str(number) for number in range(100)]


class TestJSON:
    @pytest.mark.behaviour("JSON: objects go in and out; what is no JSON closes with 1007")
    @pytest.mark.parametrize("value", [{"a": [1, None, "ä"]}, [], "text", 1.5, None, True], ids=repr)
    def test_objects_go_in_and_out(self, server, value):
        with Library(server.address, "/json-echo/") as ws:
            answer = json.loads(ws.exchange(json.dumps(value)))
        assert answer == {"type": type(value).__name__, "value": value}

    @pytest.mark.behaviour("JSON: objects go in and out; what is no JSON closes with 1007")
    def test_binary_json_is_read_too(self, server):
        with Library(server.address, "/json-echo/") as ws:
            assert json.loads(ws.exchange(b"[1]")) == {"type": "list", "value": [1]}

    @pytest.mark.behaviour("JSON: objects go in and out; what is no JSON closes with 1007")
    @CODES
    @pytest.mark.parametrize("message", ["{", "", "no JSON", b"\xff\xfe\xfd"], ids=repr)
    def test_what_is_no_json_closes_with_1007(self, server, message):
        with Library(server.address, "/json-echo/") as ws:
            assert ws.end_after(message) == server.seen(1007)


class TestLimit:
    @pytest.mark.behaviour("A message over `PISTOKE_MAX_MESSAGE_SIZE` bytes closes with 1009")
    @OWN_LIMIT
    def test_message_over_the_limit_closes_with_1009(self, server):
        with Bare(server.address, "/echo/") as ws:
            assert ws.end_after(b"x" * (2 ** 20 + 1)) == server.seen(1009)

    @pytest.mark.behaviour("A message over `PISTOKE_MAX_MESSAGE_SIZE` bytes closes with 1009")
    @OWN_LIMIT
    def test_limit_is_of_bytes(self, server):
        with Bare(server.address, "/echo/") as ws:
            assert ws.end_after("ä" * (2 ** 19 + 1)) == server.seen(1009)


class TestSubprotocols:
    @pytest.mark.behaviour("Subprotocols: the client's order decides, and both sides are told")
    @pytest.mark.parametrize(
        "offered, chosen",
        [(["alpha"], "alpha"), (["beta", "alpha"], "beta"), (["alpha", "beta"], "alpha"), (["gamma", "beta"], "beta")],
    )
    def test_order_of_the_client_decides(self, server, offered, chosen):
        with Library(server.address, "/subprotocols/", subprotocols=offered) as ws:
            assert ws.subprotocol == chosen
            assert ws.receive() == chosen

    @pytest.mark.behaviour("Subprotocols: the client's order decides, and both sides are told")
    def test_json_combines_with_a_subprotocol(self, server):
        with Library(server.address, "/json-subprotocol/", subprotocols=["json.example"]) as ws:
            assert json.loads(ws.receive()) == {"subprotocol": "json.example"}

    @pytest.mark.behaviour("Subprotocols: the client's order decides, and both sides are told")
    def test_none_on_either_side_is_none(self, server):
        with Library(server.address, "/no-subprotocol/") as ws:
            assert ws.subprotocol is None
            assert ws.receive() == "None"
