"""Protocols: how they are applied, what they open, what they make of messages, how they close."""
import asyncio
import datetime
import functools
import json

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator

from pistoke._compat import BadRequest
from pistoke.decoration import PlaceholderResponse
from pistoke.decorators import json_messages
from pistoke.exceptions import HandshakeError
from pistoke.handler import WebsocketHandler
from pistoke.protocol import (
    RawWebsocketProtocol,
    WebsocketJSONProtocol,
    WebsocketProtocol,
    WebsocketSubprotocol,
    check_subprotocols,
    close_code_for_exception,
    close_code_for_response,
    json_codec,
)
from pistoke.views import WebsocketView

from .asgi import Server, urls


async def echo(request):
    async for message in request:
        await request.send(message)


async def exchange(view, *messages, **kwargs):
    """Run a view whose client says all of ``messages`` and leaves; return the server."""
    server = Server("/view/", **kwargs)
    server.say(*messages)
    server.leave()
    with urls(view=view):
        await server.run(WebsocketHandler())
    return server


async def answer(view, *messages, **kwargs):
    """Run a view that ends by itself; return the server."""
    server = Server("/view/", **kwargs)
    server.say(*messages)
    with urls(view=view):
        await server.run(WebsocketHandler())
    return server


ALL = [WebsocketProtocol(), WebsocketSubprotocol("a"), WebsocketJSONProtocol(), RawWebsocketProtocol()]

# Applying


@pytest.mark.parametrize("protocol", [WebsocketProtocol, WebsocketJSONProtocol, RawWebsocketProtocol])
def test_a_protocol_is_applied_bare_and_called(protocol):
    for view in (protocol(echo), protocol()(echo)):
        assert type(view.websocket_protocol) is protocol
        assert view.__name__ == "echo"


def test_a_subprotocol_is_not_applied_bare():
    with pytest.raises(TypeError, match=r"^expected subprotocols: @WebsocketSubprotocol\('name'\), got a view$"):
        WebsocketSubprotocol(echo)


@pytest.mark.parametrize("protocol", ALL, ids=repr)
@pytest.mark.parametrize("view", [None, "view", 1, type("View", (), {})], ids=repr)
def test_only_a_view_is_decorated(protocol, view):
    with pytest.raises(TypeError, match="^expected a view to decorate, got "):
        protocol(view)


@pytest.mark.parametrize("outer", ALL, ids=repr)
@pytest.mark.parametrize("inner", ALL, ids=repr)
def test_a_view_has_one_protocol(outer, inner):
    with pytest.raises(ValueError, match="^expected one protocol for a view, got "):
        outer(inner(echo))


def test_a_protocol_is_seen_through_other_decorators():
    def other(view):
        return functools.wraps(view)(lambda request: view(request))

    with pytest.raises(ValueError):
        WebsocketProtocol(other(WebsocketProtocol(echo)))


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        (WebsocketProtocol(), "WebsocketProtocol()"),
        (WebsocketSubprotocol("a", "b"), "WebsocketSubprotocol('a', 'b')"),
        (WebsocketJSONProtocol("a"), "WebsocketJSONProtocol('a')"),
        (RawWebsocketProtocol(), "RawWebsocketProtocol()"),
    ],
)
def test_a_protocol_in_words(protocol, text):
    assert repr(protocol) == text


@pytest.mark.parametrize("protocol", ALL, ids=repr)
def test_an_http_request_passes(protocol):
    @protocol
    def view(request):
        return HttpResponse("page")

    assert view(RequestFactory().get("/")).content == b"page"


@pytest.mark.parametrize("name", ["websocket", "dispatch"])
@pytest.mark.parametrize("protocol", [WebsocketProtocol, WebsocketProtocol()], ids=["bare", "called"])
async def test_a_protocol_decorates_a_method(name, protocol):
    @method_decorator(protocol, name=name)
    class View(WebsocketView):
        async def websocket(self, request):
            await echo(request)

    server = await exchange(View.as_view(), "x")
    assert server.messages == ["x"]


