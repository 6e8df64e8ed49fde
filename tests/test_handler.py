"""A socket from its handshake to its close, over a scripted server."""
import asyncio
import functools
import logging

import pytest
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.test import override_settings
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from pistoke.exceptions import ClientDisconnected, ConnectionClosed
from pistoke.handler import WebsocketHandler
from pistoke.protocol import (
    RawWebsocketProtocol,
    WebsocketJSONProtocol,
    WebsocketProtocol,
    WebsocketSubprotocol,
)
from pistoke.views import WebsocketView

from .asgi import Server, urls


async def echo(request):
    async for message in request:
        await request.send(message)


def serve(view, **scope):
    """Return a server and the application with ``view`` at ``/``."""
    return Server("/view/", **scope), urls(view=view)


async def converse(view, message, answers, **scope):
    """Run ``view`` with a client that says ``message`` and leaves after so many events; return the server."""
    server, routes = serve(view, **scope)
    with routes:
        server.say(message)
        task = server.start(WebsocketHandler())
        await server.until(answers)
        server.leave()
        await asyncio.wait_for(task, 10)
    return server


async def exchange(view, *messages, **scope):
    """Run ``view`` with a client that says all of ``messages`` and leaves; return the server."""
    server, routes = serve(view, **scope)
    with routes:
        server.say(*messages)
        server.leave()
        await server.run(WebsocketHandler())
    return server


@pytest.mark.parametrize(
    "protocol", [lambda view: view, WebsocketProtocol, WebsocketProtocol()], ids=["none", "bare", "called"]
)
async def test_messages_go_to_and_fro_as_they_are(protocol):
    server = await exchange(protocol(echo), "text", b"\x00\xff", "")
    assert server.types[0] == "accept"
    assert server.messages == ["text", b"\x00\xff", ""]
    assert server.closed is None


async def test_a_class_based_view_answers_both_http_and_sockets():
    @method_decorator(WebsocketProtocol(), name="websocket")
    class Page(WebsocketView, TemplateView):
        async def websocket(self, request, *args, **kwargs):
            assert self.request is request
            await echo(request)

    server = await exchange(Page.as_view(), "x")
    assert server.messages == ["x"]


async def test_the_socket_closes_normally_when_the_view_returns():
    async def view(request):
        await request.send("bye")

    server, routes = serve(view)
    with routes:
        await server.run(WebsocketHandler())
    assert server.types == ["accept", "send", "close"]
    assert server.closed == 1000


async def test_a_silent_view_is_accepted_when_it_first_waits():
    async def view(request):
        await asyncio.sleep(60)

    server, routes = serve(view)
    with routes:
        task = server.start(WebsocketHandler())
        await server.until(1)
        assert server.types == ["accept"]
        server.leave()
        await asyncio.wait_for(task, 10)


async def test_a_view_that_has_read_nothing_is_cancelled_when_its_client_leaves():
    ended = []

    async def view(request):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    server, routes = serve(view)
    with routes:
        task = server.start(WebsocketHandler())
        await server.until(1)
        server.leave()
        await asyncio.wait_for(task, 10)
    assert ended == [True]
    assert server.closed is None


async def test_everything_said_before_leaving_is_read():
    read = []

    async def view(request):
        read.append(await request.receive())
        await asyncio.sleep(0.1)
        with pytest.raises(ClientDisconnected) as error:
            while True:
                read.append(await request.receive())
        assert error.value.code == 4001
        with pytest.raises(ClientDisconnected):
            await request.receive()

    server, routes = serve(view)
    with routes:
        server.say("1", "2", "3")
        server.leave(4001)
        await server.run(WebsocketHandler())
    assert read == ["1", "2", "3"]


async def test_a_reading_view_has_a_grace_and_is_then_cancelled():
    steps = []

    async def view(request):
        await request.receive()
        steps.append("read")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise

    server, routes = serve(view)
    with routes, override_settings(PISTOKE_DISCONNECT_GRACE=0.05):
        server.say("x")
        server.leave()
        await server.run(WebsocketHandler())
    assert steps == ["read", "cancelled"]


async def test_a_view_that_swallows_its_cancellation_is_cancelled_again_and_then_logged(caplog):
    cancelled = []

    async def stubborn(request):
        while len(cancelled) < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
        await asyncio.sleep(0.3)

    server, routes = serve(stubborn)
    with routes, override_settings(PISTOKE_DISCONNECT_GRACE=0.05):
        server.leave()
        await server.run(WebsocketHandler())
    assert len(cancelled) == 2
    assert [record.getMessage() for record in caplog.records if "stubborn" in record.getMessage()]


