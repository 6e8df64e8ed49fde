"""Bare ASGI: what the server itself costs, and the limit for everybody else."""

MEMBERS = set()
LINE = "x" * 32


async def application(scope, receive, send):
    """Answer a socket; anything else is left to fail."""
    view = VIEWS[scope["path"]]
    await receive()
    await send({"type": "websocket.accept"})
    await view(receive, send)


async def echo(receive, send):
    """Send back what arrives."""
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        text = event.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


async def ingest(receive, send):
    """Count what arrives; tell when asked."""
    count = 0
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        if event["text"] == "end":
            await send({"type": "websocket.send", "text": str(count)})
        count += 1


async def push(receive, send):
    """Send as many messages as asked."""
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        for _ in range(int(event["text"])):
            await send({"type": "websocket.send", "text": LINE})


async def bye(receive, send):
    """Close at once."""
    await send({"type": "websocket.close", "code": 1000})


async def room(receive, send):
    """Pass what arrives to everybody."""
    MEMBERS.add(send)
    try:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            message = {"type": "websocket.send", "text": event["text"]}
            for member in list(MEMBERS):
                await member(message)
    finally:
        MEMBERS.discard(send)


VIEWS = {
    "/echo/": echo,
    "/user/": echo,
    "/ingest/": ingest,
    "/push/": push,
    "/bye/": bye,
    "/room/": room,
    # The limit of what passes through an engine is to pass through none.
    "/room-redis/": room,
}
