import asyncio
from pathlib import Path

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction
from django.shortcuts import render
from django.test import override_settings
from django.urls import path
from project.settings import PISTOKE_PUBSUB
from rooms.log import first_of
from rooms.mine import orders
from rooms.models import Order
from rooms.resume import resume
from rooms.ticker import ticker
from rooms.views import chat

from pistoke.pubsub import apublish, position
from pistoke.pubsub.broker import brokers
from pistoke.testing import WebsocketTransactionTestCase


def room(request):
    return render(request, "rooms/room.html")


urlpatterns = [
    path("chat/<str:room>/", chat),
    path("ticker/", ticker),
    path("orders/", orders),
    path("resume/<str:room>/", resume),
    path("room/", room),
]
SETTINGS = Path("project/settings.py").read_text()
HERE = {"default": {"HISTORY": {"room.*": {"size": 2}}}}


@override_settings(PISTOKE_PUBSUB=HERE)
class Topics(WebsocketTransactionTestCase):
    def tearDown(self):
        brokers["default"].close()

    async def test_follow(self):
        async with self.async_client.websocket("/chat/lobby/") as one:
            async with self.async_client.websocket("/chat/lobby/") as other:
                await one.send("Hello")
                for ws in (one, other):
                    self.assertEqual(await ws.receive(), "AnonymousUser: Hello")

    async def order(self):
        return await sync_to_async(Order.objects.create)(product="tea")

    async def test_publish(self):
        async with self.async_client.websocket("/ticker/") as ws:
            await ws.send("")
            await sync_to_async(call_command)("announce", "Tea is ready.")
            self.assertEqual(await ws.receive(), "Tea is ready.")
            await apublish("prices", {"tea": 3})
            self.assertEqual(await ws.receive_json(), {"tea": 3})

    async def test_commit_is_waited_for(self):
        following = asyncio.ensure_future(first_of("orders"))
        await asyncio.sleep(0)

        def roll_back():
            with transaction.atomic():
                Order.objects.create(product="tea")
                transaction.set_rollback(True)

        await sync_to_async(roll_back)()
        order = await self.order()
        self.assertEqual(await following, {"order": order.pk, "product": "tea"})

    async def test_transform(self):
        staff = await sync_to_async(get_user_model().objects.create_user)("aino", is_staff=True)
        async with self.async_client.websocket("/orders/") as ws:
            await ws.send("0")
            order = await self.order()
            self.assertEqual(await ws.receive_json(), {"order": order.pk})
        await self.async_client.aforce_login(staff)
        async with self.async_client.websocket("/orders/") as ws:
            await ws.send("0")
            order = await self.order()
            self.assertEqual(await ws.receive_json(), {"order": order.pk, "product": "tea"})

    async def test_resume(self):
        begin = await sync_to_async(position)("room.lobby")
        self.assertContains(await self.async_client.get("/room/"), 'let since = "{}"'.format(begin))
        place = await apublish("room.lobby", "tea")
        async with self.async_client.websocket("/resume/lobby/?since={}".format(begin)) as ws:
            self.assertEqual(await ws.receive_json(), {"data": "tea", "position": str(place)})
            await ws.send("0")
        for _ in range(2):
            await apublish("room.lobby", "more")
        for since in ("nonsense", begin):
            async with self.async_client.websocket("/resume/lobby/?since={}".format(since)) as ws:
                self.assertEqual(await ws.receive_json(), {"reload": True})
        async with self.async_client.websocket("/resume/lobby/") as ws:
            await apublish("room.lobby", "tea")
            self.assertEqual((await ws.receive_json())["data"], "tea")

    def test_brokers_can_be_made(self):
        for kind, location in (("redis.RedisBroker", {}), ("postgresql.PostgreSQLBroker", {"LOCATION": "postgresql://"})):
            self.assertIn("pistoke.pubsub." + kind, SETTINGS)
            broker = dict(PISTOKE_PUBSUB["default"], BACKEND="pistoke.pubsub." + kind, **location)
            with override_settings(PISTOKE_PUBSUB={"default": broker}):
                self.assertTrue(brokers["default"].shared)
                brokers["default"].close()

    async def test_slow(self):
        async with self.async_client.websocket("/chat/lobby/") as ws:
            for slow in ("close", "drop_oldest", "latest"):
                ws.request.follow("prices", slow=slow, buffer=10)
            await ws.send("Hello")
            await ws.receive()