async def test_a_view_that_ends_its_tasks_first_is_let_do_so_without_any_grace(caplog):
    cancelled = []

    async def tidy(request):
        async for _ in request:
            pass
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    cancelled.append(True)

    server, routes = serve(tidy)
    with routes, override_settings(PISTOKE_DISCONNECT_GRACE=0):
        server.leave()
        await server.run(WebsocketHandler())
    assert not cancelled and not caplog.records


async def test_an_exception_closes_1011_and_is_reported_as_for_http(caplog):
    reported = []

    def receiver(sender, request, **kwargs):
        reported.append(request.path)

    async def view(request):
        await request.receive()
        raise KeyError("oops")

    got_request_exception.connect(receiver)
    try:
        server = await exchange(view, "x")
    finally:
        got_request_exception.disconnect(receiver)
    assert server.closed == 1011
    assert reported == ["/view/"]
    record, = [record for record in caplog.records if record.name == "django.request"]
    assert record.levelno == logging.ERROR and record.exc_info[0] is KeyError


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (HttpResponse(status=200), 1000),
        (HttpResponse(status=403), 4403),
        (HttpResponse(status=500), 4500),
        (HttpResponseRedirect("/login/"), 4403),
        (Http404(), 4404),
        (PermissionDenied(), 4403),
    ],
)
@pytest.mark.parametrize("protocol", [lambda view: view, WebsocketProtocol], ids=["automatic", "explicit"])
async def test_an_answer_after_accept_becomes_a_close_code(protocol, answer, code):
    async def view(request):
        await request.send("x")
        if isinstance(answer, Exception):
            raise answer
        return answer

    server, routes = serve(protocol(view))
    with routes:
        await server.run(WebsocketHandler())
    assert server.closed == code


@pytest.mark.parametrize("exc", [Http404(), PermissionDenied()], ids=lambda exc: type(exc).__name__)
async def test_an_answer_that_is_raised_is_logged_once_as_for_http(exc, caplog):
    async def view(request):
        raise exc

    server, routes = serve(view)
    with routes:
        await server.run(WebsocketHandler())
    record, = [record for record in caplog.records if record.name == "django.request"]
    assert record.levelno == logging.WARNING and server.scope["path"] in record.getMessage()


@pytest.mark.parametrize(
    ("path", "status"), [("/nowhere/", 404), ("/page/", 405)]
)
async def test_an_unknown_path_and_a_page_without_sockets_are_refused(path, status):
    server = Server(path)
    with urls(page=TemplateView.as_view()):
        await server.run(WebsocketHandler())
    assert server.status == status


async def test_access_control_around_a_protocol_refuses_with_http():
    def deny(view):
        @functools.wraps(view)
        async def wrapper(request):
            response = HttpResponse("no", status=401)
            response["X-Reason"] = "because"
            return response

        return wrapper

    server, routes = serve(deny(WebsocketProtocol(echo)))
    with routes:
        await server.run(WebsocketHandler())
    assert server.status == 401
    assert (b"x-reason", b"because") in server.sent[0]["headers"]
    assert server.sent[1]["body"] == b"no"


async def test_a_redirect_to_the_login_page_becomes_403():
    server, routes = serve(login_required(WebsocketProtocol(echo)))
    with routes:
        await server.run(WebsocketHandler())
    assert server.types == ["close"]


async def test_access_control_inside_of_a_protocol_opens_and_closes():
    server, routes = serve(WebsocketProtocol(login_required(echo)))
    with routes:
        await server.run(WebsocketHandler())
    assert server.types == ["accept", "close"]
    assert server.closed == 4403


async def test_a_server_without_the_extension_is_told_to_close():
    server = Server("/nowhere/", extensions={})
    await server.run(WebsocketHandler())
    assert server.types == ["close"]


@pytest.mark.parametrize("decorator", [never_cache], ids=lambda item: item.__name__)
async def test_response_decorators_work_around_a_protocol(decorator):
    server = await exchange(decorator(WebsocketProtocol(echo)), "x")
    assert server.messages == ["x"]


async def test_an_explicit_protocol_applied_at_run_time_takes_over():
    async def view(request):
        return await WebsocketSubprotocol("a", "b")(inner)(request)

    async def inner(request):
        await request.send(request.subprotocol)
        await request.send(request.protokolla)

    server, routes = serve(view, subprotocols=["x", "b", "a"])
    with routes:
        await server.run(WebsocketHandler())
    assert server.sent[0]["subprotocol"] == "b"
    assert server.messages == ["b", "b"]
    assert server.closed == 1000


async def test_a_plain_protocol_adopts_a_socket_that_is_open_already():
    async def view(request):
        await asyncio.sleep(0.05)
        try:
            await WebsocketJSONProtocol(inner)(request)
        finally:
            await asyncio.sleep(0)

    async def inner(request):
        async for message in request:
            await request.send({"got": message})

    server = await converse(view, '{"a": 1}', 2)
    assert server.types[0] == "accept"
    assert server.messages == ['{"got": {"a": 1}}']


