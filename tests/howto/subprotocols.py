import asyncio
from unittest import mock

from django.urls import path
from shop.graphql import graphql
from shop.old import any_edition
from shop.versions import prices
from shop.views import shop

from pistoke.testing import WebsocketSimpleTestCase

urlpatterns = [
    path("shop/", shop),
    path("prices/", prices),
    path("any/", any_edition),
    path("graphql/", graphql),
]
V1, V2 = "v1.shop.example", "v2.shop.example"


class Subprotocols(WebsocketSimpleTestCase):
    async def test_one_name(self):
        async with self.async_client.websocket("/shop/", subprotocols=["other", V1]) as ws:
            await ws.send("tea")
            self.assertEqual((ws.subprotocol, await ws.receive()), (V1, "TEA"))

    async def test_other_name(self):
        for names in ([], ["other"]):
            with self.assertLogs("django.request", "WARNING") as logged:
                with self.assertRaises(self.async_client.HandshakeForbidden):
                    async with self.async_client.websocket("/shop/", subprotocols=names):
                        pass
            self.assertIn(V1, logged.output[0])
            self.assertIn(str(names), logged.output[0])

    async def test_client_chooses(self):
        for names, chosen in (([V2, V1], V2), ([V1, V2], V1), (["v3.shop.example", V1], V1)):
            async with self.async_client.websocket("/prices/", subprotocols=names) as ws:
                await ws.send_json("tea")
                said = {V1: "3", V2: {"price": 3, "currency": "EUR"}}[chosen]
                self.assertEqual((ws.subprotocol, await ws.receive_json()), (chosen, said))

    async def test_no_name(self):
        for names, said in (([], "tea"), ([V1], "TEA")):
            async with self.async_client.websocket("/any/", subprotocols=names) as ws:
                await ws.send("tea")
                self.assertEqual(await ws.receive(), said)

    async def test_graphql(self):
        async with self.async_client.websocket("/graphql/", subprotocols=["graphql-transport-ws"]) as ws:
            await ws.send_json({"type": "connection_init"})
            self.assertEqual(await ws.receive_json(), {"type": "connection_ack"})
            await ws.send_json({"type": "ping"})
            self.assertEqual(await ws.receive_json(), {"type": "pong"})
            await ws.send_json({"type": "subscribe", "id": "a", "payload": {"query": "…"}})
            said = [await ws.receive_json() for _ in range(4)]
            self.assertEqual([message["type"] for message in said], ["next"] * 3 + ["complete"])
            await ws.send_json({"type": "complete", "id": "a"})

    async def test_graphql_complete(self):
        async def forever(payload):
            yield {"data": None}
            await asyncio.sleep(60)

        with mock.patch("shop.graphql.results", forever):
            async with self.async_client.websocket("/graphql/", subprotocols=["graphql-transport-ws"]) as ws:
                await ws.send_json({"type": "connection_init"})
                await ws.send_json({"type": "subscribe", "id": "a", "payload": {}})
                await ws.receive(), await ws.receive()
                task, = (task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "run")
                await ws.send_json({"type": "complete", "id": "a"})
                await asyncio.wait([task])
                self.assertTrue(task.cancelled())
                await ws.send_json({"type": "subscribe", "id": "b", "payload": {}})
                await ws.receive()

    async def test_graphql_refuses(self):
        async with self.async_client.websocket("/graphql/", subprotocols=["graphql-transport-ws"]) as ws:
            await ws.send_json({"type": "subscribe"})
            self.assertEqual(await ws.wait_closed(), 4401)
        with mock.patch("asyncio.timeout", lambda seconds, timeout=asyncio.timeout: timeout(seconds / 60)):
            async with self.async_client.websocket("/graphql/", subprotocols=["graphql-transport-ws"]) as ws:
                self.assertEqual(await ws.wait_closed(), 4408)
