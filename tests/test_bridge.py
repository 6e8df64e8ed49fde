"""Other ASGI applications as views."""

import asyncio
import functools
import json
import sys

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings

from pistoke.bridge import asgi_view
from pistoke.handler import WebsocketHandler

from .asgi import Server, urls
from .parts import importable, require


async def echo(scope, receive, send):
    """A bare application: accepts, sends back, notes the end."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            scope["state"]["left"] = event["code"]
            return
        await send({"type": "websocket.send", "text": event["text"]})


def answers(application, server=None, **kwargs):
    """Return a server for an application behind /view/, and the handler."""
    return server or Server("/view/"), urls(view=asgi_view(application))


class TestApplication:
    async def test_it_accepts_and_exchanges(self):
        server, urlconf = answers(echo, Server("/view/", subprotocols=["v1", "v2"]))
        with urlconf:
            server.say("one", "two")
            server.leave(4001)
            await server.run(WebsocketHandler())
        assert server.sent[0] == {"type": "websocket.accept", "subprotocol": "v1"}
        assert server.messages == ["one", "two"]
        assert server.scope["state"]["left"] == 4001

    async def test_it_refuses(self):
        async def application(scope, receive, send):
            await receive()
            await send({"type": "websocket.close", "code": 4000})

        server, urlconf = answers(application)
        with urlconf:
            await server.run(WebsocketHandler())
        assert server.types == ["close"]

    async def test_it_answers_with_http(self):
        async def application(scope, receive, send):
            await send({"type": "websocket.http.response.start", "status": 402, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"pay"})

        server, urlconf = answers(application)
        with urlconf:
            await server.run(WebsocketHandler())
        assert server.status == 402

    async def test_it_returns_without_a_word(self):
        async def application(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})

        server, urlconf = answers(application)
        with urlconf:
            await server.run(WebsocketHandler())
        assert server.closed == 1000

    async def test_its_errors_are_reported(self, caplog):
        async def application(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            raise ZeroDivisionError

        server, urlconf = answers(application)
        with urlconf:
            await server.run(WebsocketHandler())
        assert server.closed == 1011
        assert "ZeroDivisionError" in caplog.text

    async def test_sending_to_nobody_is_an_oserror(self):
        seen = []

        async def application(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            try:
                await send({"type": "websocket.send", "text": "late"})
            except OSError as exc:
                seen.append(exc.code)
            except RuntimeError as exc:
                seen.append(exc)

        server, urlconf = answers(application)
        with urlconf:
            server.send_failure = None
            task = server.start(WebsocketHandler())
            await server.until(1)
            server.send_failure = OSError("gone")
            server.leave(1001)
            await task
        assert seen == [1001]

    async def test_application_of_two_calls(self):
        class Application:
            def __init__(self, scope):
                self.scope = scope

            async def __call__(self, receive, send):
                await echo(self.scope, receive, send)

        server, urlconf = answers(Application)
        with urlconf:
            server.say("old")
            server.leave()
            await server.run(WebsocketHandler())
        assert server.messages == ["old"]

    async def test_scope_knows_what_django_knows(self):
        seen = {}

        async def application(scope, receive, send):
            seen.update(scope)
            await echo(scope, receive, send)

        server, urlconf = answers(application, Server("/view/", headers=[("Cookie", "a=b")]))
        middleware = ["django.contrib.sessions.middleware.SessionMiddleware",
                      "django.contrib.auth.middleware.AuthenticationMiddleware"]
        with urlconf, override_settings(MIDDLEWARE=middleware):
            server.leave()
            await server.run(WebsocketHandler())
        assert seen["cookies"] == {"a": "b"}
        assert str(seen["user"]) == "AnonymousUser"
        assert seen["session"].session_key is None
        assert seen["url_route"] == {"args": (), "kwargs": {}}
        assert seen["path"] == "/view/"

    async def test_decorators_stand_before_it(self):
        view = asgi_view(echo)

        @functools.wraps(view)
        def nobody(request):
            return HttpResponse("who are you?", status=401)

        server = Server("/view/")
        with urls(view=nobody):
            await server.run(WebsocketHandler())
        assert server.status == 401

    def test_page_needs_an_upgrade(self):
        with urls(view=asgi_view(echo)):
            response = Client().get("/view/")
        assert response.status_code == 426
        assert "Upgrade" not in response


@pytest.fixture
def channels():
    """Import Channels, or skip."""
    require("channels", importable("channels"), "pip install channels", exists=sys.version_info >= (3, 8))
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}):
        yield


@pytest.mark.usefixtures("channels")
class TestConsumers:
    """Consumers of Channels, as its documentation has them."""

    async def exchange(self, consumer, *messages, count=None):
        server, urlconf = answers(consumer.as_asgi())
        with urlconf:
            task = server.start(WebsocketHandler())
            server.say(*messages)
            await server.until(1 + (len(messages) if count is None else count))
            server.leave()
            await asyncio.wait_for(task, 10)
        return server

    async def test_asynchronous_one(self):
        from channels.generic.websocket import AsyncWebsocketConsumer

        class Echo(AsyncWebsocketConsumer):
            async def receive(self, text_data=None, bytes_data=None):
                await self.send(text_data=text_data, bytes_data=bytes_data)

        assert (await self.exchange(Echo, "hello", b"bytes")).messages == ["hello", b"bytes"]

    async def test_json_one_in_a_group(self):
        from channels.generic.websocket import AsyncJsonWebsocketConsumer

        class Room(AsyncJsonWebsocketConsumer):
            groups = ["room"]

            async def receive_json(self, content):
                await self.channel_layer.group_send("room", {"type": "said", "content": content})

            async def said(self, event):
                await self.send_json(event["content"])

        server = await self.exchange(Room, '{"a": 1}')
        assert json.loads(server.messages[0]) == {"a": 1}

    @pytest.mark.django_db(transaction=True)
    async def test_synchronous_one(self):
        from channels.generic.websocket import JsonWebsocketConsumer

        class Name(JsonWebsocketConsumer):
            def receive_json(self, content):
                self.send_json([self.scope["url_route"]["args"], content])

        server = await self.exchange(Name, '"hello"')
        assert json.loads(server.messages[0]) == [[], "hello"]

    async def test_one_that_closes(self):
        from channels.generic.websocket import AsyncWebsocketConsumer

        class Bye(AsyncWebsocketConsumer):
            async def connect(self):
                await self.accept()
                await self.close(code=4001)

        server, urlconf = answers(Bye.as_asgi())
        with urlconf:
            task = server.start(WebsocketHandler())
            await server.until(2)
            server.leave(4001)
            await asyncio.wait_for(task, 10)
        assert server.closed == 4001


async def test_starlette_is_an_application_too():
    require("starlette", importable("starlette"), "pip install starlette", exists=sys.version_info >= (3, 8))
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def endpoint(websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())

    server, urlconf = answers(Starlette(routes=[WebSocketRoute("/view/", endpoint)]))
    with urlconf:
        server.say("hello")
        server.leave()
        await server.run(WebsocketHandler())
    assert server.messages == ["HELLO"]
