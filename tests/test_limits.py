"""The limits of a view: how often a client may send, how long it may be slow or silent, how many sockets may be open."""
import asyncio
import functools
import logging
from collections import namedtuple
from unittest import mock

import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.utils.decorators import method_decorator

from pistoke import limits as module
from pistoke import watch
from pistoke.decorators import limits, origin_exempt
from pistoke.exceptions import ClientDisconnected, ConnectionClosed
from pistoke.handler import WebsocketHandler
from pistoke.inbound import is_of
from pistoke.limits import Census, census
from pistoke.protocol import RawWebsocketProtocol, WebsocketProtocol
from pistoke.views import WebsocketView
from pistoke.watch import Bucket, Stopwatch

from .asgi import Server, urls
from .faults import FaultyServer, Granian, turns

#: A time that is up soon, in seconds, and one that never is.
SOON = 0.05
LONG = 3600


@pytest.fixture(autouse=True)
def no_socket_is_left_in_the_census():
    assert census.open == {}
    yield
    assert census.open == {}


async def echo(request):
    async for message in request:
        await request.send(message)


async def sleep(request):
    await asyncio.sleep(LONG)


class Ends:
    """A view that notes how it ended."""

    def __init__(self, view):
        self.view = view
        self.outcomes = []
        functools.update_wrapper(self, view)

    @property
    def decorated(self):
        @functools.wraps(self.view)
        async def view(request):
            try:
                await self.view(request)
            except BaseException as exc:
                self.outcomes.append(exc)
                raise
            else:
                self.outcomes.append(None)

        return view


async def run(view, server, patience=10):
    """Run a view to its end."""
    with urls(view=view):
        await asyncio.wait_for(server.start(WebsocketHandler()), patience)
    return server


def ways(decorator):
    """Return what a decorator makes of views of all kinds, and what it makes of those that a protocol decorates too."""

    class View(WebsocketView):
        async def websocket(self, request):
            await echo(request)

    def bare_function(view):
        @functools.wraps(view)
        def decorated(request):
            return view(request)

        return decorated

    def on_class(name, *decorators):
        return method_decorator(list(decorators), name=name)(type("Decorated", (View,), {})).as_view()

    return {
        "function": decorator(echo),
        "outside of a protocol": decorator(WebsocketProtocol(echo)),
        "inside of a protocol": WebsocketProtocol(decorator(echo)),
        "inside of a plain decorator": bare_function(decorator(echo)),
        "inside of another of ours": origin_exempt(decorator(echo)),
        "websocket": on_class("websocket", decorator),
        "websocket, outside of a protocol": on_class("websocket", decorator, WebsocketProtocol),
        "websocket, inside of a protocol": on_class("websocket", WebsocketProtocol, decorator),
        "dispatch": on_class("dispatch", decorator),
        "the function of a class": decorator(View.as_view()),
    }


WAYS = sorted(ways(limits()))


def hidden(view):
    """Decorate as one should not: what is inside is not to be seen."""

    async def decorated(request):
        return await view(request)

    return decorated


# Off


@pytest.mark.parametrize("view", [echo, WebsocketProtocol(echo), limits(echo), limits()(echo)])
async def test_without_limits_nothing_is_wrapped_and_nobody_counted(view):
    sockets = []

    @functools.wraps(view)
    async def spy(request):
        sockets.append(request._socket)
        assert census.open == {}
        response = await view(request)
        return None if isinstance(response, HttpResponse) else response

    server = Server("/view/")
    server.say("a")
    server.leave()
    await run(spy, server)
    socket, = sockets
    assert server.messages == ["a"]
    assert socket._asgi_receive == server.receive and socket._asgi_send == server.send
    assert socket.limits is None or view not in (echo, WebsocketProtocol(echo))


@pytest.mark.parametrize("limit", [{"max_sockets": 9}, {"max_message_size": 9}, {"inbound_bytes": 9}])
async def test_a_limit_of_another_kind_wraps_nothing(limit):
    @limits(**limit)
    async def view(request):
        assert request._socket._asgi_receive == server.receive and request._socket._asgi_send == server.send

    server = Server("/view/")
    await run(view, server)
    assert server.closed == 1000


@pytest.mark.parametrize("limit", [{"message_rate": (9, 9)}, {"send_timeout": 9}, {"idle_timeout": 9}])
async def test_a_server_is_known_under_limits_too(limit):
    @limits(**limit)
    async def view(request):
        assert is_of(request._socket._asgi_receive, "tests.asgi") and is_of(request._socket._asgi_send, "tests.asgi")
        assert request._socket.is_served_by("tests")

    server = Server("/view/")
    await run(view, server)
    assert server.closed == 1000


