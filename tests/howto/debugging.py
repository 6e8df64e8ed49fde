import asyncio
import logging
import os
import re
import subprocess
import sys
import warnings

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.http import Http404
from django.test import override_settings
from django.urls import path
from django.views import View
from shop.slow import watched
from shop.views import echo, private

from pistoke import checks
from pistoke.protocol import WebsocketProtocol
from pistoke.testing import WebsocketLiveServerTestCase, WebsocketTransactionTestCase
from pistoke.views import WebsocketView

with open(os.environ["PAGE"], encoding="utf-8") as page:
    PAGE = page.read()


async def missing(request):
    raise Http404


async def forgetful(request):
    request.send("Hello")


class OnlySocket(WebsocketView, View):
    async def websocket(self, request):
        """Return at once."""


urlpatterns = [
    path("echo/", echo),
    path("private/", private),
    path("slow/", watched),
    path("missing/", missing),
    path("forgetful/", forgetful),
    path("only/", OnlySocket.as_view()),
]

#: What the commands of the page say. Here are the lines as they stand there.
SAID = {
    "python -m pip install websockets": r"",
    "python -m websockets ws://127.0.0.1:8000/echo/": r"Connected to .*You wrote tea\.",
    'curl --include --no-buffer --max-time 1 --header "Connection: Upgrade" --header "Upgrade: websocket" '
    '--header "Sec-WebSocket-Version: 13" --header "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" '
    "http://127.0.0.1:8000/private/": r"HTTP/1.1 403 ",
}


def commands():
    """Return the commands of the page, each on one line."""
    for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S):
        yield from re.sub(r"\\\n\s*", "", block).splitlines()


class Commands(WebsocketLiveServerTestCase):
    def run_command(self, line):
        address = self.live_server_url.partition("://")[2]
        line = line.replace("127.0.0.1:8000", address).replace("python ", sys.executable + " ", 1)
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        process = subprocess.Popen(
            line, shell=True, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            if "-m websockets" in line:
                process.stdin.write(b"tea\n")
                process.stdin.flush()
                said = b""
                while b"tea." not in said and process.poll() is None:
                    said += os.read(process.stdout.fileno(), 1000)
                return (said + process.communicate(timeout=20)[0]).decode()
            return process.communicate(timeout=20)[0].decode()
        finally:
            process.kill()
            process.wait()

    def test_commands(self):
        self.assertEqual(list(commands()), list(SAID))
        for line, said in SAID.items():
            if "pip install" not in line:
                self.assertRegex(re.sub(r"\s+", " ", self.run_command(line)), said)
                # The rest of the prose: another address, another origin.
                if line.startswith("curl"):
                    open_ = line.replace("private", "echo")
                    self.assertRegex(self.run_command(open_), r"HTTP/1.1 101 Switching Protocols")
                    with self.assertLogs("django.security.WebsocketOrigin", "WARNING"):
                        refused = self.run_command(open_ + ' --header "Origin: https://elsewhere.example"')
                    self.assertIn("Origin not allowed.", refused)


class Debugging(WebsocketTransactionTestCase):
    async def test_reason(self):
        for debug, reason in ((True, "LookupError: oops"), (False, "")):
            with override_settings(DEBUG=debug), self.assertLogs("django.request", "ERROR") as logged:
                with self.assertRaises(LookupError):
                    async with self.async_client.websocket("/echo/") as ws:
                        await ws.send("oops")
                        await ws.wait_closed()
            self.assertEqual((ws.close_code, ws.close_reason), (1011, reason))
            self.assertIn("Traceback", logged.output[0])

    async def test_refusals(self):
        with self.assertRaises(self.async_client.HandshakeForbidden):
            async with self.async_client.websocket("/private/"):
                pass
        user = await sync_to_async(get_user_model().objects.create_user)("aino")
        await self.async_client.aforce_login(user)
        async with self.async_client.websocket("/private/") as ws:
            self.assertEqual(await ws.receive(), "aino")
        with self.assertLogs("django.request", "WARNING") as logged:
            with self.assertRaises(self.async_client.HandshakeRefused):
                async with self.async_client.websocket("/none/"):
                    pass
        self.assertIn("Not Found: /none/", logged.output[0])
        with self.assertLogs("django.request", "WARNING"):
            async with self.async_client.websocket("/missing/") as ws:
                self.assertEqual(await ws.wait_closed(), 4404)

    async def test_no_loop(self):
        async with self.async_client.websocket("/only/") as ws:
            self.assertEqual(await ws.wait_closed(), 1000)
        self.assertEqual((await self.async_client.get("/only/")).status_code, 405)

    async def test_missing_await(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            async with self.async_client.websocket("/forgetful/") as ws:
                await ws.wait_closed()
        self.assertIn("was never awaited", str(caught[0].message))

    async def test_view_over_http(self):
        with self.assertRaises(TypeError) as raised:
            await self.async_client.get("/echo/")
        self.assertIn(str(raised.exception), PAGE)

    async def test_slow_view(self):
        try:
            with self.assertLogs("asyncio", "WARNING") as logged:
                async with self.async_client.websocket("/slow/") as ws:
                    await ws.send("slow")
                    self.assertEqual(await ws.receive(), "You wrote slow.")
        finally:
            asyncio.get_running_loop().set_debug(False)
        self.assertRegex(logged.output[0], r"Executing .* took 0\.[2-9]\d\d seconds")

    def test_settings(self):
        self.assertEqual(logging.getLogger("pistoke").level, logging.INFO)

    def test_messages_of_checks(self):
        rows = dict(re.findall(r"^\| `(pistoke\.[EW]\d+)` \| (.*?) \|", PAGE, re.M))
        self.assertEqual(len(rows), 7)
        for message in vars(checks).values():
            if getattr(message, "id", None) in rows:
                self.assertTrue(message.msg.startswith(rows.pop(message.id)), message)
        self.assertEqual(rows, {})

    def test_no_protocol_for_plain_functions(self):
        def plain(request):
            """Do nothing."""

        self.assertEqual([message.id for message in checks.check_view(WebsocketProtocol(plain))], ["pistoke.E003"])
