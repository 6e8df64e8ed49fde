"""Decorators of views: JSON messages, the CSRF handshake, the exemption from the origin check."""
import asyncio
import datetime
import decimal
import json

import pytest
from django.middleware.csrf import get_token
from django.test import RequestFactory, override_settings
from django.utils.decorators import method_decorator

from pistoke.decoration import DecoratedView
from pistoke.decorators import csrf_handshake, json_messages, origin_exempt
from pistoke.handler import WebsocketHandler
from pistoke.protocol import RawWebsocketProtocol, WebsocketJSONProtocol, WebsocketProtocol
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


def token():
    """Return a CSRF token and the cookie header it goes with."""
    request = RequestFactory().get("/")
    masked = get_token(request)
    return masked, [("cookie", "csrftoken=" + request.META["CSRF_COOKIE"])]


def decorations(decorator):
    """Return ways to apply a decorator: bare, called, around and inside of a protocol, on a class."""

    class View(WebsocketView):
        async def websocket(self, request):
            await echo(request)

    return {
        "bare": decorator(echo),
        "called": decorator()(echo),
        "around": decorator(WebsocketProtocol(echo)),
        "inside": WebsocketProtocol(decorator()(echo)),
        "method": method_decorator(decorator, name="websocket")(type("One", (View,), {})).as_view(),
        "method, called": method_decorator(decorator(), name="websocket")(type("Two", (View,), {})).as_view(),
    }


# JSON


@pytest.mark.parametrize("way", ["bare", "called", "inside", "method", "method, called"])
async def test_messages_are_json(way):
    server = await exchange(decorations(json_messages)[way], '{"a": 1}', b"[2]")
    assert server.messages == ['{"a": 1}', "[2]"]


async def test_arguments_go_to_the_json_module():
    decorator = json_messages(loads={"parse_float": decimal.Decimal}, dumps={"indent": 1, "sort_keys": True})

    @decorator
    async def view(request):
        message = await request.receive()
        assert type(message) is decimal.Decimal
        await request.send({"b": message, "a": 1})

    server = await exchange(view, "1.50")
    assert server.messages == ['{\n "a": 1,\n "b": "1.50"\n}']


async def test_the_encoder_is_djangos_unless_told():
    @json_messages
    async def view(request):
        await request.send([datetime.date(2020, 1, 2)])

    server = await exchange(view)
    assert server.messages == ['["2020-01-02"]']


async def test_messages_are_translated_only_inside():
    @WebsocketProtocol
    async def view(request):
        await json_messages(inner)(request)
        await request.send(await request.receive())

    async def inner(request):
        await request.send({"got": await request.receive()})

    server = await exchange(view, "1", "2")
    assert server.messages == ['{"got": 1}', "2"]


async def test_messages_are_translated_only_inside_where_the_view_fails():
    @WebsocketProtocol
    async def view(request):
        with pytest.raises(KeyError):
            await json_messages(fail)(request)
        await request.send(await request.receive())

    async def fail(request):
        raise KeyError

    server = await exchange(view, "x")
    assert server.messages == ["x"]


async def test_bad_json_closes(caplog):
    server = await exchange(json_messages(echo), "1", "{")
    assert server.messages == ["1"] and server.closed == 1007
    assert not caplog.records


# CSRF


@pytest.mark.parametrize("way", ["bare", "called", "inside", "method", "method, called"])
async def test_a_right_token_lets_the_view_begin(way):
    masked, headers = token()
    view = decorations(csrf_handshake)[way]
    server = await exchange(view, json.dumps({"csrfmiddlewaretoken": masked}), "x", headers=headers)
    assert server.messages == ["x"]


@pytest.mark.parametrize(
    "first",
    [
        "{}",
        '{"csrfmiddlewaretoken": "x"}',
        '{"csrfmiddlewaretoken": null}',
        '{"csrfmiddlewaretoken": [1]}',
    ],
)
async def test_a_wrong_token_closes(first, caplog):
    masked, headers = token()
    server = await exchange(csrf_handshake(echo), first, "x", headers=headers)
    assert server.types == ["accept", "close"] and server.closed == 4403
    assert not caplog.records


async def test_a_token_without_its_cookie_closes():
    masked, headers = token()
    server = await exchange(csrf_handshake(echo), json.dumps({"csrfmiddlewaretoken": masked}))
    assert server.closed == 4403


@pytest.mark.parametrize(
    "first",
    ["", "{", "[]", "1", "null", '"x"', b"\xff", "[" * 100000, '{"a": ' + "9" * 2 ** 20 + "}"],
    ids=lambda first: repr(first[:9]),
)
async def test_a_first_message_that_is_no_object_closes(first, caplog):
    server = await exchange(csrf_handshake(echo), first)
    assert server.closed == 4400
    assert not caplog.records