@pytest.mark.parametrize("way", WAYS)
async def test_views_within_their_limits_are_undisturbed(way):
    view = ways(limits(message_rate=(3, 1), send_timeout=LONG, idle_timeout=LONG, max_sockets=1))[way]
    server = Server("/view/")
    server.say("a", b"b", "c")
    server.leave()
    await run(view, server)
    assert server.messages == ["a", b"b", "c"]


# The bounds of messages and of what is held


@pytest.mark.parametrize("way", WAYS)
async def test_size_of_a_message(way):
    server = Server("/view/")
    server.say("äää", "ääx")
    server.say("ääää")
    with override_settings(PISTOKE_MAX_MESSAGE_SIZE=2):
        await run(ways(limits(max_message_size=6))[way], server)
    assert (server.messages, server.closed) == (["äää", "ääx"], 1009)


async def test_a_view_may_be_without_a_bound_of_size():
    server = Server("/view/")
    server.say("x" * 100)
    server.leave()
    with override_settings(PISTOKE_MAX_MESSAGE_SIZE=2):
        await run(limits(max_message_size=None)(echo), server)
    assert server.messages == ["x" * 100]


@pytest.mark.parametrize(
    "bound, taken", [({"inbound_messages": 3}, 3), ({"inbound_bytes": 35, "inbound_messages": 99}, 4), ({}, 1)]
)
async def test_a_flood_to_a_view_that_does_not_read_is_bounded(bound, taken):
    @limits(**bound)
    async def view(request):
        await asyncio.sleep(LONG)

    server = Server("/view/")
    server.say(*["0123456789"] * 1000)
    with override_settings(PISTOKE_INBOUND_MESSAGES=1), urls(view=view):
        task = server.start(WebsocketHandler())
        await server.until(1)
        await turns(20)
        # One call for each of them, and one for the handshake.
        assert server.receives == taken + 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# Rate


@pytest.mark.parametrize("way", WAYS)
async def test_one_message_too_many_closes(way):
    server = Server("/view/")
    server.say("1", "2", "3", "4")
    await run(ways(limits(message_rate=(3, LONG)))[way], server)
    assert (server.messages, server.closed) == (["1", "2", "3"], 1008)
    assert server.sent[-1]["reason"] == "expected at most 3 messages in 3600 s"


async def test_the_rate_may_be_a_setting():
    server = Server("/view/")
    server.say("1", "2", "3")
    with override_settings(PISTOKE_MESSAGE_RATE=(2, LONG)):
        await run(echo, server)
    assert (server.messages, server.closed) == (["1", "2"], 1008)


@pytest.mark.parametrize("rate, expected", [(None, None), ((3, LONG), 1008)])
async def test_a_view_overrides_the_setting(rate, expected):
    server = Server("/view/")
    server.say("1", "2", "3", "4")
    server.leave()
    with override_settings(PISTOKE_MESSAGE_RATE=(1, LONG)):
        await run(limits(message_rate=rate)(echo), server)
    assert server.closed == expected and server.messages[:3] == ["1", "2", "3"]


async def test_the_outermost_has_its_way():
    view = limits(message_rate=(2, LONG))(limits(message_rate=(1, LONG), max_message_size=1)(echo))
    server = Server("/view/")
    server.say("1", "2", "3")
    await run(view, server)
    assert (server.messages, server.closed) == (["1", "2"], 1008)
    server = Server("/view/")
    server.say("12")
    await run(view, server)
    assert server.closed == 1009


async def test_what_is_hidden_is_in_force_once_it_is_called():
    server = Server("/view/")
    server.say("1", "2", "3")
    await run(hidden(limits(message_rate=(2, LONG))(echo)), server)
    assert (server.messages, server.closed) == (["1", "2"], 1008)


async def test_what_is_seen_first_overrides_what_is_hidden():
    server = Server("/view/")
    server.say("1", "2", "3", "4")
    with override_settings(PISTOKE_MAX_SOCKETS=1):
        await run(limits(message_rate=(3, LONG))(hidden(limits(message_rate=(2, LONG), idle_timeout=9)(echo))), server)
    assert (server.messages, server.closed) == (["1", "2", "3"], 1008)


