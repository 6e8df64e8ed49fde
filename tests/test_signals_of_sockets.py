"""The signals of sockets: each handshake and each message told once, whatever happens."""
import asyncio

import pytest
from django.contrib.auth.decorators import user_passes_test

from pistoke import signals
from pistoke.decorators import limits
from pistoke.exceptions import ClientDisconnected
from pistoke.handler import WebsocketHandler
from pistoke.protocol import RawWebsocketProtocol, WebsocketProtocol, WebsocketSubprotocol
from pistoke.pubsub import apublish
from pistoke.watch import abort

from .asgi import Server, urls

NAMES = ("websocket_opened", "websocket_refused", "websocket_closed", "message_received", "message_sent")


@pytest.fixture
def told():
    """Return a list of what is told: the name of a signal, and its arguments."""
    heard = []

    def listener(name):
        def receiver(sender, signal, **arguments):
            assert sender is WebsocketHandler
            heard.append((name, arguments))

        return receiver

    listeners = {name: listener(name) for name in NAMES}
    for name in NAMES:
        getattr(signals, name).connect(listeners[name])
    yield heard
    for name in NAMES:
        getattr(signals, name).disconnect(listeners[name])
    assert not signals.somebody_listens()


def names(told):
    return [name for name, arguments in told]


async def ends(request):
    """Return when the client leaves."""
    with pytest.raises(ClientDisconnected):
        await request.receive()


async def echo(request):
    async for message in request:
        await request.send(message)


async def test_socket_is_told_from_its_opening_to_its_end(told):
    server = Server("/echo/")
    server.say("hei", "päivää", b"\x00")
    server.leave(1001, reason="bye")
    with urls(echo=echo):
        await server.run(WebsocketHandler())
    assert names(told) == ["websocket_opened"] + ["message_received", "message_sent"] * 3 + ["websocket_closed"]
    assert {arguments["request"].resolver_match.route for name, arguments in told} == {"echo/"}
    assert [(arguments["message"], arguments["size"]) for name, arguments in told if name == "message_sent"] == [
        ("hei", 3), ("päivää", 9), (b"\x00", 1)
    ]
    opened, closed = told[0][1], told[-1][1]
    assert opened["subprotocol"] is None and 0 <= opened["seconds"] < 10
    assert (closed["code"], closed["reason"], closed["by_client"]) == (1001, "bye", True)
    assert 0 <= closed["seconds"] < 10


async def test_subprotocol_is_told(told):
    server = Server("/echo/", subprotocols=["v1"])
    server.leave()
    with urls(echo=WebsocketSubprotocol("v1")(echo)):
        await server.run(WebsocketHandler())
    assert told[0][1]["subprotocol"] == "v1"


async def returns(request):
    await request.send("1")


async def raises(request):
    await request.send("1")
    raise ValueError


@pytest.mark.parametrize("view, code", [(returns, 1000), (raises, 1011)])
async def test_end_by_the_view_is_not_by_the_client(told, view, code):
    with urls(view=view):
        await Server("/view/").run(WebsocketHandler())
    assert names(told) == ["websocket_opened", "message_sent", "websocket_closed"]
    assert (told[-1][1]["code"], told[-1][1]["by_client"]) == (code, False)


@user_passes_test(lambda user: False)
@WebsocketProtocol
async def refuses(request):
    raise AssertionError("not reached")


@pytest.mark.parametrize(
    "path, headers, extensions, status, route",
    [
        ("/nowhere/", (), {"websocket.http.response": {}}, 404, None),
        # Daphne can say nothing else.
        ("/nowhere/", (), {}, 403, None),
        ("/view/", [("origin", "https://elsewhere.example")], {}, 403, "view/"),
        ("/view/", (), {"websocket.http.response": {}}, 403, "view/"),
    ],
)
async def test_refusal_is_told_with_its_status(told, path, headers, extensions, status, route):
    with urls(view=refuses):
        await Server(path, headers, extensions=extensions).run(WebsocketHandler())
    (name, arguments), = told
    assert (name, arguments["status"]) == ("websocket_refused", status)
    assert getattr(arguments["request"].resolver_match, "route", None) == route


async def test_path_that_cannot_be_read_has_no_request():
    class Unreadable(WebsocketHandler):
        @staticmethod
        def request_class(scope, socket):
            return str(b"\xff", "utf-8")

    heard = []

    def receiver(sender, signal, **arguments):
        heard.append((sender, arguments["request"], arguments["status"]))

    signals.websocket_refused.connect(receiver)
    try:
        await Server("/").run(Unreadable())
    finally:
        signals.websocket_refused.disconnect(receiver)
    assert heard == [(Unreadable, None, 400)]


async def test_client_that_leaves_before_the_answer_is_told_without_a_status(told):
    @WebsocketProtocol
    async def view(request):
        raise AssertionError("not reached")

    server = Server("/view/")
    server.send_failure = OSError()
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert names(told) == ["websocket_refused"]
    assert told[0][1]["status"] is None