async def test_the_client_is_told_under_the_key_that_was_asked_for():
    server = await exchange(csrf_handshake(error_key="error")(echo), "{}")
    assert json.loads(server.messages[0]) == {"error": "CSRF token missing or incorrect!", "status": 403}


async def test_the_client_is_told_in_its_language():
    with override_settings(LANGUAGE_CODE="fi"):
        server = await exchange(csrf_handshake(error_key="virhe")(echo), "{}")
        assert json.loads(server.messages[0])["virhe"] == "CSRF-avain puuttuu tai se on virheellinen!"
        server = await exchange(csrf_handshake(error_key="virhe")(echo), "")
        assert json.loads(server.messages[0])["virhe"] == "Yhteyden muodostus epäonnistui!"


@pytest.mark.parametrize("outer", [WebsocketJSONProtocol, json_messages])
async def test_the_handshake_works_inside_of_json(outer):
    masked, headers = token()
    view = outer(csrf_handshake(error_key="error")(echo))
    server = await exchange(view, json.dumps({"csrfmiddlewaretoken": masked}), "[1]", headers=headers)
    assert server.messages == ["[1]"]
    server = await exchange(view, "{}", headers=headers)
    assert json.loads(server.messages[0])["status"] == 403
    server = await exchange(view, "[]", headers=headers)
    assert json.loads(server.messages[0])["status"] == 400


@pytest.mark.parametrize("names", [("csrf_key", "error_key"), ("csrf_avain", "virhe_avain")])
async def test_the_keys_have_two_names(names):
    masked, headers = token()
    decorator = csrf_handshake(**dict(zip(names, ("token", "oops"))))
    server = await exchange(decorator(echo), json.dumps({"token": masked}), "x", headers=headers)
    assert server.messages == ["x"]
    server = await exchange(decorator(echo), "{}")
    assert "oops" in json.loads(server.messages[0])


async def test_the_view_finds_the_whole_first_message():
    seen = []

    @csrf_handshake
    async def view(request):
        seen.extend([request.csrf_handshake, request._csrf_kattely])

    masked, headers = token()
    first = {"csrfmiddlewaretoken": masked, "more": [1]}
    await exchange(view, json.dumps(first), headers=headers)
    assert seen == [first, first]


async def test_a_handshake_does_not_count_as_reading():
    ended = []

    @csrf_handshake
    async def view(request):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    masked, headers = token()
    with override_settings(PISTOKE_DISCONNECT_GRACE=60):
        await exchange(view, json.dumps({"csrfmiddlewaretoken": masked}), headers=headers)
    assert ended


async def test_a_handshake_after_the_view_has_read_leaves_it_a_reader():
    seen = []

    @WebsocketProtocol
    async def view(request):
        await request.receive()
        await csrf_handshake(inner)(request)

    async def inner(request):
        seen.append(request._socket.has_read)

    masked, headers = token()
    await exchange(view, "x", json.dumps({"csrfmiddlewaretoken": masked}), headers=headers)
    assert seen == [True]


async def test_a_client_that_leaves_during_the_handshake_is_no_error(caplog):
    server = await exchange(csrf_handshake(error_key="error")(echo))
    assert server.closed is None and not caplog.records


async def test_a_client_that_leaves_before_it_is_told_is_no_error(caplog):
    server = Server("/view/")
    with urls(view=csrf_handshake(error_key="error")(echo)):
        task = server.start(WebsocketHandler())
        await server.until(1)
        server.send_failure = OSError()
        server.say("{}")
        await asyncio.wait_for(task, 10)
    assert not caplog.records


async def test_a_handler_of_a_test_may_do_without_tokens():
    class Handler(WebsocketHandler):
        enforce_csrf_checks = False

    server = Server("/view/")
    server.say("{}", "x")
    server.leave()
    with urls(view=csrf_handshake(echo)):
        await server.run(Handler())
    assert server.messages == ["x"]


# Origin

FOREIGN = [("origin", "https://elsewhere.example")]


@pytest.mark.parametrize("way", ["bare", "around", "inside", "method"])
async def test_any_origin_may_open_an_exempt_view(way):
    views = dict(decorations(origin_exempt), bare=origin_exempt(echo))
    server = await exchange(views[way], "x", headers=FOREIGN)
    assert server.messages == ["x"]


async def test_the_view_itself_is_not_exempted():
    view = WebsocketProtocol(echo)
    origin_exempt(view)
    server = await exchange(view, "x", headers=FOREIGN)
    assert "accept" not in server.types


def test_an_exempt_view_keeps_its_protocol():
    exempt = origin_exempt(RawWebsocketProtocol(echo))
    assert isinstance(exempt, DecoratedView) and exempt.origin_exempt
    assert isinstance(exempt.websocket_protocol, RawWebsocketProtocol)