async def test_the_view_learns_of_it_from_receive_and_from_send():
    codes = []

    @limits(message_rate=(1, LONG))
    async def view(request):
        await request.receive()
        with pytest.raises(ClientDisconnected) as caught:
            await request.receive()
        codes.append(caught.value.code)
        with pytest.raises(ConnectionClosed) as caught:
            await request.send("x")
        codes.append(caught.value.code)
        await request.close()

    server = Server("/view/")
    server.say("1", "2")
    await run(view, server)
    assert codes == [1008, 1008]
    assert server.types == ["accept", "close"]


@pytest.mark.parametrize("granian", [False, True])
async def test_a_view_that_does_not_read_is_cancelled(granian):
    ends = Ends(sleep)
    server = Server("/view/")
    server.say("1", "2", "3")
    with urls(view=limits(message_rate=(2, LONG))(ends.decorated)):
        receive = Granian(server).receive if granian else server.receive
        await asyncio.wait_for(WebsocketHandler()(server.scope, receive, server.send), 5)
    assert server.closed == 1008
    assert [type(exc) for exc in ends.outcomes] == [asyncio.CancelledError]


async def test_what_came_before_is_still_read():
    read = []

    @limits(message_rate=(3, LONG))
    async def view(request):
        read.append(await request.receive())
        await turns(20)
        async for message in request:
            read.append(message)

    server = Server("/view/")
    server.say("1", "2", "3", "4", "5")
    await run(view, server)
    assert (read, server.closed) == (["1", "2", "3"], 1008)


async def test_several_readers_all_learn_of_it():
    outcomes = []

    @limits(message_rate=(1, LONG))
    async def view(request):
        outcomes.extend(await asyncio.gather(*[request.receive() for _ in range(3)], return_exceptions=True))

    server = Server("/view/")
    server.say("1", "2")
    await run(view, server)
    assert server.closed == 1008
    assert "1" in outcomes and len(outcomes) == 3


async def test_a_raw_view_is_told():
    codes = []

    @limits(message_rate=(1, LONG))
    @RawWebsocketProtocol
    async def view(request):
        await request.receive()
        await request.send({"type": "websocket.accept"})
        await request.receive()
        codes.append((await request.receive())["code"])

    server = Server("/view/")
    server.say("1", "2")
    await run(view, server)
    assert (codes, server.closed) == ([1008], 1008)


async def test_what_hides_in_a_raw_protocol_is_in_force():
    @RawWebsocketProtocol
    @hidden
    @limits(message_rate=(1, LONG))
    async def view(request):
        await request.receive()
        await request.send({"type": "websocket.accept"})
        await request.receive()
        assert (await request.receive())["type"] == "websocket.disconnect"

    server = Server("/view/")
    server.say("1", "2")
    await run(view, server)
    assert server.closed == 1008


async def test_too_much_before_the_accept_refuses():
    @limits(message_rate=(1, LONG))
    @RawWebsocketProtocol
    async def view(request):
        while (await request.receive())["type"] != "websocket.disconnect":
            pass

    server = Server("/view/")
    server.say("1", "2")
    await run(view, server)
    assert server.types == ["close"]


async def test_a_cancelled_wait_for_a_message_is_no_end():
    @limits(message_rate=(2, LONG), idle_timeout=LONG)
    async def view(request):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(request.receive(), 0.01)
        server.say("1", "2", "3")
        await echo(request)

    server = Server("/view/")
    await run(view, server)
    assert (server.messages, server.closed) == (["1", "2"], 1008)


async def test_the_client_that_leaves_is_no_offender():
    server = Server("/view/")
    server.say("1", "2")
    server.leave()
    await run(limits(message_rate=(2, LONG))(echo), server)
    assert (server.messages, server.closed) == (["1", "2"], None)


@pytest.mark.parametrize("close", ["raises", "hangs"])
async def test_a_close_that_fails_hinders_nobody(close, monkeypatch):
    monkeypatch.setattr(watch, "CLOSE_SECONDS", SOON)

    async def fault(server, kind):
        if kind == "send" and server.attempted[-1]["type"] == "websocket.close":
            if close == "raises":
                raise RuntimeError("no")
            await asyncio.sleep(LONG)

    server = FaultyServer("/view/")
    server._call = functools.partial(fault, server)
    server.say("1", "2")
    await run(limits(message_rate=(1, LONG))(echo), server, patience=5)
    assert server.messages == ["1"] and server.attempted[-1]["code"] == 1008