# Subprotocols


@pytest.mark.parametrize("protocol", [WebsocketSubprotocol, WebsocketJSONProtocol])
@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a,b", "a/b", "ä", "a\n", "a;", '"a"', "a\\", "a\x7f", "(a)", "a="], ids=ascii
)
def test_a_name_that_is_no_token(protocol, name):
    with pytest.raises(ValueError, match="^expected the name of a subprotocol without spaces and separators, got "):
        protocol("good", name)


@pytest.mark.parametrize("name", [None, 1, b"a", ("a",)], ids=repr)
def test_a_name_that_is_no_text(name):
    with pytest.raises(TypeError, match="^expected the name of a subprotocol as str, got "):
        WebsocketSubprotocol("good", name)


def test_names_that_are_tokens():
    names = ("v1.example.org", "graphql-ws", "soap", "!#$%&'*+-.^_`|~09azAZ")
    assert check_subprotocols(names) == names


@pytest.mark.parametrize(
    ("protocol", "offered", "chosen"),
    [
        (WebsocketSubprotocol("a", "b"), ["b", "a"], "b"),
        (WebsocketSubprotocol("a"), ["x", "a"], "a"),
        (WebsocketProtocol(), [], None),
        (WebsocketJSONProtocol("a"), ["a"], "a"),
        (WebsocketJSONProtocol(), [], None),
    ],
)
async def test_the_client_chooses(protocol, offered, chosen):
    @protocol
    async def view(request):
        assert request.subprotocol == request.protokolla == chosen

    server = await answer(view, subprotocols=offered)
    assert server.sent[0]["subprotocol"] == chosen and server.closed == 1000


@pytest.mark.parametrize(
    ("protocol", "offered"),
    [
        (WebsocketSubprotocol("a"), ["b"]),
        (WebsocketSubprotocol("a"), []),
        (WebsocketProtocol(), ["a"]),
        (WebsocketJSONProtocol("a"), ["b"]),
        (WebsocketJSONProtocol(), ["a"]),
    ],
)
async def test_without_a_common_subprotocol_the_view_is_not_called(protocol, offered, caplog):
    called = []

    @protocol
    async def view(request):
        called.append(True)

    server = await answer(view, subprotocols=offered)
    assert server.types == ["close"] and not called
    record, = caplog.records
    assert record.levelname == "WARNING" and "expected one of the subprotocols" in record.getMessage()


# JSON


async def test_objects_go_in_and_out():
    server = await exchange(WebsocketJSONProtocol(echo), '{"a": [1, null, "ä"]}', b"true", '""', "0")
    assert [json.loads(message) for message in server.messages] == [{"a": [1, None, "ä"]}, True, "", 0]


async def test_the_encoder_is_djangos():
    @WebsocketJSONProtocol
    async def view(request):
        await request.send({"day": datetime.date(2020, 1, 2)})

    assert (await answer(view)).messages == ['{"day": "2020-01-02"}']


async def test_encoder_and_decoder_can_be_replaced():
    class Encoder(DjangoJSONEncoder):
        def default(self, value):
            return "encoded"

    class Decoder(json.JSONDecoder):
        def decode(self, text):
            return {"decoded": text}

    @WebsocketJSONProtocol(encoder=Encoder, decoder=Decoder)
    async def view(request):
        await request.send([await request.receive(), object()])

    assert (await answer(view, "x")).messages == ['[{"decoded": "x"}, "encoded"]']


def test_a_codec_takes_arguments():
    decode, encode = json_codec({"parse_int": str}, {"indent": None, "separators": (",", ":")})
    assert decode("[1]") == ["1"]
    assert encode({"a": 1}) == '{"a":1}'


def test_a_number_has_so_many_digits_and_no_more():
    decode, _ = json_codec({}, {})
    assert decode("9" * 4300) == int("9" * 4300)
    with pytest.raises(ValueError):
        decode("9" * 2 ** 20)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x"], ids=repr)
