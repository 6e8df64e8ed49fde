"""One task measures this process while somebody watches, however many do."""

import asyncio
import hashlib
import time

from asgiref.sync import sync_to_async
from django.views.generic import TemplateView

from pistoke.pubsub import aposition, apublish
from pistoke.views import WebsocketView

TOPIC = "dashboard"  # keeps a history of 60 seconds: see settings.py


class Dashboard(WebsocketView, TemplateView):
    template_name = "sockets/dashboard.html"
    watching, measuring = set(), None

    async def websocket(self, request):
        self.watching.add(request)
        if len(self.watching) == 1:
            Dashboard.measuring = asyncio.ensure_future(measure())
        try:
            now = await aposition(TOPIC)
            a_minute_ago = now._replace(offset=max(0, now.offset - 60))
            async with request.follow(TOPIC, since=a_minute_ago):
                async for _ in request:  # somebody has pressed the button
                    await work("sha256", b"hard", b"work", 3 * 10 ** 6)
        finally:  # however the page goes away
            self.watching.discard(request)
            if not self.watching:
                self.measuring.cancel()


work = sync_to_async(hashlib.pbkdf2_hmac)


async def measure():
    while True:
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(1)
        took = time.perf_counter() - began
        await apublish(TOPIC, {
            "time": time.time(),
            "cpu": 100 * (time.process_time() - cpu) / took,  # per cent
            "late": 1000 * max(0, took - 1),  # the event loop, milliseconds
            "watching": len(Dashboard.watching),
        })
