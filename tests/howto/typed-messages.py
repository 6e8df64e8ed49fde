import json
import os
import re
import shlex
import tempfile

from django.core.management import call_command

from pistoke.testing import WebsocketSimpleTestCase

with open(os.environ["PAGE"], encoding="utf-8") as page:
    SAID, ANSWER, ERROR = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", page.read(), re.M | re.S)]


class TypedMessages(WebsocketSimpleTestCase):
    async def test_messages(self):
        async with self.async_client.websocket("/chat/") as ws:
            await ws.send_json(SAID)
            self.assertEqual(await ws.receive_json(), ANSWER)
            await ws.send_json({"type": "typing"})
            self.assertEqual(await ws.receive_json(), {"type": "typing", "on": True})
            await ws.send_json({"type": "say", "text": 5})
            self.assertEqual(await ws.receive_json(), ERROR)
            await ws.send_json(SAID)
            self.assertEqual(await ws.receive_json(), ANSWER)

    async def test_other_answers(self):
        async with self.async_client.websocket("/brief/") as ws:
            await ws.send("{")
            self.assertEqual(await ws.receive_json(), {"problem": "expected JSON"})
            await ws.send_json({"text": "a"})
            self.assertEqual(await ws.receive(), "a")
        async with self.async_client.websocket("/attempts/") as ws:
            await ws.send_json([])
            self.assertEqual(await ws.receive(), "expected an object, got a list; 2 more attempts")
            await ws.send_json({"text": "a"})
            self.assertEqual(await ws.receive(), "a")
            self.assertEqual(await ws.wait_closed(), 1000)

    async def test_fields(self):
        book = {"room": "0" * 32, "arrival": "2026-05-01", "nights": 3, "price": "12.50", "guests": [{"name": "Aino"}]}
        async with self.async_client.websocket("/booking/") as ws:
            await ws.send_json(book)
            self.assertEqual(await ws.receive(), "37.50 EUR")
            await ws.send_json(dict(book, nights=0))
            self.assertEqual((await ws.receive_json())["message"], "expected one night or more")
            await ws.send_json(dict(book, guests=[{"name": "Aino", "age": True}]))
            self.assertEqual((await ws.receive_json())["errors"][0]["loc"], ["guests", 0, "age"])

    async def test_other_libraries(self):
        async with self.async_client.websocket("/chess/") as ws:
            await ws.send_json({"type": "move", "x": 1, "y": 2})
            self.assertEqual(await ws.receive_json(), {"type": "move", "x": 1, "y": 2})
            await ws.send_json({"type": "move", "x": 8, "y": 2})
            self.assertEqual((await ws.receive_json())["errors"][0]["loc"], ["x"])
            await ws.send_json({"type": "Resign"})
            self.assertEqual(await ws.receive_json(), {"type": "Resign", "reason": ""})
            await ws.send_json({"type": "Resign", "why": ""})
            self.assertEqual((await ws.receive_json())["type"], "error")

    async def test_declared(self):
        async with self.async_client.websocket("/rooms/lobby/") as ws:
            await ws.send_json({"type": "typing", "on": False})
            await ws.send_json({"type": "say", "text": "a"})
            self.assertEqual(await ws.receive_json(), {"type": "said", "user": "lobby", "text": "a"})

    def test_document(self):
        with tempfile.TemporaryDirectory() as directory:
            before = os.getcwd()
            os.chdir(directory)
            try:
                for line in (
                    "python manage.py asyncapi",
                    'python manage.py asyncapi --output api.json --title "Chat" --api-version 2.1',
                    "python manage.py asyncapi --output api.yaml",
                ):
                    with open(os.devnull, "w") as nowhere:
                        call_command(*shlex.split(line)[2:], stdout=nowhere)
                with open("api.json", encoding="utf-8") as file:
                    content = json.load(file)
                with open("api.yaml", encoding="utf-8") as file:
                    self.assertTrue(file.read().startswith("asyncapi: 3.0.0"))
            finally:
                os.chdir(before)
        self.assertEqual(content["info"], {"title": "Chat", "version": "2.1"})
        self.assertEqual(list(content["channels"]), ["room"])
        self.assertEqual(content["channels"]["room"]["description"], "Talk in a room.")
        self.assertEqual(set(content["channels"]["room"]["messages"]), {"Say", "Typing", "Said", "pistoke_Error"})
