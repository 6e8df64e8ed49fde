"""The views that the test client is tested with, and their URLs."""
import asyncio
import functools
import time

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.urls import path
from django.views.generic import View

from pistoke.protocol import RawWebsocketProtocol, WebsocketJSONProtocol, WebsocketProtocol, WebsocketSubprotocol
from pistoke.views import WebsocketView

#: What the views have done, for tests to look at.
log = []


@WebsocketProtocol
async def echo(request):
    async for message in request:
        await request.send(message)


@WebsocketProtocol
async def about(request):
    """Send what is known of the request, named by each message."""
    async for name in request:
        value = request
        for part in name.split("."):
            value = value[part] if hasattr(value, "keys") else getattr(value, part)
        await request.send(str(value() if callable(value) else value))


@WebsocketProtocol
async def whoami(request):
    user = await request.auser()
    await request.send(user.get_username() or "nobody")


@WebsocketProtocol
async def user_names(request):
    """Send the names of all users each time, from the database."""
    async for name in request:
        if name:
            await sync_to_async(get_user_model().objects.create_user)(name)
        names = await sync_to_async(lambda: sorted(user.username for user in get_user_model().objects.all()))()
        await request.send(",".join(names))


@WebsocketProtocol
async def user_names_in_task(request):
    """The same in a task of the view's own."""
    task = asyncio.ensure_future(sync_to_async(get_user_model().objects.count)())
    await request.send(str(await task))


@WebsocketSubprotocol("b", "a")
async def subprotocol(request):
    await request.send(str(request.subprotocol))


@WebsocketJSONProtocol
async def json_echo(request):
    async for message in request:
        await request.send({"got": message})


@WebsocketProtocol
async def failing(request):
    if await request.receive() == "talk first":
        await request.send("last words")
    raise ValueError("of the view")


@WebsocketProtocol
async def failing_at_once(request):
    raise ValueError("of the view")


@RawWebsocketProtocol
async def raw_failing(request):
    raise ValueError("before accept")


@RawWebsocketProtocol
async def raw_silent(request):
    """Neither open the socket nor refuse it."""


@RawWebsocketProtocol
async def raw_hanging(request):
    await asyncio.sleep(3600)


@RawWebsocketProtocol
async def raw_echo(request):
    await request.receive()
    await request.send({"type": "websocket.accept", "headers": [(b"x-seen", b"yes"), (b"set-cookie", b"crumb=1; Path=/")]})
    event = await request.receive()
    await request.send({"type": "websocket.send", "text": event["text"]})
    await request.receive()


@RawWebsocketProtocol
async def raw_close(request):
    await request.receive()
    await request.send({"type": "websocket.close", "code": 4000})


@RawWebsocketProtocol
async def raw_denial(request):
    await request.receive()
    await request.send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"because")]})
    await request.send({"type": "websocket.http.response.body", "body": b"lo", "more_body": True})
    await request.send({"type": "websocket.http.response.body", "body": b"ng"})


def soup_nazi(view):
    """Answer with HTTP around a protocol."""

    @functools.wraps(view)
    async def wrapper(request):
        response = HttpResponse("no soup for you", status=int(request.GET["status"]), content_type="text/plain")
        response["X-Reason"] = "soup"
        response.set_cookie("refused", "1")
        return response

    return wrapper


refusing = soup_nazi(echo)


@WebsocketProtocol
async def closing(request):
    await request.close(4321, "enough")


@WebsocketProtocol
async def returning(request):
    await request.send("done")


@WebsocketProtocol
async def sleeping(request):
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    finally:
        log.append("finally")


class Sleep(WebsocketView, View):
    """Read one message, and then do something else."""

    async def websocket(self, request):
        await request.receive()
        await self.rest()

    async def rest(self):
        await asyncio.sleep(3600)


@WebsocketProtocol
async def stubborn(request):
    """Swallow every cancellation."""
    await request.send("here")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            log.append("swallowed")


@WebsocketProtocol
async def waiting(request):
    try:
        async for _ in request:
            pass
    finally:
        log.append("left")


@WebsocketProtocol
async def parting(request):
    """Send to a client that has left."""
    try:
        async for _ in request:
            pass
    finally:
        try:
            await request.send("too late")
        except ConnectionError as exc:
            log.append(exc)


@WebsocketProtocol
async def slow_database(request):
    await request.receive()
    await sync_to_async(time.sleep)(0.2)
    await request.send("awake")


@WebsocketProtocol
async def meeting(request):
    """Wait for another socket, and greet it."""
    loop = asyncio.get_event_loop()
    waiting_one = next((future for future in log if isinstance(future, asyncio.Future)), None)
    if waiting_one is None:
        future = loop.create_future()
        log.append(future)
        await request.send("first, met {}".format(await future))
    else:
        waiting_one.set_result("second")
        await request.send("second")


@WebsocketProtocol
async def csrf(request):
    await request.send(str(request.check_csrf("wrong")))


urlpatterns = [
    path("about/", about),
    path("about/sleep/", Sleep.as_view()),
    path("closing/", closing),
    path("csrf/", csrf),
    path("echo/", echo),
    path("failing/", failing),
    path("failing-at-once/", failing_at_once),
    path("json/", json_echo),
    path("meeting/", meeting),
    path("parting/", parting),
    path("raw/close/", raw_close),
    path("raw/denial/", raw_denial),
    path("raw/echo/", raw_echo),
    path("raw/failing/", raw_failing),
    path("raw/hanging/", raw_hanging),
    path("raw/silent/", raw_silent),
    path("refusing/", refusing),
    path("returning/", returning),
    path("sleeping/", sleeping),
    path("slow-database/", slow_database),
    path("stubborn/", stubborn),
    path("subprotocol/", subprotocol),
    path("user-names/", user_names),
    path("user-names-in-task/", user_names_in_task),
    path("waiting/", waiting),
    path("whoami/", whoami),
]
