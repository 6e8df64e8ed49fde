"""One socket: opening, receiving, sending and closing, over a server that is not there."""
import asyncio
import functools

import pytest
from django.test import override_settings
from django.utils.functional import lazystr

from pistoke.connection import InvalidEvent, State
from pistoke.exceptions import ClientDisconnected, ConnectionClosed, HandshakeError, SubprotocolMismatch
from pistoke.socket import SENDS_PER_TURN, RawSocket, Socket, message_event

from .asgi import Server
from .faults import Granian, turns


def socket_of(server, offered=(), granian=False, automatic=False):
    """Return a socket whose handshake the server has told of already."""
    receive = Granian(server).receive if granian else server.receive
    server._inbound.get_nowait()
    socket = Socket(receive, server.send, offered)
    socket.automatic = automatic
    return socket


async def opened(*messages, **kwargs):
    """Return a server that has said some messages, and an open socket."""
    server = Server()
    server.say(*messages)
    socket = socket_of(server, **kwargs)
    await socket.accept()
    return server, socket


# Opening


async def test_a_socket_opens_once():
    server, socket = await opened()
    await socket.accept()
    assert server.sent == [{"type": "websocket.accept", "subprotocol": None}]


@pytest.mark.parametrize(
    ("offered", "supported", "chosen"), [(("a", "b"), ("b", "a"), "a"), (("x", "b"), ("a", "b"), "b"), ((), (), None)]
)
async def test_it_opens_with_the_subprotocol_that_suits_both(offered, supported, chosen):
    server = Server()
    socket = socket_of(server, offered)
    await socket.accept(supported)
    assert socket.subprotocol == server.sent[0]["subprotocol"] == chosen


@pytest.mark.parametrize(("offered", "supported"), [(("a",), ("b",)), (("a",), ()), ((), ("b",))])
async def test_it_does_not_open_without_a_common_subprotocol(offered, supported):
    server = Server()
    socket = socket_of(server, offered)
    with pytest.raises(SubprotocolMismatch) as error:
        await socket.accept(supported)
    assert (error.value.offered, error.value.supported) == (offered, supported)
    assert not server.sent and socket.application is State.CONNECTING


async def test_it_does_not_open_when_the_client_has_left():
    server = Server()
    socket = socket_of(server)
    socket.lost()
    with pytest.raises(ConnectionClosed) as error:
        await socket.accept()
    assert error.value.code == 1006 and not server.sent


async def test_a_client_that_leaves_before_the_answer_has_gone():
    server = Server()
    server.send_failure = OSError("gone")
    socket = socket_of(server)
    with pytest.raises(ConnectionClosed) as error:
        await socket.accept()
    assert isinstance(error.value.__cause__, OSError)
    assert socket.over
    with pytest.raises(ClientDisconnected):
        await socket.receive()


async def test_whoever_comes_while_it_opens_waits_for_it():
    server = Server()
    server.hold()
    socket = socket_of(server, automatic=True)
    tasks = [asyncio.ensure_future(task) for task in (socket.accept(), socket.accept(), socket.send("x"))]
    await turns(3)
    assert not any(task.done() for task in tasks)
    server.release()
    await asyncio.gather(*tasks)
    assert server.types == ["accept", "send"]


async def test_a_waiter_that_is_cancelled_does_not_keep_it_from_opening():
    server = Server()
    server.hold()
    socket = socket_of(server, automatic=True)
    opening = asyncio.ensure_future(socket.accept())
    await turns(2)
    sending = asyncio.ensure_future(socket.send("x"))
    await turns(2)
    sending.cancel()
    server.release()
    await opening
    assert server.types == ["accept"]


async def test_a_time_out_while_it_opens_leaves_an_open_socket():
    server = Server()

    async def slow_send(event):
        await Server.send(server, event)
        await turns(5)

    socket = Socket(server.receive, slow_send)
    task = asyncio.ensure_future(socket.accept())
    await turns(2)
    task.cancel()
    await turns(2)
    await socket.send("x")
    assert server.types == ["accept", "send"]