async def test_a_shutdown_does_not_wait_for_the_close():
    async def call(kind):
        if kind == "send" and server.attempted[-1]["type"] == "websocket.close":
            closing.set_result(None)
            await asyncio.sleep(LONG)

    closing = asyncio.get_event_loop().create_future()
    server = FaultyServer("/view/")
    server._call = call
    server.say("1", "2")
    with urls(view=limits(message_rate=(1, LONG))(echo)):
        task = server.start(WebsocketHandler())
        await asyncio.wait_for(closing, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)
        await turns(2)


async def test_it_is_told_in_the_log_but_not_as_an_error(caplog):
    caplog.set_level(logging.INFO)
    server = Server("/view/")
    server.say("1", "2")
    await run(limits(message_rate=(1, LONG))(echo), server)
    record, = caplog.records
    assert (record.levelname, record.name) == ("INFO", "pistoke")
    assert record.getMessage() == "/view/ is closed with 1008: expected at most 1 messages in 3600 s"


Step = namedtuple("Step", "unread waited allowed")


@pytest.mark.parametrize(
    "steps",
    [
        # At once as many as there may be.
        [Step(0, 0, True), Step(0, 0, True), Step(0, 0, False)],
        # One comes due every five seconds.
        [Step(0, 0, True), Step(0, 0, True), Step(0, 5, True), Step(0, 4, False)],
        # There are never more at once.
        [Step(0, 1000, True), Step(0, 0, True), Step(0, 0, False)],
        # What has piled up while nobody read was due.
        [Step(20, 0, True)] + [Step(0, 0, True)] * 5 + [Step(0, 0, False)],
        # But not for ever.
        [Step(20, 20, True), Step(0, 0, True), Step(0, 0, False)],
        [Step(20, 10, True), Step(0, 0, True), Step(0, 0, True), Step(0, 0, True), Step(0, 0, False)],
    ],
)
def test_bucket_of_two_messages_in_ten_seconds(steps):
    now = 1000
    bucket = Bucket(2, 10, now)
    for step in steps:
        now += step.unread
        bucket.wait(now)
        now += step.waited
        assert bucket.take(now) is step.allowed, step


# Slow readers


async def flood(request):
    while True:
        await request.send("x")


async def stalled(view, **limit):
    """Run a view whose client reads nothing after the accept; return the server."""
    server = Server("/view/")
    with urls(view=limits(**limit)(view)), mock.patch.object(watch, "CLOSE_SECONDS", SOON):
        task = server.start(WebsocketHandler())
        await server.until(1)
        server.hold()
        await asyncio.wait_for(task, 10)
    return server


async def test_a_client_that_does_not_read_is_closed():
    ends = Ends(flood)
    await stalled(ends.decorated, send_timeout=SOON)
    exc, = ends.outcomes
    assert type(exc) is ConnectionClosed
    assert (exc.code, exc.reason) == (1008, "expected what is sent to be read within 0.05 s")


async def test_the_time_may_be_a_setting():
    ends = Ends(flood)
    with override_settings(PISTOKE_SEND_TIMEOUT=SOON):
        await stalled(ends.decorated)
    assert [exc.code for exc in ends.outcomes] == [1008]


async def test_the_close_frame_is_sent_where_it_passes():
    async def view(request):
        await request.send("a")
        server.hold()
        with pytest.raises(ConnectionClosed):
            await request.send("b")
        server.release()

    server = Server("/view/")
    await run(limits(send_timeout=SOON)(view), server)
    assert (server.messages, server.closed) == (["a"], 1008)


async def test_all_tasks_that_send_learn_of_it():
    codes = []

    async def view(request):
        async def sender():
            with pytest.raises(ConnectionClosed) as caught:
                await flood(request)
            codes.append(caught.value.code)

        await request.send("a")
        server.hold()
        await asyncio.gather(sender(), sender(), sender())
        server.release()

    server = Server("/view/")
    await run(limits(send_timeout=SOON)(view), server)
    assert codes == [1008] * 3


async def test_a_view_that_reads_meanwhile_learns_of_it():
    outcomes = []

    @limits(send_timeout=SOON)
    async def view(request):
        await request.send("a")
        server.hold()
        sending = asyncio.ensure_future(request.send("b"))
        try:
            await request.receive()
        except ClientDisconnected as exc:
            outcomes.append(exc.code)
        with pytest.raises(ConnectionClosed):
            await sending

    server = Server("/view/")
    with mock.patch.object(watch, "CLOSE_SECONDS", SOON):
        await run(view, server)
    assert outcomes == [1008]


