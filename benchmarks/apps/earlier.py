"""The site with the 0.9 releases of this package, by the names that those have."""

from .project import setup

setup(__name__, "pistoke.Pistoke")

from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from pistoke.kasittelija import WebsocketKasittelija  # noqa: E402
from pistoke.protokolla import WebsocketProtokolla  # noqa: E402

MEMBERS = set()
LINE = "x" * 32


@WebsocketProtokolla
async def echo(request):
    """Send back what arrives."""
    while True:
        await request.send(await request.receive())


@WebsocketProtokolla
async def user(request):
    """Send back what arrives, to somebody who is logged in."""
    assert (await request.auser()).username == "someone"
    while True:
        await request.send(await request.receive())


@WebsocketProtokolla
async def ingest(request):
    """Count what arrives; tell when asked."""
    count = 0
    while True:
        if await request.receive() == "end":
            await request.send(str(count))
        count += 1


@WebsocketProtokolla
async def push(request):
    """Send as many messages as asked."""
    while True:
        for _ in range(int(await request.receive())):
            await request.send(LINE)


@WebsocketProtokolla
async def bye(request):
    """Close at once."""


@WebsocketProtokolla
async def room(request):
    """Pass what arrives to everybody."""
    MEMBERS.add(request)
    try:
        while True:
            message = await request.receive()
            for member in list(MEMBERS):
                await member.send(message)
    finally:
        MEMBERS.discard(request)


VIEWS = (echo, user, ingest, push, bye, room)
urlpatterns = [path(f"{view.__name__}/", view) for view in VIEWS]
handlers = {"http": get_asgi_application(), "websocket": WebsocketKasittelija()}


async def application(scope, receive, send):
    """Pass a scope on by its type."""
    return await handlers[scope["type"]](scope, receive, send)