async def test_an_automatic_socket_opens_at_the_first_receive():
    server = Server()
    server.say("x")
    socket = socket_of(server, automatic=True)
    assert await socket.receive() == "x"
    assert server.types == ["accept"]
    await socket.stop_reading()


async def test_an_automatic_socket_opens_at_the_first_send():
    server = Server()
    await socket_of(server, automatic=True).send("x")
    assert server.types == ["accept", "send"]


async def test_an_automatic_socket_opens_at_the_first_suspension():
    server = Server()
    socket = socket_of(server, automatic=True)
    socket.on_over = lambda: None
    socket.attend_soon()
    await turns(3)
    assert server.types == ["accept"]
    await socket.stop_reading()


async def test_suspension_does_not_open_where_a_subprotocol_may_be_chosen():
    server = Server()
    socket = socket_of(server, ("a",), automatic=True)
    socket.on_over = lambda: None
    socket.attend_soon()
    await turns(3)
    assert server.types == []
    await socket.stop_reading()


async def test_a_client_that_leaves_while_suspension_opens_is_no_error():
    over = []
    server = Server()
    server.send_failure = OSError()
    socket = socket_of(server, automatic=True)
    socket.on_over = lambda: over.append(True)
    socket.attend_soon()
    await turns(3)
    assert over


@pytest.mark.parametrize("call", [lambda socket: socket.receive(), lambda socket: socket.send("x")])
async def test_nothing_passes_before_an_explicit_protocol_opens(call):
    with pytest.raises(HandshakeError, match="^expected an open socket"):
        await call(socket_of(Server()))


# Receiving


async def test_messages_are_received_as_they_are():
    server, socket = await opened("text", b"\x00", "", b"")
    assert [await socket.receive() for _ in range(4)] == ["text", b"\x00", "", b""]


@pytest.mark.parametrize(("event", "message"), [({"text": "a", "bytes": None}, "a"), ({"text": None, "bytes": b"a"}, b"a")])
async def test_both_keys_may_be_there(event, message):
    server, socket = await opened()
    server._inbound.put_nowait(dict(event, type="websocket.receive"))
    assert await socket.receive() == message


async def test_the_view_itself_reads_without_a_task():
    server, socket = await opened()
    socket.stepping = True
    task = asyncio.ensure_future(socket.receive())
    await turns(2)
    assert socket.attended and socket._reader is None
    server.say("x")
    assert await task == "x"
    assert not socket.attended


async def test_messages_kept_before_come_first():
    server, socket = await opened("2")
    socket.replay({"type": "websocket.receive", "text": "1"})
    assert [await socket.receive(), await socket.receive()] == ["1", "2"]


async def test_whoever_waits_is_served_when_the_first_reader_has_its_message():
    server, socket = await opened()
    socket.on_over = lambda: None
    tasks = [asyncio.ensure_future(socket.receive()) for _ in range(2)]
    await turns(2)
    server.say("1", "2")
    assert await asyncio.gather(*tasks) == ["1", "2"]
    await turns(2)
    await socket.stop_reading()


async def test_the_end_is_raised_again_and_again():
    server, socket = await opened("x")
    server.leave(4001, reason="why")
    assert await socket.receive() == "x"
    for _ in range(3):
        with pytest.raises(ClientDisconnected) as error:
            await socket.receive()
        assert (error.value.code, error.value.reason, error.value.socket) == (4001, "why", socket)
    assert server.receives == 2


async def test_whatever_the_server_raises_is_the_end():
    server, socket = await opened()

    async def receive():
        raise RuntimeError("no more")

    socket._asgi_receive = receive
    with pytest.raises(ClientDisconnected) as error:
        await socket.receive()
    assert error.value.code == 1006


async def test_a_cancelled_receive_loses_nothing():
    server, socket = await opened()
    socket.on_over = lambda: None
    for number in range(5):
        task = asyncio.ensure_future(socket.receive())
        await turns(number)
        task.cancel()
        await turns(3)
    server.say("x")
    assert await socket.receive() == "x"
    await turns(3)
    await socket.stop_reading()


async def test_receiving_is_remembered():
    server, socket = await opened("x")
    assert not socket.has_read
    await socket.receive()
    assert socket.has_read


