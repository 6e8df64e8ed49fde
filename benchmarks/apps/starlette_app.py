"""The site with Starlette."""

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

MEMBERS = set()
LINE = "x" * 32


async def echo(websocket):
    """Send back what arrives."""
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


async def ingest(websocket):
    """Count what arrives; tell when asked."""
    await websocket.accept()
    count = 0
    async for message in websocket.iter_text():
        if message == "end":
            await websocket.send_text(str(count))
        count += 1


async def push(websocket):
    """Send as many messages as asked."""
    await websocket.accept()
    async for message in websocket.iter_text():
        for _ in range(int(message)):
            await websocket.send_text(LINE)


async def bye(websocket):
    """Close at once."""
    await websocket.accept()
    await websocket.close()


async def room(websocket):
    """Pass what arrives to everybody."""
    await websocket.accept()
    MEMBERS.add(websocket)
    try:
        async for message in websocket.iter_text():
            for member in list(MEMBERS):
                await member.send_text(message)
    finally:
        MEMBERS.discard(websocket)


VIEWS = (echo, ingest, push, bye, room)
application = Starlette(routes=[WebSocketRoute("/{}/".format(view.__name__), view) for view in VIEWS])
