"""The site with this package, as its README says to write it."""

import os

from .project import setup

setup(__name__, "pistoke.Pistoke")

from django.urls import path  # noqa: E402

from pistoke.asgi import get_asgi_application  # noqa: E402
from pistoke.protocol import WebsocketProtocol  # noqa: E402
from pistoke.pubsub import apublish  # noqa: E402

LINE = "x" * 32


@WebsocketProtocol
async def echo(request):
    """Send back what arrives."""
    async for message in request:
        await request.send(message)


@WebsocketProtocol
async def user(request):
    """Send back what arrives, to somebody who is logged in."""
    assert request.user.username == "someone"
    async for message in request:
        await request.send(message)


@WebsocketProtocol
async def ingest(request):
    """Count what arrives; tell when asked."""
    count = 0
    async for message in request:
        if message == "end":
            await request.send(str(count))
        count += 1


@WebsocketProtocol
async def push(request):
    """Send as many messages as asked."""
    async for message in request:
        for _ in range(int(message)):
            await request.send(LINE)


@WebsocketProtocol
async def bye(request):
    """Close at once."""


@WebsocketProtocol
async def room(request, using="default"):
    """Pass what arrives to everybody."""
    async with request.follow("room", using=using):
        async for message in request:
            await apublish("room", message, using=using)


def patterns(count):
    """Return so many URL patterns, the last of which is the one that is asked for."""
    others = [path("page-{}/<int:number>/<slug:name>/".format(number), bye) for number in range(count - 1)]
    return others + [path("echo/", echo)]


if "BENCH_PATTERNS" in os.environ:
    urlpatterns = patterns(int(os.environ["BENCH_PATTERNS"]))
else:
    urlpatterns = [
        path("echo/", echo),
        path("user/", user),
        path("ingest/", ingest),
        path("push/", push),
        path("bye/", bye),
        path("room/", room),
        path("room-redis/", room, {"using": "redis"}),
    ]
application = get_asgi_application()