@pytest.mark.parametrize("message", ["123456789", b"123456789", "ääääx", "\ud800\ud800\ud800"], ids=ascii)
async def test_a_message_over_the_limit_closes(message):
    with override_settings(PISTOKE_MAX_MESSAGE_SIZE=8):
        server, socket = await opened(message)
    with pytest.raises(ClientDisconnected) as error:
        await socket.receive()
    assert server.closed == error.value.code == 1009


@pytest.mark.parametrize("message", ["12345678", "ääää", b"12345678", "𝄞𝄞"], ids=ascii)
async def test_a_message_within_the_limit_passes(message):
    with override_settings(PISTOKE_MAX_MESSAGE_SIZE=8):
        server, socket = await opened(message)
    assert await socket.receive() == message


async def test_there_may_be_no_limit():
    with override_settings(PISTOKE_MAX_MESSAGE_SIZE=None):
        server, socket = await opened("x" * 10 ** 7)
    assert len(await socket.receive()) == 10 ** 7


@pytest.mark.parametrize("error", [ValueError(), RecursionError(), UnicodeDecodeError("utf-8", b"", 0, 1, "")], ids=repr)
async def test_a_message_that_cannot_be_decoded_closes(error):
    def decode(message):
        raise error

    server, socket = await opened("x")
    socket.decode = decode
    with pytest.raises(ClientDisconnected):
        await socket.receive()
    assert server.closed == 1007


async def test_an_error_of_the_decoder_is_the_views():
    def decode(message):
        raise KeyError("x")

    server, socket = await opened("x")
    socket.decode = decode
    with pytest.raises(KeyError):
        await socket.receive()
    assert server.closed is None


async def test_a_bad_message_of_a_client_that_has_gone_is_its_end():
    server, socket = await opened("x")
    socket.decode = int
    server.send_failure = OSError()
    with pytest.raises(ClientDisconnected) as error:
        await socket.receive()
    assert error.value.code == 1007


# Sending


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("a", {"text": "a"}),
        ("", {"text": ""}),
        (b"a", {"bytes": b"a"}),
        (bytearray(b"a"), {"bytes": b"a"}),
        (memoryview(b"a"), {"bytes": b"a"}),
        (type("Text", (str,), {})("a"), {"text": "a"}),
        (type("Bytes", (bytes,), {})(b"a"), {"bytes": b"a"}),
        (lazystr("a"), {"text": "a"}),
    ],
    ids=lambda item: type(item).__name__,
)
async def test_text_and_bytes_are_sent(message, event):
    server, socket = await opened()
    await socket.send(message)
    assert server.sent[1] == dict(event, type="websocket.send")


@pytest.mark.parametrize("message", [1, None, [], {}, object()], ids=lambda item: type(item).__name__)
async def test_anything_else_is_no_message(message):
    server, socket = await opened()
    with pytest.raises(TypeError, match="got {}; use WebsocketJSONProtocol".format(type(message).__name__)):
        await socket.send(message)
    assert server.types == ["accept"]


def test_a_message_of_a_less_common_type_says_what_it_is():
    assert message_event(bytearray(b"x")) == {"type": "websocket.send", "bytes": b"x"}


async def test_messages_are_encoded():
    server, socket = await opened()
    socket.encode = repr
    await socket.send(1)
    assert server.messages == ["1"]


async def test_a_send_waits_while_the_client_is_slow():
    server, socket = await opened()
    server.hold()
    task = asyncio.ensure_future(socket.send("x"))
    await turns(3)
    assert not task.done()
    server.release()
    await task


async def test_the_event_loop_gets_a_turn_now_and_then():
    server, socket = await opened()
    went_round = []
    asyncio.get_event_loop().call_soon(went_round.append, True)
    for _ in range(SENDS_PER_TURN):
        await socket.send("x")
    assert not went_round
    await socket.send("x")
    assert went_round


@pytest.mark.parametrize("error", [OSError(), RuntimeError(), KeyError(), type("Own", (Exception,), {})()], ids=repr)
async def test_whatever_the_server_raises_means_nobody_listens(error):
    server, socket = await opened()
    server.send_failure = error
    for _ in range(2):
        with pytest.raises(ConnectionClosed) as caught:
            await socket.send("x")
    assert caught.value.code == 1006 and caught.value.socket is socket


