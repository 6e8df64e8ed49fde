from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission
from django.urls import path
from django.utils.decorators import method_decorator
from shop.functions import refused_with_a_code, refused_with_http
from shop.later import admin
from shop.refusals import orders
from shop.views import Feed, Stock

from pistoke.protocol import WebsocketProtocol
from pistoke.pubsub import adisconnect
from pistoke.testing import WebsocketTransactionTestCase

urlpatterns = [
    path("feed/", Feed.as_view()),
    path("outside/", method_decorator(WebsocketProtocol(), name="websocket")(type("Outside", (Feed,), {})).as_view()),
    path("stock/", Stock.as_view()),
    path("http/", refused_with_http),
    path("code/", refused_with_a_code),
    path("orders/", orders),
    path("admin/", admin),
]


class Authentication(WebsocketTransactionTestCase):
    def setUp(self):
        super().setUp()
        # For the sake of its permissions.
        create_permissions(apps.get_app_config("auth"), verbosity=0)
        self.user = get_user_model().objects.create_user("aino")
        self.permissions = Permission.objects.filter(codename__in=["change_user", "view_user"])

    async def refusal(self, path, **options):
        with self.assertRaises(self.async_client.HandshakeRefused) as refused:
            async with self.async_client.websocket(path, **options):
                pass
        return refused.exception.status_code

    async def closing(self, path):
        async with self.async_client.websocket(path) as ws:
            return await ws.wait_closed()

    async def first(self, path, **options):
        async with self.async_client.websocket(path, **options) as ws:
            return await ws.receive()

    async def allow(self):
        await sync_to_async(self.user.user_permissions.set)(self.permissions)

    async def test_mixins(self):
        response = await self.async_client.get("/feed/")
        self.assertRedirects(response, "/accounts/login/?next=/feed/", fetch_redirect_response=False)
        self.assertEqual(await self.closing("/feed/"), 4403)
        self.assertEqual(await self.closing("/stock/"), 4403)
        await self.async_client.aforce_login(self.user)
        self.assertEqual((await self.async_client.get("/feed/")).status_code, 200)
        async with self.async_client.websocket("/feed/") as ws:
            self.assertEqual(await ws.receive(), "Hello, aino.")
            await ws.send("?")
            self.assertEqual(await ws.receive(), "?")
        self.assertEqual((await self.async_client.get("/stock/")).status_code, 403)
        self.assertEqual(await self.closing("/stock/"), 4403)
        await self.allow()
        self.assertEqual(await self.first("/stock/"), "You may change users.")

    async def test_functions(self):
        self.assertEqual(await self.refusal("/http/"), 403)
        self.assertEqual(await self.closing("/code/"), 4403)
        await self.async_client.aforce_login(self.user)
        await self.allow()
        self.assertEqual(await self.first("/http/"), "aino")
        self.assertEqual(await self.first("/code/"), "aino")

    async def test_mixins_outside_of_the_protocol(self):
        self.assertEqual(await self.refusal("/outside/"), 403)

    async def test_both_codes(self):
        self.assertEqual(await self.closing("/orders/"), 4401)
        await self.async_client.aforce_login(self.user)
        self.assertEqual(await self.closing("/orders/"), 4403)
        await self.allow()
        self.assertEqual(await self.first("/orders/"), "orders")

    async def test_permission_that_is_taken_away(self):
        await self.async_client.aforce_login(self.user)
        await self.allow()
        async with self.async_client.websocket("/admin/") as ws:
            await ws.send("1")
            self.assertEqual(await ws.receive(), "Done: 1")
            await sync_to_async(self.user.user_permissions.clear)()
            await ws.send("2")
            self.assertEqual(await ws.wait_closed(), 4403)

    async def test_disconnect(self):
        await self.async_client.aforce_login(self.user)
        async with self.async_client.websocket("/feed/") as ws:
            await ws.receive()
            await adisconnect(user=self.user, code=4403)
            self.assertEqual(await ws.wait_closed(), 4403)

    async def test_log_out(self):
        await self.async_client.aforce_login(self.user)
        async with self.async_client.websocket("/feed/") as ws:
            await ws.receive()
            await self.async_client.alogout()
            self.assertEqual(await ws.wait_closed(), 4401)