async def test_a_view_that_waits_for_something_else_is_ended():
    ends = Ends(sleep)

    async def view(request):
        await request.send("a")
        server.hold()
        sending = asyncio.ensure_future(request.send("b"))
        try:
            await ends.decorated(request)
        finally:
            await asyncio.wait([sending])
            assert type(sending.exception()) is ConnectionClosed

    server = Server("/view/")
    with mock.patch.object(watch, "CLOSE_SECONDS", SOON):
        await run(limits(send_timeout=SOON)(view), server)
    assert [type(exc) for exc in ends.outcomes] == [asyncio.CancelledError]


async def test_progress_is_enough():
    async def view(request):
        for number in range(4):
            await request.send(str(number))

    server = Server("/view/")
    with urls(view=limits(send_timeout=0.2)(view)):
        task = server.start(WebsocketHandler())
        for count in range(1, 5):
            await server.until(count)
            server.hold()
            await asyncio.sleep(0.1)
            server.release()
        await asyncio.wait_for(task, 10)
    assert server.messages == ["0", "1", "2", "3"] and server.closed == 1000


async def test_a_view_that_is_cancelled_while_it_sends_is_not_held_up():
    ends = Ends(flood)
    server = Server("/view/")
    with urls(view=limits(send_timeout=LONG)(ends.decorated)):
        task = server.start(WebsocketHandler())
        await server.until(1)
        server.hold()
        await turns(3)
        task.cancel()
        await turns(3)
        server.release()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
    assert [type(exc) for exc in ends.outcomes] == [asyncio.CancelledError]
    assert server.closed == 1012


async def test_a_time_out_of_the_view_is_the_views():
    async def view(request):
        await request.send("a")
        server.hold()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(request.send("b"), SOON)
        server.release()
        await request.send("c")

    server = Server("/view/")
    await run(limits(send_timeout=LONG)(view), server)
    assert (server.messages, server.closed) == (["a", "c"], 1000)


async def test_a_client_that_leaves_while_it_is_slow_has_left():
    ends = Ends(flood)
    server = Server("/view/")
    with urls(view=limits(send_timeout=LONG)(ends.decorated)):
        task = server.start(WebsocketHandler())
        await server.until(1)
        server.hold()
        await turns(3)
        server.send_failure = OSError("gone")
        server.release()
        await asyncio.wait_for(task, 10)
    assert [exc.code for exc in ends.outcomes] == [1006]


async def test_a_close_that_does_not_pass_holds_nobody_up():
    async def view(request):
        await request.send("a")
        server.hold()

    server = Server("/view/")
    await run(limits(send_timeout=SOON)(view), server, patience=5)
    assert server.types == ["accept", "send"]


@pytest.mark.parametrize("ends", [False, True])
async def test_a_server_that_lets_us_hangs_up_on_a_client_that_reads_nothing(ends):
    @limits(send_timeout=SOON)
    async def view(request):
        await request.send("a")
        server.hold()
        if not ends:
            await flood(request)

    server = Server("/view/")
    server.transport = mock.Mock()
    with mock.patch.object(watch, "CLOSE_SECONDS", SOON):
        await run(view, server, patience=5)
    server.transport.abort.assert_called_once_with()


@pytest.mark.parametrize("view, limit", [(sleep, {"idle_timeout": SOON}), (echo, {"message_rate": (1, LONG)})])
async def test_nobody_is_hung_up_on_for_another_reason(view, limit):
    server = Server("/view/")
    server.transport = mock.Mock()
    server.say("1", "2")
    with urls(view=limits(**limit)(view)), mock.patch.object(watch, "CLOSE_SECONDS", SOON):
        task = server.start(WebsocketHandler())
        await server.until(1)
        server.hold()
        await asyncio.wait_for(task, 5)
    assert not server.transport.abort.called


async def test_what_the_client_said_before_is_still_read():
    read = []

    async def view(request):
        await request.send("a")
        server.hold()
        with pytest.raises(ConnectionClosed):
            await request.send("b")
        async for message in request:
            read.append(message)
        server.release()

    server = Server("/view/")
    server.say("1", "2")
    await run(limits(send_timeout=SOON)(view), server)
    assert read == ["1", "2"]


# Idle


@pytest.mark.parametrize("way", WAYS)
async def test_an_idle_socket_is_closed(way):
    server = Server("/view/")
    server.say("a")
    await run(ways(limits(idle_timeout=SOON))[way], server)
    assert (server.messages, server.closed) == (["a"], 1001)
    assert server.sent[-1]["reason"] == "expected a message within 0.05 s"


