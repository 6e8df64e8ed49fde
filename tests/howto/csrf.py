import re

from django.test import override_settings
from django.urls import path
from shop.orders import orders
from shop.prices import prices
from shop.tokens import token
from shop.votes import vote

from pistoke.decorators import csrf_handshake
from pistoke.protocol import WebsocketJSONProtocol
from pistoke.testing import WebsocketClient, WebsocketSimpleTestCase


async def tell(request):
    await request.receive()


urlpatterns = [
    path("prices/", prices),
    path("vote/", vote),
    path("orders/", orders),
    path("token/", token),
    path("tell/", WebsocketJSONProtocol(csrf_handshake(error_key="error")(tell))),
    path("plain/", tell),
]


class CSRF(WebsocketSimpleTestCase):
    def setUp(self):
        super().setUp()
        self.async_client = WebsocketClient(enforce_csrf_checks=True)

    async def is_open(self, path="/plain/", **options):
        try:
            async with self.async_client.websocket(path, **options) as ws:
                if path == "/plain/":
                    await ws.send("")
                else:
                    await ws.receive()
        except self.async_client.HandshakeForbidden:
            return False
        return True

    async def test_origins(self):
        for origin in ("http://testserver", "https://app.example.net", "https://shop.example.org"):
            self.assertTrue(await self.is_open(HTTP_ORIGIN=origin), origin)
        self.assertTrue(await self.is_open())
        with self.assertLogs("django.security.WebsocketOrigin", "WARNING"):
            self.assertFalse(await self.is_open(HTTP_ORIGIN="https://elsewhere.example"))
            self.assertFalse(await self.is_open(HTTP_ORIGIN="http://app.example.net"))
            self.assertFalse(await self.is_open(HTTP_ORIGIN="http://testserver", secure=True))
        with override_settings(ALLOWED_HOSTS=["*"]):
            self.assertTrue(await self.is_open(HTTP_ORIGIN="https://elsewhere.example"))

    async def test_exempt(self):
        self.assertTrue(await self.is_open("/prices/", HTTP_ORIGIN="https://elsewhere.example"))

    async def token(self):
        page = (await self.async_client.get("/vote/")).content.decode()
        return re.search(r'csrfmiddlewaretoken: "(\w+)", room: "lobby"', page).group(1)

    async def test_first_message(self):
        token = await self.token()
        async with self.async_client.websocket("/vote/") as ws:
            await ws.send_json({"csrfmiddlewaretoken": token, "room": "lobby"})
            await ws.send_json("tea")
            self.assertEqual(await ws.receive_json(), {"room": "lobby", "voted": "tea"})
        for message, code in (({"csrfmiddlewaretoken": "a" * 64}, 4403), ({}, 4403), ("tea", 4400)):
            async with self.async_client.websocket("/vote/") as ws:
                await ws.send_json(message)
                self.assertEqual(await ws.wait_closed(), code)

    async def test_error_key(self):
        async with self.async_client.websocket("/tell/") as ws:
            await ws.send_json({})
            said = await ws.receive_json()
            self.assertEqual((set(said), said["status"]), ({"error", "status"}, 403))
            self.assertEqual(await ws.wait_closed(), 4403)

    async def test_token_elsewhere(self):
        token = await self.token()
        self.assertTrue(self.async_client.cookies["csrftoken"].value)
        for known in (token, self.async_client.cookies["csrftoken"].value):
            async with self.async_client.websocket("/orders/") as ws:
                await ws.send(known)
                await ws.send("tea")
                self.assertEqual(await ws.receive(), "Ordered: tea")
        async with self.async_client.websocket("/orders/") as ws:
            await ws.send("tea")
            self.assertEqual(await ws.wait_closed(), 4403)

    async def test_token_for_others(self):
        answer = await self.async_client.get("/token/")
        self.assertEqual(answer["Access-Control-Allow-Origin"], "https://app.example.net")
        async with self.async_client.websocket("/orders/") as ws:
            await ws.send(answer.json()["token"])
            await ws.send("tea")
            await ws.receive()

    async def test_other_clients_check_nothing(self):
        async with WebsocketClient().websocket("/vote/") as ws:
            await ws.send_json({"room": "lobby"})
            await ws.send_json("tea")
            await ws.receive()