async def test_a_cancelled_send_is_cancelled():
    server, socket = await opened()
    server.hold()
    task = asyncio.ensure_future(socket.send("x"))
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.release()
    await socket.send("y")
    assert server.messages == ["y"]


async def test_text_that_is_no_unicode_is_the_views_error():
    server, socket = await opened()
    server.send_failure = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
    with pytest.raises(UnicodeError):
        await socket.send("\ud800")
    server.send_failure = None
    await socket.send("x")


async def test_what_was_said_before_can_be_read_when_nobody_listens():
    server, socket = await opened("1", "2")
    server.leave(4001)
    server.send_failure = OSError()
    with pytest.raises(ConnectionClosed):
        await socket.send("x")
    assert [await socket.receive(), await socket.receive()] == ["1", "2"]
    with pytest.raises(ClientDisconnected) as error:
        await socket.receive()
    assert error.value.code == 4001


async def test_nothing_is_sent_to_a_client_that_has_been_read_to_its_end():
    server, socket = await opened()
    server.leave(4001)
    with pytest.raises(ClientDisconnected):
        await socket.receive()
    with pytest.raises(ConnectionClosed) as error:
        await socket.send("x")
    assert error.value.code == 4001
    assert server.types == ["accept"]


async def test_a_thousand_messages_of_as_many_tasks():
    server = Server()
    socket = socket_of(server, automatic=True)
    await asyncio.gather(*[socket.send(str(number)) for number in range(1000)])
    assert server.types[0] == "accept"
    assert sorted(server.messages, key=int) == [str(number) for number in range(1000)]


async def test_a_close_stops_those_who_are_sending():
    server, socket = await opened()

    async def flood():
        while True:
            await socket.send("x")

    tasks = [asyncio.ensure_future(flood()) for _ in range(3)]
    await turns(3)
    await socket.close()
    for task in tasks:
        with pytest.raises(ConnectionClosed):
            await task
    assert server.types[-1] == "close"


# Closing


async def test_a_close_says_code_and_reason():
    server, socket = await opened()
    await socket.close(4000, "enough")
    assert server.sent[1] == {"type": "websocket.close", "code": 4000, "reason": "enough"}


async def test_a_socket_closes_once():
    server, socket = await opened()
    await asyncio.gather(socket.close(4000), socket.close(4000))
    await socket.close(4002)
    assert server.types == ["accept", "close"] and server.closed == 4000


async def test_a_bad_code_closes_nothing():
    server, socket = await opened()
    with pytest.raises(ValueError):
        await socket.close(1006)
    await socket.send("x")


async def test_nothing_is_sent_after_the_close():
    server, socket = await opened()
    await socket.close(4000, "enough")
    with pytest.raises(ConnectionClosed, match="4000: enough"):
        await socket.send("x")


async def test_what_was_kept_can_be_read_after_the_close():
    server, socket = await opened()
    socket.replay({"type": "websocket.receive", "text": "x"})
    await socket.close(4000)
    assert await socket.receive() == "x"
    with pytest.raises(ClientDisconnected) as error:
        await socket.receive()
    assert error.value.code == 4000


async def test_a_close_fails_where_the_client_left_unnoticed():
    server, socket = await opened()
    server.send_failure = OSError()
    with pytest.raises(ConnectionClosed):
        await socket.close()


async def test_a_close_does_nothing_where_the_client_is_known_to_have_left():
    server, socket = await opened()
    socket.lost()
    await socket.close()
    assert server.types == ["accept"]


async def test_an_automatic_socket_opens_to_be_closed():
    server = Server()
    await socket_of(server, automatic=True).close(4000)
    assert server.types == ["accept", "close"]


async def test_an_automatic_socket_that_cannot_be_opened_is_refused():
    server = Server()
    await socket_of(server, ("a",), automatic=True).close(4000)
    assert server.types == ["close"]