async def test_the_idle_time_may_be_a_setting():
    server = Server("/view/")
    with override_settings(PISTOKE_IDLE_TIMEOUT=SOON):
        await run(echo, server)
    assert server.closed == 1001


@pytest.mark.parametrize("granian", [False, True])
@pytest.mark.parametrize("view, outcome", [(sleep, asyncio.CancelledError), (echo, type(None))])
async def test_the_view_of_an_idle_socket_ends_at_once(view, outcome, granian):
    ends = Ends(view)
    server = Server("/view/")
    with urls(view=limits(idle_timeout=SOON)(ends.decorated)):
        receive = Granian(server).receive if granian else server.receive
        await asyncio.wait_for(WebsocketHandler()(server.scope, receive, server.send), 5)
    assert server.closed == 1001
    assert [type(exc) for exc in ends.outcomes] == [outcome]


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_messages_either_way_keep_it_open(direction):
    @limits(idle_timeout=0.2)
    async def view(request):
        for _ in range(4):
            if direction == "in":
                server.say("x")
            else:
                await request.send("x")
            await asyncio.sleep(0.1)

    server = Server("/view/")
    await run(view, server)
    assert server.closed == 1000


async def test_a_handshake_that_takes_long_is_not_idle():
    @limits(idle_timeout=SOON)
    @WebsocketProtocol
    async def view(request):
        await echo(request)

    def slow(view):
        @functools.wraps(view)
        async def decorated(request):
            await asyncio.sleep(4 * SOON)
            server.say("a")
            return await view(request)

        return decorated

    server = Server("/view/")
    await run(slow(view), server)
    assert (server.messages, server.closed) == (["a"], 1001)


async def test_a_view_that_waits_behind_its_own_bound_is_ended():
    ends = Ends(sleep)
    server = Server("/view/")
    server.say("1", "2")
    await run(limits(idle_timeout=SOON, inbound_messages=1)(ends.decorated), server)
    assert server.closed == 1001
    assert [type(exc) for exc in ends.outcomes] == [asyncio.CancelledError]


async def test_no_timer_is_left():
    loop = asyncio.get_event_loop()
    with mock.patch.object(loop, "call_at", wraps=loop.call_at) as call_at:
        server = Server("/view/")
        server.say(*"abcdefgh")
        server.leave()
        await run(limits(idle_timeout=LONG, send_timeout=LONG)(echo), server)
    # One each, however many messages; wait_for has others.
    ours = [call for call in call_at.mock_calls if getattr(call[1][1], "__name__", None) == "_look"]
    assert len(ours) == 2
    assert not [timer for timer in loop._scheduled if "_look" in repr(timer) and not timer.cancelled()]


async def test_a_stopwatch_that_stands_still_sets_no_timer():
    calls = []
    stopwatch = Stopwatch(SOON, lambda: calls.append(True))
    stopwatch.start()
    stopwatch.stop()
    await asyncio.sleep(2 * SOON)
    assert stopwatch._timer is None and not calls
    stopwatch.start()
    await asyncio.sleep(2 * SOON)
    assert stopwatch._timer is None and calls == [True]
    stopwatch.discard()


# Open sockets


async def waiting(server, view, **scope):
    """Start a view that waits for its client; return its task."""
    task = server.start(view)
    await server.until(1)
    return task


async def ended(server, task):
    """Let the client of a server leave; wait for the end of its view."""
    server.leave()
    await asyncio.wait_for(task, 10)


async def refused(application, **scope):
    """Ask for one socket more; return what was answered, after seeing that it is a refusal."""
    server = Server("/view/", **scope)
    await asyncio.wait_for(server.start(application), 10)
    assert server.status == 503
    return server


@pytest.mark.parametrize("way", WAYS)
async def test_one_socket_too_many_is_refused(way):
    view = ways(limits(max_sockets=2))[way]
    # What the automatic protocol opens at its first suspension, an explicit one at once.
    with urls(view=view, other=echo):
        application = WebsocketHandler()
        servers = [Server("/view/"), Server("/view/")]
        tasks = [await waiting(server, application) for server in servers]
        server = await refused(application)
        headers = dict(server.sent[0]["headers"])
        assert headers[b"retry-after"] == b"10"
        assert server.types == ["http.response.start", "http.response.body"]
        # Another view has room.
        other = Server("/other/")
        await ended(other, await waiting(other, application))
        await ended(servers[0], tasks[0])
        # There is room again, for one.
        servers[0] = Server("/view/")
        tasks[0] = await waiting(servers[0], application)
        await refused(application)
        for server, task in zip(servers, tasks):
            await ended(server, task)


