"""The views."""

import asyncio

from asgiref.sync import sync_to_async
from django.db import Error, connection

from pistoke.protocol import WebsocketJSONProtocol
from tests.servers.project.views import journalled

from .orders import ORDERS


@WebsocketJSONProtocol
async def orders(request):
    """Do what each message tells, and answer with the result or the error."""
    async for order in request:
        try:
            answer = {"result": await ORDERS[order.pop("do")](**order)}
        except Error as exc:
            answer = {"error": "{}: {}".format(type(exc).__name__, exc)}
        await request.send(answer)


@journalled
async def ticks(request):
    """Send now and then."""
    while True:
        await request.send("tick")
        await asyncio.sleep(0.1)


@journalled
async def queries(request):
    """Be in a query for longer than anybody waits."""
    await sync_to_async(query)()


def query():
    """Let the database sleep."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


@journalled
async def stubborn(request):
    """Swallow the first cancellation."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(3600)
