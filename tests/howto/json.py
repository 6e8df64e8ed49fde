import datetime
import decimal
import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.urls import path
from django.utils.translation import gettext_lazy
from shop.clock import Clock
from shop.exact import prices
from shop.orders import orders
from shop.questions import questions
from shop.short import short
from shop.views import basket

from pistoke.testing import WebsocketSimpleTestCase

urlpatterns = [
    path("basket/", basket),
    path("clock/", Clock.as_view()),
    path("orders/", orders),
    path("prices/", prices),
    path("short/", short),
    path("questions/", questions),
]


class JSON(WebsocketSimpleTestCase):
    async def test_objects(self):
        async with self.async_client.websocket("/basket/") as ws:
            await ws.send_json({"price": 5, "count": 2})
            self.assertEqual(await ws.receive(), '{"total": 10}')
            await ws.send(b'{"price": 1}')
            self.assertEqual(await ws.receive_json(), {"total": 11})

    async def test_class(self):
        self.assertContains(await self.async_client.get("/clock/"), '"ws://testserver/clock/"')
        async with self.async_client.websocket("/clock/") as ws:
            await ws.send_json("Europe/Helsinki")
            self.assertRegex((await ws.receive_json())["now"], r"^\d+-.*T.*Z$")

    async def test_no_json(self):
        async with self.async_client.websocket("/basket/") as ws:
            await ws.send("{")
            self.assertEqual(await ws.wait_closed(), 1007)

    async def test_another_shape(self):
        for message, error in (({}, KeyError), ([], TypeError)):
            with self.assertRaises(error):
                async with self.async_client.websocket("/basket/") as ws:
                    await ws.send_json(message)
                    self.assertEqual(await ws.wait_closed(), 1011)
            self.assertEqual(ws.close_code, 1011)

    async def test_form(self):
        async with self.async_client.websocket("/orders/") as ws:
            await ws.send_json({"product": "teapot", "price": "12.50", "delivery": "2026-05-01"})
            ordered = {"product": "teapot", "price": "12.50", "delivery": "2026-05-01"}
            self.assertEqual(await ws.receive_json(), {"ordered": ordered})
            await ws.send_json({"product": "teapot", "price": -1, "delivery": "2026-05-01"})
            self.assertEqual(list((await ws.receive_json())["errors"]), ["price"])
            await ws.send_json(["teapot"])
            self.assertEqual(list((await ws.receive_json())["errors"]), ["product", "price", "delivery"])

    def test_table(self):
        encode = DjangoJSONEncoder().encode
        noon = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.timezone.utc)
        self.assertEqual(encode(noon), '"2026-05-01T12:00:00Z"')
        parts = [noon.date(), noon.time(), datetime.timedelta(hours=1)]
        self.assertEqual(encode(parts), '["2026-05-01", "12:00:00", "P0DT01H00M00S"]')
        self.assertEqual(encode(decimal.Decimal("12.50")), '"12.50"')
        self.assertTrue(encode(uuid.uuid4()).startswith('"'))
        self.assertEqual(encode(gettext_lazy("Tea")), '"Tea"')

    async def test_own_encoder(self):
        async with self.async_client.websocket("/prices/") as ws:
            await ws.send("0.1")
            await ws.receive()
            await ws.send("0.2")
            self.assertEqual(await ws.receive_json(), {"seen": ["0.1", "0.2"], "sum": "0.3"})

    async def test_unknown_object(self):
        from shop.exact import ShopEncoder

        with self.assertRaises(TypeError):
            ShopEncoder().encode(object())
        self.assertEqual(DjangoJSONEncoder().encode(float("nan")), "NaN")

    async def test_short(self):
        async with self.async_client.websocket("/short/") as ws:
            await ws.send('{"a": "\\u00e4"}')
            self.assertEqual(await ws.receive(), '{"a":"ä"}')

    async def test_questions(self):
        async with self.async_client.websocket("/questions/") as ws:
            await ws.send_json({"id": 7, "product": "teapot"})
            self.assertEqual(await ws.receive_json(), {"id": 7, "answer": 3})