async def test_the_setting_counts_all():
    with urls(view=echo, free=limits(max_sockets=None)(echo), own=limits(max_sockets=1)(echo)):
        with override_settings(PISTOKE_MAX_SOCKETS=2):
            application = WebsocketHandler()
            servers = [Server("/view/"), Server("/free/"), Server("/free/"), Server("/own/")]
            tasks = [await waiting(server, application) for server in servers]
            await refused(application)
            await ended(servers[1], tasks[1])
            await ended(servers[2], tasks[2])
            # That of the view that has no bound, and that of one with a bound of its own, count all the same.
            await refused(application)
            await ended(servers[3], tasks[3])
            other = Server("/view/")
            task = await waiting(other, application)
            await ended(other, task)
            await ended(servers[0], tasks[0])


async def test_a_server_that_cannot_say_503_says_403():
    with urls(view=limits(max_sockets=1)(echo)):
        application = WebsocketHandler()
        first = Server("/view/")
        task = await waiting(first, application)
        second = Server("/view/", extensions={})
        await second.run(application)
        assert second.types == ["close"]
        await ended(first, task)


async def test_a_refusal_is_logged_as_a_warning(caplog):
    with urls(view=limits(max_sockets=1)(echo)):
        application = WebsocketHandler()
        first = Server("/view/")
        task = await waiting(first, application)
        await refused(application)
        await ended(first, task)
    record, = caplog.records
    assert (record.levelname, record.name, record.status_code) == ("WARNING", "django.request", 503)
    assert record.getMessage() == "Service Unavailable (too many open sockets): /view/"


def called_within(decorator, protocol):
    """Return a view that decorates at each call, seen by nobody; ``protocol`` is around the inner view."""
    inner = protocol(echo)

    @functools.wraps(inner)
    async def view(request):
        return await decorator(inner)(request)

    return view


def plain(view):
    return view


@pytest.mark.parametrize(
    "view, status, closed",
    [
        (hidden(limits(max_sockets=1)(echo)), None, 4503),
        (hidden(limits(max_sockets=1)(WebsocketProtocol(echo))), None, 4503),
        (WebsocketProtocol(hidden(limits(max_sockets=1)(echo))), None, 4503),
        (called_within(limits(max_sockets=1), plain), None, 4503),
        (called_within(limits(max_sockets=1), WebsocketProtocol), 503, None),
    ],
    ids=["alone", "protocol hidden too", "inside of a protocol", "at the call", "at the call, outside of a protocol"],
)
async def test_what_is_hidden_refuses_as_its_place_allows(view, status, closed, caplog):
    with urls(view=view):
        application = WebsocketHandler()
        first = Server("/view/")
        task = await waiting(first, application)
        second = Server("/view/")
        await second.run(application)
        assert (second.status, second.closed) == (status, closed)
        await ended(first, task)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# Every way for a socket to end gives its place back: the fixture of this module looks.


async def fails(request):
    raise ValueError("broken")


async def forbids(request):
    return HttpResponse(status=403)


@pytest.mark.parametrize("view", [fails, forbids, WebsocketProtocol(fails), WebsocketProtocol(forbids)])
async def test_a_view_that_ends_gives_its_place_back(view, caplog):
    view = limits(max_sockets=1)(view)
    for _ in range(2):
        server = Server("/view/")
        await run(view, server)
        assert server.status is None and server.closed in (1011, 4403)


async def test_a_view_that_is_refused_outside_of_its_protocol_gives_its_place_back():
    def nobody(view):
        return functools.wraps(view)(lambda request: HttpResponse(status=403))

    for _ in range(2):
        server = Server("/view/")
        await run(nobody(limits(max_sockets=1)(WebsocketProtocol(echo))), server)
        assert server.status != 503 and server.types == ["close"]


@pytest.mark.parametrize("at", range(1, 8))
@pytest.mark.parametrize("kind", ["cancelled", "send fails"])
async def test_a_handshake_that_fails_gives_its_place_back(at, kind):
    view = limits(max_sockets=1, max_sockets_per_session=1, idle_timeout=LONG)(WebsocketProtocol(echo))
    with urls(view=view):
        server = Server("/view/")
        if kind == "send fails":
            server.send_failure = OSError("gone")
        else:
            server.hold()
        task = server.start(WebsocketHandler())
        await turns(at)
        task.cancel()
        await turns(2)
        server.release()
        with pytest.raises(asyncio.CancelledError):
            await task
            raise asyncio.CancelledError
        assert census.open == {}


