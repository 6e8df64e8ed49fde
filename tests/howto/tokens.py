import asyncio
from unittest import mock

from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.urls import path
from shop.first import first
from shop.tokens import make_token
from shop.views import app

from pistoke.protocol import WebsocketSubprotocol
from pistoke.pubsub import adisconnect
from pistoke.testing import WebsocketTransactionTestCase


async def page(request):
    return HttpResponse(request.user.get_username())


urlpatterns = [path("app/", app), path("first/", first), path("page/", page)]


class Tokens(WebsocketTransactionTestCase):
    def setUp(self):
        super().setUp()
        self.user = get_user_model().objects.create_user("aino")

    def names(self):
        return ["shop.v1", "token." + make_token(self.user)]

    async def test_token_in_subprotocol(self):
        async with self.async_client.websocket("/app/", subprotocols=self.names()) as ws:
            self.assertEqual((ws.subprotocol, await ws.receive()), ("shop.v1", "aino"))
            await ws.send("?")
            self.assertEqual(await ws.receive(), "?")
        for names in (["shop.v1"], ["shop.v1", "token.bad"]):
            async with self.async_client.websocket("/app/", subprotocols=names) as ws:
                self.assertEqual(await ws.wait_closed(), 4403)

    async def test_http_goes_on(self):
        self.assertEqual((await self.async_client.get("/page/")).content, b"")

    async def test_sign_out_reaches_a_token(self):
        async with self.async_client.websocket("/app/", subprotocols=self.names()) as ws:
            await ws.receive()
            self.user.is_active = False
            await self.user.asave()
            self.assertEqual(await ws.wait_closed(), 4401)

    async def test_disconnect_reaches_a_token(self):
        async with self.async_client.websocket("/app/", subprotocols=self.names()) as ws:
            await ws.receive()
            await adisconnect(user=self.user)
            self.assertEqual(await ws.wait_closed(), 4401)

    def test_token_is_a_name_that_a_browser_accepts(self):
        WebsocketSubprotocol(*self.names())

    async def test_token_in_message(self):
        async with self.async_client.websocket("/first/") as ws:
            await ws.send(make_token(self.user))
            self.assertEqual(await ws.receive(), "Hello, aino.")
        async with self.async_client.websocket("/first/") as ws:
            await ws.send("bad")
            self.assertEqual(await ws.wait_closed(), 4401)
        with mock.patch("asyncio.timeout", lambda seconds, timeout=asyncio.timeout: timeout(seconds / 200)):
            async with self.async_client.websocket("/first/") as ws:
                self.assertEqual(await ws.wait_closed(), 4408)
