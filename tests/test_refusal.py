"""What a refused handshake is answered with."""
import asyncio
import io

import django
import pytest
from django.core.signals import request_finished
from django.http import FileResponse, HttpResponse, HttpResponseForbidden, HttpResponseRedirect, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import override_settings

from pistoke import refusal
from pistoke.handler import WebsocketHandler
from pistoke.protocol import WebsocketProtocol

from .asgi import Server, urls


async def echo(request):
    async for message in request:
        await request.send(message)


def answers(make):
    """Return a view that answers outside of its protocol with what ``make(request)`` returns."""
    protected = WebsocketProtocol(echo)

    async def view(request):
        return make(request)

    view.websocket_protocol = protected.websocket_protocol
    return view


async def refused(make, server=None):
    """Refuse a socket by what ``make(request)`` returns; return the server."""
    server = server or Server("/view/")
    with urls(view=answers(make)):
        await server.run(WebsocketHandler())
    return server


def body(server):
    return server.sent[1]["body"]


def headers(server, name):
    return [value for key, value in server.sent[0]["headers"] if key == name]


def of_module(module, server):
    """Make ``server`` look like one of another make."""
    server.__class__ = type("Other", (Server,), {"__module__": module})
    return server


def uvicorn(implementation):
    return of_module("uvicorn.protocols.websockets." + implementation, Server("/view/"))


# Answers


async def test_status_headers_and_body_reach_the_client():
    def make(request):
        response = HttpResponse("not now", status=429, content_type="text/plain")
        response["Retry-After"] = "60"
        return response

    server = await refused(make)
    assert server.types == ["http.response.start", "http.response.body"]
    assert server.status == 429
    assert body(server) == b"not now" and server.sent[1]["more_body"] is False
    assert headers(server, b"retry-after") == [b"60"]
    assert headers(server, b"content-type") == [b"text/plain"]
    assert headers(server, b"content-length") == [b"7"]


async def test_a_length_that_is_said_is_said_once():
    def make(request):
        response = HttpResponse("12345", status=400)
        response["Content-Length"] = "5"
        return response

    assert headers(await refused(make), b"content-length") == [b"5"]


@pytest.mark.parametrize("status", [200, 204, 401, 404, 500, 503])
async def test_any_status_but_a_redirect_is_that_status(status):
    assert (await refused(lambda request: HttpResponse("x", status=status))).status == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
async def test_a_redirect_is_a_403_and_leads_nowhere(status):
    def make(request):
        response = HttpResponse(status=status)
        response["Location"] = "/login/"
        return response

    assert (await refused(make)).types == ["close"]


async def test_the_resources_of_a_redirect_are_closed():
    closed = []

    def make(request):
        response = HttpResponseRedirect("/login/")
        response._resource_closers.append(lambda: closed.append(True))
        return response

    await refused(make)
    assert closed == [True]


async def test_a_403_that_says_nothing_more_is_a_close():
    assert (await refused(lambda request: HttpResponseForbidden())).types == ["close"]


async def test_a_403_with_a_body_is_an_answer():
    assert body(await refused(lambda request: HttpResponseForbidden("why"))) == b"why"


async def test_a_403_with_a_header_is_an_answer():
    def make(request):
        response = HttpResponseForbidden()
        response["X-Reason"] = "because"
        return response

    assert headers(await refused(make), b"x-reason") == [b"because"]


async def test_a_403_with_a_cookie_is_an_answer():
    def make(request):
        response = HttpResponseForbidden()
        response.set_cookie("name", "value")
        return response

    assert headers(await refused(make), b"set-cookie") == [b"name=value; Path=/"]


@pytest.mark.parametrize("extensions", [{}, None, {"other": {}}])
async def test_a_server_without_the_extension_closes(extensions):
    server = Server("/view/", extensions=extensions)
    assert (await refused(lambda request: HttpResponse("no", status=401), server)).types == ["close"]