async def test_a_client_that_left_during_the_handshake_gives_its_place_back():
    server = Server("/view/")
    server.leave()
    server.send_failure = OSError("gone")
    await run(limits(max_sockets=1)(echo), server)
    assert server.sent == []


# Sessions


@pytest.fixture
def signed_in():
    """Return a function that makes the cookie header of a session."""
    from django.contrib.sessions.backends.cache import SessionStore

    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        yield functools.partial(session_cookie, SessionStore)


def session_cookie(store):
    session = store()
    session["visits"] = 1
    session.save()
    return [("cookie", "sessionid=" + session.session_key)]


@pytest.mark.parametrize("by", ["decorator", "setting"])
async def test_each_session_has_its_own_count(by, signed_in):
    view = limits(max_sockets_per_session=2)(echo) if by == "decorator" else echo
    setting = {} if by == "decorator" else {"PISTOKE_MAX_SOCKETS_PER_SESSION": 2}
    first, second = signed_in(), signed_in()
    with urls(view=view), override_settings(**setting):
        application = WebsocketHandler()
        servers = [Server("/view/", headers=headers) for headers in (first, first, second, second, (), (), ())]
        tasks = [await waiting(server, application) for server in servers]
        await refused(application, headers=first)
        await refused(application, headers=second)
        await ended(servers[0], tasks[0])
        await refused(application, headers=second)
        servers[0] = Server("/view/", headers=first)
        tasks[0] = await waiting(servers[0], application)
        # No key of a session is kept.
        assert first[0][1].partition("=")[2] not in repr(census.open)
        for server, task in zip(servers, tasks):
            await ended(server, task)


async def test_a_cookie_of_no_session_is_not_counted(signed_in):
    with urls(view=limits(max_sockets_per_session=1)(echo)):
        application = WebsocketHandler()
        servers = [Server("/view/", headers=[("cookie", "sessionid=" + "a" * 32)]) for _ in range(2)]
        tasks = [await waiting(server, application) for server in servers]
        for server, task in zip(servers, tasks):
            await ended(server, task)


async def test_a_session_that_is_refused_takes_no_place_in_all(signed_in):
    cookie = signed_in()
    with urls(view=limits(max_sockets_per_session=1, max_sockets=2)(echo)):
        application = WebsocketHandler()
        first, other = Server("/view/", headers=cookie), Server("/view/")
        tasks = [await waiting(first, application)]
        await refused(application, headers=cookie)
        tasks.append(await waiting(other, application))
        await ended(first, tasks[0])
        await ended(other, tasks[1])


def test_census():
    counted = Census()
    assert counted.enter({"a": 1, "b": None})
    assert not counted.enter({"b": None, "a": 1})
    assert counted.open == {"a": 1, "b": 1}
    assert counted.enter({"b": 2})
    counted.leave(["a", "b"])
    counted.leave(["b"])
    assert counted.open == {}


# Mistakes


@pytest.mark.parametrize(
    "name, value",
    [
        ("max_message_size", 0),
        ("inbound_messages", None),
        ("inbound_bytes", "1M"),
        ("message_rate", 10),
        ("message_rate", (10,)),
        ("message_rate", (0, 1)),
        ("message_rate", (1, 0)),
        ("message_rate", "10/s"),
        ("send_timeout", 0),
        ("send_timeout", -1),
        ("send_timeout", float("nan")),
        ("idle_timeout", "60"),
        ("idle_timeout", True),
        ("idle_timeout", float("inf")),
        ("max_sockets", 0),
        ("max_sockets", -1),
        ("max_sockets_per_session", 1.5),
    ],
)
def test_nonsense_is_refused_at_the_decoration(name, value):
    with pytest.raises(ValueError, match="^expected {} as a .*, got ".format(name)):
        limits(**{name: value})


def test_an_unknown_limit_is_refused():
    with pytest.raises(TypeError, match="expected one of the limits max_message_size, .*, got 'max_socket'"):
        limits(max_socket=1)


def test_every_limit_is_a_setting():
    from pistoke.conf import DEFAULTS

    assert {"PISTOKE_" + name.upper() for name in module.LIMITS} <= set(DEFAULTS)


@pytest.mark.parametrize("way", ["function", "outside of a protocol", "dispatch", "the function of a class"])
def test_http_is_let_alone(way, rf):
    view = ways(limits(max_sockets=1))[way]
    response = view(rf.get("/"))
    if asyncio.iscoroutine(response):
        response.close()
    else:
        assert response.status_code == 405