async def test_a_subprotocol_cannot_adopt():
    async def view(request):
        await asyncio.sleep(0.05)
        await request.receive()
        await WebsocketSubprotocol("a")(echo)(request)

    server, routes = serve(view)
    with routes:
        server.say("x")
        await server.run(WebsocketHandler())
    assert server.closed == 1011


async def test_offered_subprotocols_keep_suspension_from_accepting():
    async def view(request):
        await asyncio.sleep(0.05)
        return await WebsocketSubprotocol("a")(echo)(request)

    server = await converse(view, "x", 2, subprotocols=["a"])
    assert server.sent[0] == {"type": "websocket.accept", "subprotocol": "a"}
    assert server.messages == ["x"]


@pytest.mark.parametrize(
    ("protocol", "offered"),
    [
        (WebsocketSubprotocol("a"), ["b"]),
        (WebsocketSubprotocol("a"), []),
        (WebsocketProtocol(), ["a"]),
        (lambda view: view, ["a"]),
    ],
)
async def test_a_subprotocol_that_nobody_shares_is_refused(protocol, offered):
    server = await exchange(protocol(echo), "x", subprotocols=offered)
    assert server.types == ["close"]


async def test_json_goes_both_ways():
    server = await exchange(WebsocketJSONProtocol(echo), '{"a": [1, null]}', b'"bytes"')
    assert server.messages == ['{"a": [1, null]}', '"bytes"']


@pytest.mark.parametrize("bad", ["{", "", b"\xff", "[" * 100000])
async def test_bad_json_closes_1007_and_is_no_error_of_ours(bad, caplog):
    server, routes = serve(WebsocketJSONProtocol(echo))
    with routes:
        server.say(bad)
        await server.run(WebsocketHandler())
    assert server.closed == 1007
    assert not caplog.records


async def test_a_message_over_the_limit_closes_1009(caplog):
    with override_settings(PISTOKE_MAX_MESSAGE_SIZE=8):
        server, routes = serve(echo)
        with routes:
            server.say("12345678", "ääää", b"12345678", "123456789")
            await server.run(WebsocketHandler())
    assert server.messages == ["12345678", "ääää", b"12345678"]
    assert server.closed == 1009
    assert not caplog.records


async def test_an_int_is_no_message():
    async def view(request):
        with pytest.raises(TypeError, match="expected a message of type str or bytes, got int"):
            await request.send(1)
        raise KeyError

    server, routes = serve(view)
    with routes:
        await server.run(WebsocketHandler())
    assert server.closed == 1011


async def test_sending_after_the_close_raises():
    async def view(request):
        await request.send("x")
        await request.close(4000, "enough")
        await request.close()
        with pytest.raises(ConnectionClosed) as error:
            await request.send("y")
        assert isinstance(error.value, ConnectionError)
        assert (error.value.code, error.value.reason) == (4000, "enough")

    server, routes = serve(view)
    with routes:
        await server.run(WebsocketHandler())
    assert server.messages == ["x"]
    assert server.sent[-1] == {"type": "websocket.close", "code": 4000, "reason": "enough"}


async def test_whatever_the_server_raises_is_a_connection_closed():
    caught = []

    async def view(request):
        await request.send("x")
        await request.receive()
        try:
            await request.send("y")
        except ConnectionClosed as exc:
            caught.append(exc.code)
            raise

    server, routes = serve(view)
    with routes:
        task = server.start(WebsocketHandler())
        await server.until(2)
        server.send_failure = RuntimeError("Unexpected ASGI message")
        server.say("now")
        await asyncio.wait_for(task, 10)
    assert caught == [1006]


async def test_a_view_that_floods_a_client_that_has_gone_ends():
    async def view(request):
        while True:
            await request.send("x")

    server, routes = serve(view)
    with routes:
        task = server.start(WebsocketHandler())
        await server.until(100)
        server.leave()
        await asyncio.wait_for(task, 10)


async def test_the_disconnect_of_another_socket_is_an_error_of_this_view():
    others = []

    async def other(request):
        others.append(request)
        await request.close()

    async def view(request):
        await request.receive()
        await others[0].send("x")

    server = Server("/other/")
    with urls(other=other, view=view):
        await server.run(WebsocketHandler())
        server = Server("/view/")
        server.say("x")
        await server.run(WebsocketHandler())
    assert server.closed == 1011


async def test_raw_events_are_the_views_own_business():
    @RawWebsocketProtocol
    async def view(request):
        assert await request.receive() == {"type": "websocket.connect"}
        await request.send({"type": "websocket.accept", "subprotocol": "x"})
        event = await request.receive()
        await request.send({"type": "websocket.send", "text": event["text"]})
        assert (await request.receive())["type"] == "websocket.disconnect"
        with pytest.raises(ClientDisconnected):
            await request.receive()

    server = await exchange(view, "a")
    assert server.types == ["accept", "send"]