async def test_a_server_may_say_nothing_of_extensions():
    server = Server("/view/")
    del server.scope["extensions"]
    assert (await refused(lambda request: HttpResponse("no", status=401), server)).types == ["close"]


async def test_each_cookie_has_a_header():
    def make(request):
        response = HttpResponse(status=401)
        response.set_cookie("a", "1")
        response.set_cookie("b", "2", httponly=True)
        return response

    assert sorted(headers(await refused(make), b"set-cookie")) == [b"a=1; Path=/", b"b=2; HttpOnly; Path=/"]


async def test_text_that_is_no_ascii_survives():
    def make(request):
        response = HttpResponse("ä€", status=400)
        response["X-Latin"] = "ä"
        response["X-Other"] = "€"
        return response

    server = await refused(make)
    assert body(server) == "ä€".encode()
    assert headers(server, b"x-latin") == [b"\xe4"]
    assert headers(server, b"x-other")[0].startswith(b"=?utf-8?")


# Servers


async def test_granian_gets_each_name_once():
    def make(request):
        response = HttpResponse(status=401)
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    server = await refused(make, of_module("granian._granian", Server("/view/")))
    names = [name for name, _ in server.sent[0]["headers"]]
    assert len(names) == len(set(names))
    assert headers(server, b"set-cookie") == [b"a=1; Path=/"]


@pytest.mark.parametrize(("status", "sent"), [(404, 404), (429, 429), (499, 400), (444, 400), (599, 500), (299, 200)])
async def test_one_implementation_of_uvicorn_knows_registered_statuses_only(status, sent):
    server = uvicorn("websockets_impl")
    server.leave(1006)
    assert (await refused(lambda request: HttpResponse("x", status=status), server)).status == sent


@pytest.mark.parametrize("implementation", ["websockets_sansio_impl", "wsproto_impl"])
async def test_the_others_know_any_status(implementation):
    server = uvicorn(implementation)
    server.leave(1006)
    assert (await refused(lambda request: HttpResponse("x", status=499), server)).status == 499


async def test_uvicorn_is_heard_until_it_says_that_the_connection_has_ended():
    server = uvicorn("websockets_sansio_impl")
    with urls(view=answers(lambda request: HttpResponse("x", status=401))):
        task = server.start(WebsocketHandler())
        await server.until(2)
        await asyncio.sleep(0.01)
        assert not task.done()
        server.leave(1006)
        await asyncio.wait_for(task, 10)


async def test_uvicorn_is_not_heard_for_ever(monkeypatch):
    monkeypatch.setattr(refusal, "SECONDS_TO_END", 0.01)
    await refused(lambda request: HttpResponse("x", status=401), uvicorn("wsproto_impl"))


async def test_nobody_else_is_waited_for():
    server = await refused(lambda request: HttpResponse("x", status=401))
    assert server.receives == 1


async def test_nothing_comes_between_the_start_and_the_body():
    turns = []

    class Immediate(Server):
        async def send(self, event):
            asyncio.get_event_loop().call_soon(turns.append, event["type"])
            await super().send(event)
            if event["type"].endswith("body"):
                assert not turns

    await refused(lambda request: HttpResponse("x", status=401), Immediate("/view/"))


async def test_a_client_that_leaves_while_it_is_refused_is_let_go():
    server = Server("/view/")
    server.send_failure = OSError("gone")
    await refused(lambda request: HttpResponse("x", status=401), server)
    assert server.sent == []


# Templates


def templated(text, **more):
    def make(request):
        return TemplateResponse(request, engines["django"].from_string(text), {"name": "x"}, **more)

    return make


async def test_a_template_is_rendered_in_a_thread():
    threads = []

    class Noted(TemplateResponse):
        @property
        def rendered_content(self):
            threads.append(asyncio._get_running_loop())
            return super().rendered_content

    def make(request):
        return Noted(request, engines["django"].from_string("hello {{ name }}"), {"name": "x"}, status=401)

    server = await refused(make)
    assert body(server) == b"hello x" and threads == [None]


