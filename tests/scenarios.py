"""Conversations whose every step is made to fail: views, what their clients say, and how they end untouched."""
import asyncio
import functools
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.utils.decorators import method_decorator

from pistoke.decorators import csrf_handshake, json_messages
from pistoke.exceptions import ClientDisconnected, ConnectionClosed
from pistoke.protocol import (
    RawWebsocketProtocol,
    WebsocketJSONProtocol,
    WebsocketProtocol,
    WebsocketSubprotocol,
)
from pistoke.views import WebsocketView

from .asgi import urls
from .faults import turns


class Journal:
    """What a view did in one run."""

    def __init__(self):
        self.entered = 0
        self.left = 0
        self.read = []
        # Whether the view read until it was told that there is nothing more.
        self.to_end = False


class Scenario:
    """A view, what its client says and whether it leaves then, and the code that an untouched run closes with."""

    def __init__(
        self, view, says=("1", "2", "3"), leaves=True, code=None, protocol=None, logs=0, grace=30, whole=True, **scope
    ):
        self.view = view
        self.says = says
        self.leaves = leaves
        self.code = code
        self.protocol = protocol or (lambda view: view)
        self.logs = logs
        # How long a view that reads may go on without its client, in seconds: so long that no run depends on it, but of a
        # view that waits for nothing else.
        self.grace = grace
        # Whether the view reads all that its client says before it leaves; one that is busy with something else first has
        # not begun to read, and may be cancelled.
        self.whole = whole and leaves
        self.scope = scope

    def routes(self, journal):
        @functools.wraps(self.view)
        async def view(request):
            journal.entered += 1
            try:
                return await self.view(request, journal)
            finally:
                journal.left += 1

        return urls(view=self.protocol(view))


async def echo(request, journal):
    async for message in request:
        journal.read.append(message)
        await request.send(message)
    journal.to_end = True


async def listen(request, journal):
    try:
        while True:
            journal.read.append(await request.receive())
    except ClientDisconnected:
        journal.to_end = True
        raise


async def goes_on(request, journal):
    try:
        await listen(request, journal)
    except ClientDisconnected:
        await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            await request.receive()
        try:
            await request.send("anyone?")
        except ConnectionClosed:
            pass


async def break_and_go_on(request, journal):
    async for message in request:
        journal.read.append(message)
        break
    await asyncio.sleep(0)
    journal.read.append(await request.receive())
    await request.send("x")
    await echo(request, journal)


async def speak(request, journal):
    for number in range(3):
        await request.send(str(number))


async def say_nothing(request, journal):
    pass


async def wait_silently(request, journal):
    await asyncio.sleep(60)


async def read_and_wait(request, journal):
    journal.read.append(await request.receive())
    await asyncio.sleep(60)


async def swallow_once(request, journal):
    try:
        await listen(request, journal)
    except asyncio.CancelledError:
        await turns(2)
    await asyncio.sleep(60)


async def close_from_another_task(request, journal):
    async def closer():
        await turns(5)
        await request.close(4000, "enough")

    task = asyncio.ensure_future(closer())
    try:
        await listen(request, journal)
    finally:
        await ended(task)


async def two_readers(request, journal):
    async def reader():
        async for message in request:
            journal.read.append(message)
        return True

    tasks = [asyncio.ensure_future(reader()) for _ in range(2)]
    try:
        journal.to_end = all(await asyncio.gather(*tasks))
    finally:
        await ended(*tasks)


async def reader_and_writer(request, journal):
    async def writer():
        while True:
            await request.send("tick")
            await asyncio.sleep(0)

    task = asyncio.ensure_future(writer())
    try:
        await listen(request, journal)
    finally:
        await ended(task)


async def reader_in_a_task(request, journal):
    task = asyncio.ensure_future(listen(request, journal))
    try:
        await task
    finally:
        await ended(task)


async def many_senders(request, journal):
    await asyncio.gather(*[request.send(str(number)) for number in range(5)])


async def impatient(request, journal):
    try:
        while True:
            try:
                journal.read.append(await asyncio.wait_for(request.receive(), 0.0002))
                await request.send("got it")
            except asyncio.TimeoutError:
                pass
    except ClientDisconnected:
        journal.to_end = True


async def with_synchronous_calls(request, journal):
    async for message in request:
        journal.read.append(message)
        await sync_to_async(time.sleep)(0.0005)
        await request.send(message)
    journal.to_end = True


async def raw(request, journal):
    assert (await request.receive())["type"] == "websocket.connect"
    await request.send({"type": "websocket.accept"})
    while True:
        event = await request.receive()
        if event["type"] == "websocket.disconnect":
            journal.to_end = True
            return
        journal.read.append(event["text"])
        await request.send({"type": "websocket.send", "text": event["text"]})


async def raw_answer(request, journal):
    await request.receive()
    await request.send({"type": "websocket.http.response.start", "status": 418, "headers": []})
    await request.send({"type": "websocket.http.response.body", "body": b"tea", "more_body": True})
    await request.send({"type": "websocket.http.response.body", "body": b"pot"})


async def adopt(request, journal):
    await turns(3)

    @WebsocketJSONProtocol
    async def inner(request):
        async for message in request:
            journal.read.append(str(message))
            await request.send(message)
        journal.to_end = True

    await inner(request)


async def choose(request, journal):
    @WebsocketSubprotocol("a")
    async def inner(request):
        await echo(request, journal)

    await turns(3)
    return await inner(request)


async def fail(request, journal):
    journal.read.append(await request.receive())
    raise KeyError("oops")


