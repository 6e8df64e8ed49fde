"""The testing tools as existing test-suites use them, by their Finnish names."""
from django.test import override_settings

from pistoke.testaus import WebsocketPaate, WebsocketTesti
from tests import testing_views


@override_settings(ROOT_URLCONF="tests.testing_views")
class Testi(WebsocketTesti):
    """Ordinary use."""

    websocket_aikakatkaisu = 2

    def setUp(self):
        testing_views.log.clear()

    async def test_kaiku(self):
        async with self.async_client.websocket("/echo/") as websocket:
            await websocket.send("x")
            assert await websocket.receive() == "x"

    async def test_protokolla(self):
        async with self.async_client.websocket("/subprotocol/", protokolla="a") as websocket:
            self.assertEqual(await websocket.receive(), "a")
        with self.assertRaises(self.async_client.KattelyEpaonnistui):
            async with self.async_client.websocket("/subprotocol/", protokolla=["x"]):
                pass

    async def test_oma_paate(self):
        self.async_client = WebsocketPaate(enforce_csrf_checks=True, raise_request_exception=False)
        with self.assertRaises(self.async_client.Http403):
            async with self.async_client.websocket("/echo/", HTTP_ORIGIN="https://muu.example"):
                pass
        async with self.async_client.websocket("/failing-at-once/") as websocket:
            with self.assertRaises(self.async_client.NakymaPaattyi):
                await websocket.receive()

    async def test_poikkeukset(self):
        paate = self.async_client
        with self.assertRaises(paate.NakymaPaattyi):
            async with paate.websocket("/raw/silent/"):
                pass
        with self.assertRaises(paate.SyotettaEiLuettu):
            async with paate.websocket("/sleeping/") as websocket:
                await websocket.send("x")
        with self.assertRaises(paate.TulostettaEiLuettu):
            async with paate.websocket("/echo/") as websocket:
                await websocket.send("x")
        paate.websocket_aikakatkaisu = 0.05
        with self.assertRaises(paate.PaateyhteysAikakatkaistiin):
            async with paate.websocket("/echo/") as websocket:
                await websocket.receive()