async def test_socket_that_is_cancelled_is_told_once(told):
    server = Server("/echo/")
    server.say("1")
    with urls(echo=echo):
        task = server.start(WebsocketHandler())
        await server.until(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert names(told)[-1:] == ["websocket_closed"] and names(told).count("websocket_closed") == 1
    assert (told[-1][1]["code"], told[-1][1]["by_client"]) == (1012, False)


async def test_accept_that_is_cancelled_has_opened_the_socket(told):
    async def view(request):
        try:
            await asyncio.wait_for(request.receive(), 0.05)
        except asyncio.TimeoutError:
            server.release()

    server = Server("/view/")
    server.hold()
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert names(told)[0] == "websocket_opened"
    assert names(told)[-1] == "websocket_closed"


async def test_view_that_never_reads_and_is_cancelled_is_told(told):
    @WebsocketProtocol
    async def view(request):
        await asyncio.sleep(60)

    server = Server("/view/")
    server.leave(1001)
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert names(told) == ["websocket_opened", "websocket_closed"]
    assert (told[-1][1]["code"], told[-1][1]["by_client"]) == (1001, True)


async def test_raw_view_is_told_too(told):
    @RawWebsocketProtocol
    async def view(request):
        assert (await request.receive())["type"] == "websocket.connect"
        await request.send({"type": "websocket.accept"})
        event = await request.receive()
        await request.send({"type": "websocket.send", "text": event["text"]})
        await request.send({"type": "websocket.close", "code": 4001})

    server = Server("/view/")
    server.say("hei")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert names(told) == ["websocket_opened", "message_received", "message_sent", "websocket_closed"]
    assert (told[-1][1]["code"], told[-1][1]["by_client"]) == (4001, False)


async def test_messages_of_topics_are_told(told):
    async def view(request):
        async with request.follow("signals.room"):
            await apublish("signals.room", "to all")
            await ends(request)

    server = Server("/view/")
    with urls(view=view):
        task = server.start(WebsocketHandler())
        await server.until(2)
        server.leave()
        await task
    assert names(told) == ["websocket_opened", "message_sent", "websocket_closed"]
    assert told[1][1]["message"] == "to all"


async def test_message_that_nobody_took_is_not_told(told):
    async def view(request):
        await request.receive()
        server.send_failure = OSError()
        with pytest.raises(ConnectionError):
            await request.send("lost")

    server = Server("/view/")
    server.say("1")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert "message_sent" not in names(told)


async def test_socket_that_a_limit_ends_was_not_closed_by_its_client(told):
    server = Server("/echo/")
    server.say("1", "2", "3")
    with urls(echo=limits(message_rate=(2, 60))(echo)):
        await server.run(WebsocketHandler())
    assert names(told).count("message_received") == 3
    assert (told[-1][1]["code"], told[-1][1]["by_client"]) == (1008, False)


async def test_socket_too_many_is_refused(told):
    first, second = Server("/echo/"), Server("/echo/")
    with urls(echo=limits(max_sockets=1)(echo)):
        handler = WebsocketHandler()
        first.say("1")
        task = first.start(handler)
        await first.until(2)
        await second.run(handler)
        first.leave()
        await task
    assert [arguments["status"] for name, arguments in told if name == "websocket_refused"] == [503]


async def test_receivers_that_raise_are_logged_and_harm_nothing(told, caplog):
    def broken(**kwargs):
        raise ValueError("broken receiver")

    for name in NAMES:
        getattr(signals, name).connect(broken)
    server = Server("/echo/")
    server.say("hei")
    server.leave()
    try:
        with urls(echo=echo):
            await server.run(WebsocketHandler())
    finally:
        for name in NAMES:
            getattr(signals, name).disconnect(broken)
    assert server.messages == ["hei"]
    assert names(told) == ["websocket_opened", "message_received", "message_sent", "websocket_closed"]
    assert [record.name for record in caplog.records if "broken" in record.getMessage()] == ["django.dispatch"] * 4


def test_receivers_are_plain_functions():
    async def receiver(**kwargs):
        pass

    with pytest.raises(TypeError, match="expected a plain function as a receiver, got .*receiver"):
        signals.websocket_opened.connect(receiver)


async def test_nothing_is_wrapped_where_nobody_listens():
    async def view(request):
        seen.append((request._socket.observer, request._socket._asgi_receive, request._socket._asgi_send))
        await ends(request)

    seen = []
    server = Server("/view/")
    server.leave()
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert seen == [(None, server.receive, server.send)]


async def test_messages_pass_unwrapped_where_nobody_counts_them():
    async def view(request):
        seen.append((request._socket._asgi_receive, request._socket._asgi_send))
        await ends(request)

    def receiver(**arguments):
        seen.append(arguments["code"])

    seen = []
    server = Server("/view/")
    server.leave(1001)
    signals.websocket_closed.connect(receiver)
    try:
        with urls(view=view):
            await server.run(WebsocketHandler())
    finally:
        signals.websocket_closed.disconnect(receiver)
    assert seen == [(server.receive, server.send), 1001]


def test_client_that_does_not_read_is_hung_up_on_under_any_wrapping():
    from pistoke.inbound import Wrapped

    class Protocol:
        aborted = False

        class transport:
            @staticmethod
            def abort():
                Protocol.aborted = True

        def send(self, event):
            pass

    abort(Wrapped(Protocol().send, lambda send, event: send(event)))
    assert Protocol.aborted