async def test_a_close_waits_until_the_socket_is_open():
    server = Server()
    server.hold()
    socket = socket_of(server, automatic=True)
    tasks = [asyncio.ensure_future(task) for task in (socket.accept(), socket.close(4000))]
    await turns(3)
    server.release()
    await asyncio.gather(*tasks)
    assert server.types == ["accept", "close"]


async def test_an_interrupted_answer_is_ended():
    server = Server()
    socket = socket_of(server)
    await socket.send_event({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await socket.close(1011)
    assert server.sent[1] == {"type": "websocket.http.response.body", "body": b"", "more_body": False}
    assert socket.over


async def test_a_close_wakes_those_who_wait_for_a_message():
    server, socket = await opened()
    socket.on_over = lambda: None
    socket.attend_soon()
    await turns(2)
    tasks = [asyncio.ensure_future(socket.receive()) for _ in range(3)]
    await turns(2)
    await socket.close(4000)
    for task in tasks:
        # Before 3.11 a task that was ended by a subclass is ended by the class itself.
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_close_tells_the_driver():
    over = []
    server, socket = await opened()
    socket.on_over = lambda: over.append(True)
    await socket.close()
    assert over == [True]


async def test_a_close_fails_and_still_wakes_those_who_wait():
    server, socket = await opened()
    socket.on_over = lambda: None
    socket.attend_soon()
    await turns(2)
    task = asyncio.ensure_future(socket.receive())
    await turns(2)
    server.send_failure = OSError()
    with pytest.raises(ConnectionClosed):
        await socket.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_is_sent_when_there_is_nothing_more():
    server, socket = await opened()
    socket.lost()
    socket.nothing_more()
    with pytest.raises(ConnectionClosed):
        await socket.send("x")


async def test_an_event_out_of_turn_is_not_sent():
    server, socket = await opened()
    with pytest.raises(InvalidEvent):
        await socket.send_event({"type": "websocket.accept"})
    assert server.types == ["accept"]


async def test_a_cancelled_event_is_cancelled():
    server = Server()
    server.hold()
    socket = socket_of(server)
    task = asyncio.ensure_future(socket.send_event({"type": "websocket.close"}))
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Waiting for the server to be done


async def test_the_end_of_a_connection_is_waited_for():
    server, socket = await opened("late")
    server.leave()
    await asyncio.wait_for(socket.wait_for_end(20), 10)
    assert socket.client is State.DISCONNECTED


async def test_the_end_of_a_connection_is_not_waited_for_long():
    server, socket = await opened()
    await asyncio.wait_for(socket.wait_for_end(0.01), 10)
    assert socket.client is State.CONNECTED
    await turns(2)


# One reader


async def test_where_one_task_reads_the_view_reads_through_it():
    server, socket = await opened("1", "2", granian=True)
    socket.stepping = True
    assert [await socket.receive(), await socket.receive()] == ["1", "2"]
    assert socket._reader is not None
    await socket.stop_reading()


async def test_where_one_task_reads_it_has_ended_before_the_close_is_sent():
    server, socket = await opened(granian=True)
    socket.attended = False
    task = asyncio.ensure_future(socket.receive())
    await turns(3)
    reader = socket._reader
    readers = []

    async def send(event):
        readers.append(reader.done())

    socket._asgi_send = send
    await socket.close()
    assert readers == [True]
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_where_one_task_reads_a_socket_still_closes_once():
    server, socket = await opened(granian=True)
    task = asyncio.ensure_future(socket.receive())
    await turns(3)
    await asyncio.gather(socket.close(4000), socket.close(4001), socket.close(4002))
    assert server.types == ["accept", "close"]
    with pytest.raises(asyncio.CancelledError):
        await task

# Sending for others


EVENT = {"type": "websocket.send", "text": "for all"}


class OnlyAwaitable:
    """What some server's send returns: it can be awaited, but not stepped."""

    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        return self.coroutine.__await__()


async def test_what_is_relayed_is_sent_on_the_spot():
    server, socket = await opened()
    assert socket.relay(EVENT) is None
    assert server.messages == ["for all"]


async def test_what_cannot_be_relayed_at_once_is_awaited():
    server, socket = await opened()
    server.hold()
    rest = asyncio.ensure_future(socket.relay(EVENT))
    await asyncio.sleep(0)
    assert not server.messages
    server.release()
    await rest
    assert server.messages == ["for all"]


@pytest.mark.parametrize("held", [False, True])
async def test_what_can_only_be_awaited_is_relayed_too(held):
    server, socket = await opened()
    socket._asgi_send = lambda event: OnlyAwaitable(server.send(event))
    if held:
        server.hold()
    rest = socket.relay(EVENT)
    assert (rest is not None) == held
    if held:
        server.release()
        await rest
    assert server.messages == ["for all"]


async def test_relaying_opens_an_automatic_socket():
    server = Server()
    socket = socket_of(server, automatic=True)
    await socket.relay(EVENT)
    assert server.types == ["accept", "send"]


async def test_nothing_is_relayed_after_the_close():
    _, socket = await opened()
    await socket.close(4001)
    with pytest.raises(ConnectionClosed) as info:
        await socket.relay(EVENT)
    assert info.value.code == 4001


@pytest.mark.parametrize("held", [False, True])
async def test_who_relays_learns_that_nobody_listens(held):
    server, socket = await opened()
    server.send_failure = OSError("gone")
    if held:
        server.hold()
    with pytest.raises(ConnectionClosed):
        rest = socket.relay(EVENT)
        server.release()
        await rest
    assert not socket.listened_to


async def test_a_relay_that_is_cancelled_is_cancelled():
    server, socket = await opened()
    server.hold()
    task = asyncio.ensure_future(socket.relay(EVENT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert socket.listened_to


async def test_a_relay_that_is_interrupted_by_the_server_is_passed_on():
    _, socket = await opened()

    async def send(event):
        raise asyncio.CancelledError

    socket._asgi_send = send
    with pytest.raises(asyncio.CancelledError):
        socket.relay(EVENT)


# Raw


async def raw(*messages):
    """Return a server and a raw socket over a new one."""
    server = Server()
    server.say(*messages)
    return server, RawSocket(socket_of(server))


async def test_a_raw_socket_begins_with_the_connect():
    server, socket = await raw()
    assert await socket.receive() == {"type": "websocket.connect"}


async def test_a_raw_socket_passes_events():
    server, socket = await raw("x")
    await socket.receive()
    await socket.send({"type": "websocket.accept", "subprotocol": "a"})
    assert socket.subprotocol == "a"
    assert await socket.receive() == {"type": "websocket.receive", "text": "x"}
    await socket.close(4000, "enough")
    assert server.types == ["accept", "close"]


async def test_a_raw_socket_says_disconnect_once():
    server, socket = await raw()
    server.leave(4001)
    await socket.receive()
    assert (await socket.receive())["code"] == 4001
    for _ in range(2):
        with pytest.raises(ClientDisconnected) as error:
            await socket.receive()
        assert error.value.code == 4001


async def test_a_raw_socket_sends_nothing_out_of_turn():
    server, socket = await raw()
    with pytest.raises(InvalidEvent):
        await socket.send({"type": "websocket.send", "text": "x"})
    with pytest.raises(InvalidEvent):
        await socket.send({})


async def test_a_raw_socket_knows_a_client_that_has_gone():
    server, socket = await raw()
    server.send_failure = OSError()
    with pytest.raises(ConnectionClosed):
        await socket.send({"type": "websocket.accept"})


async def handle_reply(self, event):
    await self.server.send(event)


#: What Daphne gives to an application as ``send`` is a partial of a method of this.
DaphneServer = type("Server", (), {"__module__": "daphne.server", "handle_reply": handle_reply})


@pytest.mark.parametrize(("code", "said"), [(1000, 1000), (1001, 4001), (1011, 4011), (3000, 3000), (4403, 4403)])
async def test_what_daphne_does_not_let_through_is_said_3000_higher(code, said):
    server = Server()
    socket = socket_of(server)
    daphne = DaphneServer()
    daphne.server = server
    socket._asgi_send = functools.partial(daphne.handle_reply)
    await socket.accept()
    await socket.close(code, "why")
    assert server.sent[-1] == {"type": "websocket.close", "code": said, "reason": "why"}