async def test_a_template_is_rendered_once():
    def make(request):
        return templated("hello {{ name }}", status=404)(request).render()

    assert body(await refused(make)) == b"hello x"


class Failing:
    def __str__(self):
        raise KeyError("in the template")


async def test_a_template_that_fails_is_a_500_and_reported(caplog):
    def make(request):
        return TemplateResponse(request, engines["django"].from_string("{{ x }}"), {"x": Failing()}, status=401)

    server = await refused(make)
    assert server.status == 500
    assert "in the template" in caplog.text


def refusing_middleware(get_response):
    return lambda request: TemplateResponse(request, engines["django"].from_string("{{ x }}"), {"x": Failing()}, status=401)


async def test_a_template_of_a_middleware_that_fails_is_a_500(caplog):
    server = Server("/view/")
    with urls(view=echo), override_settings(MIDDLEWARE=[__name__ + ".refusing_middleware"]):
        await server.run(WebsocketHandler())
    assert server.status == 500 and "in the template" in caplog.text


# Streams


async def test_a_stream_is_sent_whole():
    server = await refused(lambda request: StreamingHttpResponse(iter([b"a", "b", b"c"]), status=400))
    assert body(server) == b"abc"
    assert headers(server, b"content-length") == [b"3"]


async def test_a_stream_is_read_in_a_thread():
    def stream():
        yield b"loop" if asyncio._get_running_loop() else b"thread"

    assert body(await refused(lambda request: StreamingHttpResponse(stream(), status=400))) == b"thread"


@pytest.mark.skipif(django.VERSION < (4, 2), reason="asynchronous streams are newer")
async def test_an_asynchronous_stream_is_sent_whole():
    async def stream():
        yield b"a"
        await asyncio.sleep(0)
        yield b"b"

    assert body(await refused(lambda request: StreamingHttpResponse(stream(), status=400))) == b"ab"


async def test_a_stream_with_status_403_is_an_answer():
    assert body(await refused(lambda request: StreamingHttpResponse(iter([b"x"]), status=403))) == b"x"


async def test_a_stream_that_fails_is_a_500_and_reported(caplog):
    def stream():
        yield b"x"
        raise KeyError("in the stream")

    server = await refused(lambda request: StreamingHttpResponse(stream(), status=400))
    assert server.status == 500 and server.types == ["http.response.start", "http.response.body"]
    assert "in the stream" in caplog.text


async def test_a_file_is_sent_and_closed():
    content = io.BytesIO(b"content")
    server = await refused(lambda request: FileResponse(content, status=404))
    assert body(server) == b"content"
    assert content.closed


# Closing


async def test_every_resource_is_closed_even_if_one_cannot_be(caplog):
    closed = []

    def fail():
        raise OSError("cannot")

    def make(request):
        response = HttpResponse("x", status=401)
        response._resource_closers.extend([fail, lambda: closed.append(True)])
        closed.append(response)
        return response

    await refused(make)
    assert closed[1:] == [True] and closed[0].closed
    assert "could not be closed" in caplog.text and "cannot" in caplog.text


@pytest.mark.parametrize("status", [302, 401, 403])
async def test_the_request_finishes_once(status):
    finished = []

    def receiver(**kwargs):
        finished.append(True)

    request_finished.connect(receiver)
    try:
        await refused(lambda request: HttpResponse("x", status=status))
    finally:
        request_finished.disconnect(receiver)
    assert finished == [True]


async def test_an_answer_that_fails_after_it_began_is_only_reported(caplog):
    class Broken(Server):
        async def send(self, event):
            if event["type"].endswith("body"):
                raise asyncio.CancelledError
            await super().send(event)

    server = Broken("/view/")
    with urls(view=answers(lambda request: HttpResponse("x", status=401))):
        with pytest.raises(asyncio.CancelledError):
            await server.run(WebsocketHandler())
    assert server.status == 401


async def test_a_coroutine_is_awaited_for_a_response():
    async def later():
        return HttpResponse("x")

    assert (await refusal.finished(later())).content == b"x"