async def test_what_cannot_be_encoded_is_the_views_error(value, caplog):
    @WebsocketJSONProtocol
    async def view(request):
        await request.send(value)

    server = await answer(view)
    assert server.closed == 1011 and len(caplog.records) == 1


# Nested at run time


@pytest.mark.parametrize("inner", [WebsocketProtocol(), WebsocketJSONProtocol()], ids=repr)
@pytest.mark.parametrize("outer", [WebsocketProtocol(), WebsocketSubprotocol("a"), WebsocketJSONProtocol()], ids=repr)
async def test_a_plain_protocol_met_at_run_time_adopts(outer, inner):
    @outer
    async def view(request):
        return await inner(echo)(request)

    server = await exchange(view, "[1]", subprotocols=list(outer.subprotocols))
    assert [json.loads(message) if isinstance(message, str) else message for message in server.messages] == [[1]]


@pytest.mark.parametrize("inner", [WebsocketSubprotocol("a"), WebsocketJSONProtocol("a"), RawWebsocketProtocol()], ids=repr)
async def test_any_other_met_at_run_time_is_an_error(inner, caplog):
    @WebsocketProtocol
    async def view(request):
        await inner(echo)(request)

    server = await answer(view)
    assert server.closed == 1011
    assert caplog.records[0].exc_info[0] is ValueError


@pytest.mark.parametrize("inner", [WebsocketSubprotocol("a"), WebsocketJSONProtocol("a"), RawWebsocketProtocol()], ids=repr)
async def test_none_of_those_takes_over_an_open_socket(inner, caplog):
    async def view(request):
        await request.send("open")
        await inner(echo)(request)

    server = await answer(view)
    assert server.closed == 1011
    assert caplog.records[0].exc_info[0] is HandshakeError


async def test_what_an_adopted_view_answers_is_passed_on():
    @WebsocketProtocol
    async def view(request):
        response = await WebsocketJSONProtocol(inner)(request)
        assert isinstance(response, PlaceholderResponse)
        return HttpResponse(status=418)

    async def inner(request):
        await request.send({})

    assert (await answer(view)).closed == 4418


@pytest.mark.parametrize("inner", [WebsocketProtocol, WebsocketJSONProtocol, json_messages, json_messages()], ids=repr)
@pytest.mark.parametrize("outer", [lambda view: view, WebsocketProtocol, WebsocketJSONProtocol], ids=repr)
async def test_an_answer_from_further_inside_closes_the_socket(outer, inner):
    async def denied(request):
        await request.send("x")
        return HttpResponse(status=403)

    @outer
    async def view(request):
        await request.send("x")
        return await inner(denied)(request)

    assert (await answer(view)).closed == 4403


@pytest.mark.parametrize("outer", [json_messages, WebsocketProtocol], ids=repr)
async def test_an_answer_from_inside_of_a_decorator_closes_the_socket(outer):
    @outer
    @json_messages
    async def view(request):
        await request.send("x")
        return HttpResponse(status=403)

    assert (await answer(view)).closed == 4403


async def test_an_adopting_protocol_leaves_messages_as_they_were():
    @WebsocketProtocol
    async def view(request):
        await WebsocketJSONProtocol(inner)(request)
        await request.send(await request.receive())

    async def inner(request):
        await request.send(await request.receive())

    assert (await answer(view, "[1]", "{")).messages == ["[1]", "{"]


async def test_an_adopted_view_that_fails_leaves_the_close_to_the_one_around_it():
    @WebsocketProtocol
    async def view(request):
        with pytest.raises(KeyError):
            await WebsocketJSONProtocol(inner)(request)
        await request.send("still open")

    async def inner(request):
        raise KeyError

    server = await answer(view)
    assert server.messages == ["still open"] and server.closed == 1000