async def objects(request, journal):
    async for message in request:
        journal.read.append(str(message))
        await request.send(message)
    journal.to_end = True


async def forbidden(request, journal):
    journal.read.append(await request.receive())
    return HttpResponse(status=403)


async def too_late(request, journal):
    raise AssertionError("the view was called although it was refused")


# From Python 3.11 on


async def in_a_group(request, journal):
    """Read in the body of a group while a member of it writes."""

    async def writer():
        while True:
            await request.send("tick")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(writer())
        await listen(request, journal)


async def within_a_timeout(request, journal):
    """Poll with time-outs that are nearly always too short."""
    try:
        while True:
            try:
                async with asyncio.timeout(0.0002):
                    journal.read.append(await request.receive())
                await request.send("got it")
            except TimeoutError:
                pass
    except ClientDisconnected:
        journal.to_end = True
        raise


# What views are made of


async def ended(*tasks):
    """End tasks that a view has started."""
    for task in tasks:
        task.cancel()
    while not all(task.done() for task in tasks):
        await asyncio.wait(tasks)
    for task in tasks:
        task.cancelled() or task.exception()


def handshake_first(view):
    """Return a view whose first message is a token; what it reads is the rest."""
    return csrf_handshake(view)


def with_dispatch(view):
    """Return the view as a class whose ``dispatch`` needs a thread."""

    @method_decorator(WebsocketProtocol, name="websocket")
    class View(WebsocketView):
        def dispatch(self, request, *args, **kwargs):
            return super().dispatch(request, *args, **kwargs)

        async def websocket(self, request):
            return await view(request)

    return View.as_view()


def without_a_protocol(view):
    """Return the view as a class without a protocol, whose ``dispatch`` needs a thread."""

    class View(WebsocketView):
        def dispatch(self, request, *args, **kwargs):
            return super().dispatch(request, *args, **kwargs)

        async def websocket(self, request):
            return await view(request)

    return View.as_view()


def answered(view):
    """Return a view that is refused with a page."""

    async def refuse(request):
        return HttpResponse("no", status=401)

    refuse.websocket_protocol = WebsocketProtocol()
    return refuse


SCENARIOS = {
    "echo": Scenario(echo),
    "echo, explicit": Scenario(echo, protocol=WebsocketProtocol),
    "echo, class": Scenario(echo, protocol=with_dispatch),
    "echo, class without a protocol": Scenario(echo, protocol=without_a_protocol),
    "echo, subprotocol": Scenario(echo, protocol=WebsocketSubprotocol("b", "a"), subprotocols=["a", "b"]),
    "listen": Scenario(listen),
    "listen, explicit": Scenario(listen, protocol=WebsocketProtocol()),
    "goes on": Scenario(goes_on),
    "break and go on": Scenario(break_and_go_on),
    "speak": Scenario(speak, leaves=False, code=1000),
    "speak, explicit": Scenario(speak, leaves=False, code=1000, protocol=WebsocketProtocol),
    "say nothing": Scenario(say_nothing, leaves=False, code=1000),
    "wait silently": Scenario(wait_silently, whole=False),
    "read and wait": Scenario(read_and_wait, whole=False, grace=0.002),
    "swallow once": Scenario(swallow_once, grace=0.002),
    "close from another task": Scenario(close_from_another_task, leaves=False, code=4000, grace=0.01),
    "close a client that does not answer": Scenario(
        close_from_another_task, leaves=False, code=4000, grace=0.01, answers=False
    ),
    "two readers": Scenario(two_readers),
    "reader and writer": Scenario(reader_and_writer),
    "reader in a task": Scenario(reader_in_a_task),
    "many senders": Scenario(many_senders, leaves=False, code=1000),
    "impatient": Scenario(impatient),
    "synchronous calls": Scenario(with_synchronous_calls),
    "raw": Scenario(raw, protocol=RawWebsocketProtocol),
    "raw answer": Scenario(raw_answer, protocol=RawWebsocketProtocol, leaves=False),
    "adopt": Scenario(adopt, whole=False),
    "choose": Scenario(choose, whole=False, subprotocols=["a"]),
    "fail": Scenario(fail, leaves=False, code=1011, logs=1),
    "fail, explicit": Scenario(fail, leaves=False, code=1011, logs=1, protocol=WebsocketProtocol),
    "JSON": Scenario(objects, protocol=WebsocketJSONProtocol),
    "JSON messages": Scenario(objects, protocol=json_messages),
    "bad JSON": Scenario(objects, says=("1", "{"), leaves=False, code=1007, protocol=WebsocketJSONProtocol),
    "forbidden": Scenario(forbidden, leaves=False, code=4403, logs=1),
    "token": Scenario(echo, says=("{}", "1", "2"), protocol=handshake_first),
    "no token": Scenario(too_late, says=("[]",), leaves=False, code=4400, protocol=csrf_handshake(error_key="error")),
    "refused": Scenario(too_late, leaves=False, protocol=answered, logs=1),
    "no subprotocol, no word": Scenario(say_nothing, leaves=False, subprotocols=["a"]),
    "redirected": Scenario(too_late, leaves=False, protocol=lambda view: login_required(WebsocketProtocol(view))),
    "no subprotocol": Scenario(speak, leaves=False, logs=1, subprotocols=["a"]),
}

if hasattr(asyncio, "timeout"):
    SCENARIOS["task group"] = Scenario(in_a_group)
    SCENARIOS["timeout"] = Scenario(within_a_timeout)
