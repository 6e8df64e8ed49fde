import asyncio
import time

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, transaction
from django.urls import path
from shop.models import Product
from shop.orders import orders
from shop.services import buy
from shop.views import listing, stock
from shop.watch import watch

from pistoke.conf import conf
from pistoke.testing import WebsocketTransactionTestCase

done = []


async def blocking(request):
    Product.objects.count()


def slow():
    time.sleep(0.05)
    with transaction.atomic():
        Product.objects.create(name="late")
    done.append("late")


async def cancelled(request):
    await sync_to_async(slow)()


async def related(request):
    # A relation of Django's own models.
    from django.contrib.auth.models import Permission

    permission = await Permission.objects.afirst()
    permission.content_type.model


urlpatterns = [
    path("stock/", stock),
    path("listing/", listing),
    path("orders/", orders),
    path("watch/<str:name>/", watch),
    path("blocking/", blocking),
    path("related/", related),
    path("cancelled/", cancelled),
]


class Database(WebsocketTransactionTestCase):
    def setUp(self):
        super().setUp()
        Product.objects.create(name="teapot", stock=3)
        Product.objects.create(name="teacup", stock=12)

    async def test_query(self):
        async with self.async_client.websocket("/stock/") as ws:
            await ws.send_json("teapot")
            self.assertEqual(await ws.receive_json(), {"name": "teapot", "stock": 3})
            await ws.send_json("sofa")
            self.assertEqual(await ws.receive_json(), {"error": "There is no sofa."})
        async with self.async_client.websocket("/listing/") as ws:
            await ws.send_json("tea")
            self.assertEqual(len(await ws.receive_json()), 2)

    async def test_orders(self):
        async with self.async_client.websocket("/orders/") as ws:
            for left in (1, None):
                await ws.send_json({"name": "teapot", "count": 2})
                self.assertEqual(await ws.receive_json(), {"left": left})

    async def test_synchronous_calls_are_noticed(self):
        with self.assertRaises(SynchronousOnlyOperation):
            async with self.async_client.websocket("/blocking/") as ws:
                await ws.wait_closed()

    async def test_relations(self):
        from django.apps import apps
        from django.contrib.auth.management import create_permissions

        await sync_to_async(create_permissions)(apps.get_app_config("auth"), verbosity=0)
        with self.assertRaises(SynchronousOnlyOperation):
            async with self.async_client.websocket("/related/") as ws:
                await ws.wait_closed()

    async def test_cancelled_call_goes_on(self):
        async with self.async_client.websocket("/cancelled/"):
            await asyncio.sleep(0.01)
        await sync_to_async(time.sleep)(0)
        self.assertEqual(done, ["late"])
        self.assertTrue(await Product.objects.filter(name="late").aexists())

    async def test_atomic_requests(self):
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            await self.test_query()
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = False

    async def test_watch(self):
        async with self.async_client.websocket("/watch/teapot/") as ws:
            await ws.send("?")
            self.assertEqual(await ws.receive(), "3")
            await sync_to_async(buy)("teapot", 1)
            await ws.send("?")
            self.assertEqual(await ws.receive(), "2")

    def test_settings(self):
        self.assertEqual(conf.DATABASE_THREADS, 4)
        self.assertEqual(connection.settings_dict["CONN_MAX_AGE"], 60)