async def test_a_raw_view_that_does_not_accept_is_refused():
    @RawWebsocketProtocol
    async def view(request):
        pass

    server, routes = serve(view)
    with routes:
        await server.run(WebsocketHandler())
    assert server.types == ["close"]


async def test_two_protocols_are_refused_where_they_are_visible():
    with pytest.raises(ValueError, match="expected one protocol"):
        WebsocketSubprotocol("a")(WebsocketProtocol(echo))


async def test_the_server_may_cancel_a_socket():
    ended = []

    async def view(request):
        await request.receive()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    server, routes = serve(view)
    with routes:
        server.say("x")
        task = server.start(WebsocketHandler())
        await server.until(1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
    assert ended and server.closed == 1012


async def test_two_tasks_may_read():
    read = []

    async def reader(request):
        async for message in request:
            read.append(message)

    async def view(request):
        tasks = [asyncio.ensure_future(reader(request)) for _ in range(2)]
        await asyncio.wait(tasks)

    await exchange(view, *"abcdefgh")
    assert read == list("abcdefgh")


async def test_a_time_out_loses_no_message():
    read = []

    async def view(request):
        while True:
            try:
                read.append(await asyncio.wait_for(request.receive(), 0.001))
            except asyncio.TimeoutError:
                pass

    server, routes = serve(view)
    with routes:
        task = server.start(WebsocketHandler())
        for number in range(50):
            server.say(str(number))
            await asyncio.sleep(0.0011)
        server.leave()
        await asyncio.wait_for(task, 20)
    assert read == [str(number) for number in range(50)]


async def test_the_wrong_scope_is_named():
    with pytest.raises(ValueError, match="expected an ASGI scope of type 'websocket', got 'http'"):
        await WebsocketHandler()({"type": "http"}, None, None)


@pytest.mark.parametrize("protocol", [lambda view: view, WebsocketProtocol], ids=["automatic", "explicit"])
async def test_a_plain_def_is_named(protocol, caplog):
    def view(request):
        pass

    server, routes = serve(protocol(view))
    with routes:
        await server.run(WebsocketHandler())
    assert server.closed == 1011
    assert "expected an 'async def' as the view of a socket" in str(caplog.records[-1].exc_info[1])


@pytest.mark.parametrize("protocol", [WebsocketProtocol, lambda view: view], ids=["explicit", "automatic"])
@pytest.mark.parametrize(
    "response, code, reason",
    [
        (HttpResponse("page"), 1000, "the view answered with 200 OK"),
        (HttpResponseRedirect("/in/"), 4403, "the view answered with 302 Found to /in/, but a socket is not redirected"),
        (None, 1000, ""),
    ],
    ids=["page", "redirect", "nothing"],
)
async def test_in_debug_the_browser_is_told_that_the_view_has_answered(response, code, reason, protocol):
    @protocol
    async def view(request):
        await request.send("open")
        return response

    for debug in (True, False):
        server = Server("/view/")
        with urls(view=view), override_settings(DEBUG=debug):
            await server.run(WebsocketHandler())
        assert (server.closed, server.sent[-1].get("reason") or "") == (code, reason if debug else "")


async def test_messages_are_not_to_be_iterated_over_like_a_body(caplog):
    async def view(request):
        for _ in request:
            """Django reads the lines of a body so."""

    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.closed == 1011 and "expected 'async for message in request', got 'for'" in caplog.text


@pytest.mark.parametrize("debug, reason", [(True, "ZeroDivisionError: by nothing"), (False, "")])
@pytest.mark.parametrize("protocol", [lambda view: view, WebsocketProtocol], ids=["automatic", "explicit"])
async def test_in_debug_the_browser_is_told_what_went_wrong(debug, reason, protocol):
    @protocol
    async def view(request):
        await request.receive()
        raise ZeroDivisionError("by nothing")

    server = Server("/view/")
    with urls(view=view), override_settings(DEBUG=debug):
        server.say("go")
        await server.run(WebsocketHandler())
    assert (server.sent[-1]["code"], server.sent[-1]["reason"]) == (1011, reason)


FORGED = "/nowhere/\r\nCRITICAL all is lost\x1b[31m/"


@pytest.mark.parametrize("scope", [
    {"path": FORGED},
    {"path": FORGED, "headers": [(b"host", b"[")]},
    {"path": "/view/", "headers": [(b"host", b"testserver"), (b"origin", b"http://\x1b[31m\x85")]},
], ids=str)
async def test_a_client_forges_no_line_of_the_log(scope, caplog):
    server, routes = serve(echo)
    server.scope.update(scope)
    with routes, override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"]):
        server.leave()
        await server.run(WebsocketHandler())
    assert caplog.records
    assert all(record.getMessage().isprintable() for record in caplog.records)
