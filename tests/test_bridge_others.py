"""The bridge, with servers that others have written for other things than Django."""
import asyncio
import json
import sys

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings

from pistoke.bridge import asgi_view
from pistoke.testing import WebsocketClient, WebsocketTransactionTestCase

from .asgi import urls
from .parts import importable, require

AVAILABLE = sys.version_info >= (3, 10)


def graphql():
    """Return an application with a subscription, which tells who asks and then counts."""
    require("Strawberry", importable("strawberry"), "pip install strawberry-graphql", exists=AVAILABLE)
    require("starlette", importable("starlette"), "pip install starlette")
    from collections.abc import AsyncGenerator

    import strawberry
    from strawberry.asgi import GraphQL

    async def count(self, info: strawberry.Info, until: int) -> "AsyncGenerator[str, None]":
        scope = info.context["request"].scope
        yield "{} at {}".format(scope["user"].get_username() or "nobody", scope["url_route"]["kwargs"]["room"])
        for number in range(until):
            yield str(number)

    # The name is one of this function, where Strawberry would not look for it.
    count.__annotations__["return"] = AsyncGenerator[str, None]
    query = type("Query", (), {"__annotations__": {"version": str}, "version": "1"})
    subscription = type("Subscription", (), {"count": strawberry.subscription(resolver=count)})
    return GraphQL(strawberry.Schema(query=strawberry.type(query), subscription=strawberry.type(subscription)))


def routed(application):
    """Return URL patterns that put an application below a room."""
    return urls(**{"rooms/<room>": asgi_view(application)})


class GraphQLTest(WebsocketTransactionTestCase):
    """A subscription over graphql-transport-ws."""

    async def subscribe(self, ws, query):
        await ws.send_json({"type": "connection_init"})
        await ws.expect_json({"type": "connection_ack"})
        await ws.send_json({"id": "1", "type": "subscribe", "payload": {"query": query}})

    async def test_a_subscription(self):
        with routed(graphql()):
            async with self.async_client.websocket("/rooms/a/", subprotocols=["graphql-transport-ws"]) as ws:
                self.assertEqual(ws.subprotocol, "graphql-transport-ws")
                await self.subscribe(ws, "subscription { count(until: 2) }")
                for value in ("nobody at a", "0", "1"):
                    await ws.expect_json({"id": "1", "type": "next", "payload": {"data": {"count": value}}})
                await ws.expect_json({"id": "1", "type": "complete"})
                await ws.send_json({"type": "ping"})
                await ws.expect_json({"type": "pong"})

    def test_it_knows_the_user(self):
        self.client.force_login(get_user_model().objects.create_user("aino"))
        with routed(graphql()), self.client.websocket("/rooms/a/", subprotocols=["graphql-transport-ws"]) as ws:
            ws.send_json({"type": "connection_init"})
            ws.receive()
            payload = {"query": "subscription { count(until: 0) }"}
            ws.send_json({"id": "1", "type": "subscribe", "payload": payload})
            ws.expect_json({"id": "1", "type": "next", "payload": {"data": {"count": "aino at a"}}})
            ws.expect_json({"id": "1", "type": "complete"})

    async def test_what_is_wrong_is_closed_as_the_protocol_says(self):
        with routed(graphql()):
            async with self.async_client.websocket("/rooms/a/", subprotocols=["graphql-transport-ws"]) as ws:
                await ws.send_json({"id": "1", "type": "subscribe", "payload": {"query": "{ version }"}})
                await ws.assert_closed(4401)
            async with self.async_client.websocket("/rooms/a/", subprotocols=["something-else"]) as ws:
                await ws.assert_closed(4406)

    async def test_our_middleware_stands_before_it(self):
        with routed(graphql()):
            await self.async_client.websocket("/rooms/a/", HTTP_ORIGIN="https://elsewhere.example").assert_refused(403)


@pytest.fixture
def socketio():
    """Import python-socketio, or skip."""
    require("python-socketio", importable("socketio"), "pip install python-socketio", exists=AVAILABLE)
    import socketio

    return socketio


async def test_socketio(socketio):
    server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])
    gone = asyncio.Event()

    @server.event
    async def connect(sid, environ):
        await server.save_session(sid, {"user": str(environ["asgi.scope"]["user"])})
        await server.enter_room(sid, "all")

    @server.event
    async def say(sid, text):
        session = await server.get_session(sid)
        await server.emit("said", [session["user"], text], room="all")
        return "ok"

    @server.event
    async def disconnect(sid, reason):
        gone.set()

    application = socketio.ASGIApp(server, socketio_path="rooms/a")
    middleware = ["django.contrib.sessions.middleware.SessionMiddleware",
                  "django.contrib.auth.middleware.AuthenticationMiddleware"]  # fmt: skip
    client = WebsocketClient()
    # It takes its time after the client has left.
    client.websocket_handler.disconnect_grace = 5
    with routed(application), override_settings(MIDDLEWARE=middleware):
        async with client.websocket("/rooms/a/?EIO=4&transport=websocket") as ws:
            opening = await ws.receive()
            assert opening[0] == "0" and "sid" in json.loads(opening[1:])
            await ws.send("40")
            assert (await ws.receive()).startswith('40{"sid":')
            await ws.send('421["say","hello"]')
            await ws.expect('42["said",["AnonymousUser","hello"]]')
            await ws.expect('431["ok"]')
        await asyncio.wait_for(gone.wait(), 10)
    await server.shutdown()
    for task in asyncio.all_tasks():
        if "AsyncSocket" in repr(task.get_coro()):
            # It would send its next ping in 25 seconds, were there a client.
            task.cancel()
    await asyncio.sleep(0)