@pytest.mark.parametrize(("error", "code"), [(KeyError(), 1011), (Http404(), 4404)], ids=repr)
async def test_a_protocol_that_takes_over_closes_by_the_outcome(error, code):
    closed = []

    async def view(request):
        try:
            return await WebsocketSubprotocol("a")(inner)(request)
        finally:
            closed.append(server.closed)

    async def inner(request):
        raise error

    server = Server("/view/", subprotocols=["a"])
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert closed == [code]


async def test_a_protocol_that_takes_over_closes_when_the_view_has_ended():
    async def view(request):
        await WebsocketProtocol(inner)(request)
        assert server.closed == 1000
        await request.close(4000)

    async def inner(request):
        await request.send("x")

    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.types == ["accept", "send", "close"] and server.closed == 1000


async def test_a_cancelled_view_is_not_closed_as_an_error():
    async def view(request):
        return await WebsocketProtocol(inner)(request)

    async def inner(request):
        await asyncio.sleep(60)

    server = Server("/view/")
    with urls(view=view):
        task = server.start(WebsocketHandler())
        await server.until(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert server.closed == 1012


# Raw


async def test_a_raw_view_speaks_asgi():
    seen = []

    @RawWebsocketProtocol
    async def view(request):
        seen.append(await request.receive())
        await request.send({"type": "websocket.accept", "subprotocol": "a"})
        seen.append(request.subprotocol)
        seen.append((await request.receive())["text"])
        await request.send({"type": "websocket.send", "text": "y"})
        await request.send({"type": "websocket.close", "code": 4000})

    server = await answer(view, "x")
    assert seen == [{"type": "websocket.connect"}, "a", "x"]
    assert server.types == ["accept", "send", "close"] and server.closed == 4000


async def test_a_raw_view_may_refuse_with_a_page(caplog):
    @RawWebsocketProtocol
    async def view(request):
        await request.send({"type": "websocket.http.response.start", "status": 418, "headers": []})
        await request.send({"type": "websocket.http.response.body", "body": b"tea"})

    server = await answer(view)
    assert server.types == ["http.response.start", "http.response.body"]
    assert not caplog.records


async def test_a_raw_view_that_ends_before_its_page_does():
    @RawWebsocketProtocol
    async def view(request):
        await request.send({"type": "websocket.http.response.start", "status": 418, "headers": []})

    server = await answer(view)
    assert server.types == ["http.response.start", "http.response.body"]


async def test_a_raw_view_that_does_nothing_is_closed():
    @RawWebsocketProtocol
    async def view(request):
        pass

    assert (await answer(view)).types == ["close"]


async def test_a_raw_view_is_told_of_the_end_like_any_other():
    ended = []

    @RawWebsocketProtocol
    async def view(request):
        await request.receive()
        await request.send({"type": "websocket.accept"})
        assert (await request.receive())["code"] == 1001
        try:
            await request.receive()
        finally:
            ended.append(True)

    await exchange(view)
    assert ended


# Close codes


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (None, 1000),
        (PlaceholderResponse(), 1000),
        (HttpResponse(), 1000),
        (HttpResponse(status=204), 1000),
        (HttpResponseRedirect("/"), 4403),
        (HttpResponse(status=304), 4403),
        (HttpResponse(status=400), 4400),
        (HttpResponse(status=401), 4401),
        (StreamingHttpResponse([], status=503), 4503),
    ],
)
def test_the_code_of_a_response(response, code):
    assert close_code_for_response(response) == code


@pytest.mark.parametrize("response", ["text", 0, False, {}, ()], ids=repr)
def test_anything_else_is_no_response(response):
    with pytest.raises(TypeError, match="^expected nothing or an HttpResponse from a view of a socket, got "):
        close_code_for_response(response)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Http404(), 4404),
        (PermissionDenied(), 4403),
        (SuspiciousOperation(), 4400),
        (BadRequest(), 4400),
        (KeyError(), 1011),
        (BaseException(), 1011),
    ],
    ids=repr,
)
def test_the_code_of_an_exception(error, code):
    assert close_code_for_exception(error) == code
