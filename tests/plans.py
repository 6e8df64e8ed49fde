"""Plans of what a client and a view do: their strategy for hypothesis, and the run of one through the real handler."""
import asyncio
import collections
import functools
import logging

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import override_settings
from hypothesis import strategies as st

from pistoke.decorators import json_messages
from pistoke.exceptions import WebsocketDisconnect
from pistoke.handler import WebsocketHandler
from pistoke.protocol import WebsocketJSONProtocol, WebsocketProtocol, WebsocketSubprotocol
from pistoke.views import WebsocketView

from . import model
from .asgi import Server, urls
from .faults import turns
from .scenarios import ended

# Strategies

TEXTS = ["a", "", "ä€😀", "1", '{"a": [true]}', "{", "[" * 30, "9" * 30, "nul\x00", "x" * 33, "ä" * 17, "ä" * 16]
MESSAGES = TEXTS + [b"", b"\x00\xff", b"2", b"[null]", b"x" * 32, b"x" * 33]

_seconds = st.integers(1, 12)
_reading = st.sampled_from(["read", "drain", "poll"])
_ARGUMENTS = {
    "poll": _seconds,
    "send": st.sampled_from(["p", "q", ""]),
    "sleep": _seconds,
    "shut": st.sampled_from([1000, 1001, 4000, 4999]),
    "answer": st.sampled_from([200, 302, 404, 500]),
}
_ENDS = ["shut", "answer", "deny", "fail"]


def _steps(*kinds):
    return st.sampled_from(kinds).flatmap(lambda kind: st.tuples(st.just(kind), _ARGUMENTS.get(kind, st.none())))


_happenings = st.one_of(
    st.tuples(st.just("say"), st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=6)),
    st.tuples(st.just("slow"), st.integers(1, 4)),
)
_leaves = st.one_of(
    st.tuples(st.just("close"), st.sampled_from([1000, 1001, 3000, 4999])),
    st.tuples(st.sampled_from(["vanish", "shut down", "cancel"]), st.none()),
)


@st.composite
def plans(draw):
    """Return a plan; no two things happen at the same time unless one follows from the other."""
    protocol = draw(st.sampled_from(sorted(model.PROTOCOLS)))
    supported = model.PROTOCOLS[protocol][1]
    offered = draw(st.sampled_from([("b", "x"), ("x", "a"), ("a",), ("x",), ()] if supported else [(), (), (), ("x",)]))
    helper = draw(st.sampled_from([None, None, "reader", "ticker"]))
    if bool(offered or supported) and not set(offered) & set(supported):
        helper = None
    happenings = draw(st.lists(_happenings, max_size=5))
    if helper == "ticker":
        happenings = [happening for happening in happenings if happening[0] != "slow"]
    kinds = ["send", "sleep", "sleep"] + ([] if helper == "reader" else ["read", "read", "drain", "poll"])
    view = draw(st.lists(_steps(*kinds), max_size=5)) + draw(st.lists(_steps(*_ENDS), max_size=1))
    if view and view[-1][0] == "shut":
        view += draw(st.lists(_steps("send", "sleep", "fail", *([] if helper == "reader" else ["read"])), max_size=2))
    client = timed(happenings + [draw(_leaves)], draw)
    swallows = draw(st.integers(0, 3))
    return model.Plan(protocol, offered, client, view, swallows, helper, draw(st.sampled_from(["raises", "swallows"])))


def timed(happenings, draw):
    """Return the events of a client: the number of each is also its fraction of a second, in 1024ths."""
    client, time = [], 0
    for kind, value in happenings:
        time += draw(st.integers(0, 9))
        number = len(client) + 1
        if kind == "say":
            # In one go.
            client += [model.Event(time + number / 1024, "say", message) for message in value]
            continue
        client.append(model.Event(time + number / 1024, kind, value))
        time += value + 1 if kind == "slow" else 0
    if client[-1].kind == "cancel":
        # A view that swallows it has a client still, for a while.
        client.append(model.Event(time + 500 + (len(client) + 1) / 1024, "vanish", None))
    return client


# Views


class Journal(list):
    """What one run was seen to do."""

    def __init__(self):
        super().__init__()
        self.entered = 0
        self.ended = []

    def note(self, kind, value=None):
        self.append((asyncio.get_event_loop().time(), kind, value))


async def view(request):
    """Do what the plan says."""
    plan, journal = request.scope["plan"], request.scope["journal"]
    journal.entered += 1
    helper = None if plan.helper is None else asyncio.ensure_future(HELPERS[plan.helper](request, journal))
    try:
        return await take_steps(request, plan, journal)
    finally:
        try:
            if helper is not None:
                await ended(helper)
        finally:
            journal.ended.append(asyncio.get_event_loop().time())


async def take_steps(request, plan, journal):
    swallows = plan.swallows
    for step, argument in plan.view:
        try:
            response = await STEPS[step](request, journal, argument)
        except (asyncio.CancelledError, WebsocketDisconnect) as exc:
            # What is raised inside of ``wait_for`` arrives as a plain cancellation in some versions of Python.
            journal.note("interrupted", None if step == "poll" else getattr(exc, "code", None))
            if not swallows:
                raise
            swallows -= 1
        else:
            if response is not None:
                return response
    return None


async def read(request, journal, argument):
    journal.note("read", await request.receive())


async def drain(request, journal, argument):
    async for message in request:
        journal.note("read", message)
    journal.note("drained")


async def poll(request, journal, seconds):
    try:
        message = await asyncio.wait_for(request.receive(), seconds)
    except asyncio.TimeoutError:
        return
    journal.note("read", message)


async def send(request, journal, message):
    await request.send(message)


async def sleep(request, journal, seconds):
    if request.scope["in_turns"]:
        await turns(seconds)
    else:
        await asyncio.sleep(seconds)


async def shut(request, journal, code):
    await request.close(code)


async def answer(request, journal, status):
    return HttpResponse(status=status)


async def deny(request, journal, argument):
    raise PermissionDenied


async def fail(request, journal, argument):
    raise KeyError("oops")


async def read_all(request, journal):
    async for message in request:
        journal.note("read", message)


async def tick(request, journal):
    await asyncio.sleep(0.5)
    while True:
        await request.send("tick")
        await asyncio.sleep(1)


STEPS = {function.__name__: function for function in (read, drain, poll, send, sleep, shut, answer, deny, fail)}
HELPERS = {"reader": read_all, "ticker": tick}


class View(WebsocketView):
    async def websocket(self, request):
        return await view(request)


def protocol_view(protocol):
    @protocol
    @functools.wraps(view)
    async def decorated(request):
        return await view(request)

    return decorated


VIEWS = {
    "automatic": view,
    "class": View.as_view(),
    "plain": protocol_view(WebsocketProtocol),
    "JSON": protocol_view(WebsocketJSONProtocol),
    "JSON messages": protocol_view(json_messages),
    "subprotocol": protocol_view(WebsocketSubprotocol("a", "b")),
    "JSON subprotocol": protocol_view(WebsocketJSONProtocol("a", "b")),
}
routes = urls(**{name.replace(" ", "_"): view for name, view in VIEWS.items()})


# Runs


class Peer(Server):
    """A server whose client can leave unnoticed."""

    def __init__(self, plan, journal, in_turns):
        self.plan = plan
        path = "/{}/".format(plan.protocol.replace(" ", "_"))
        super().__init__(path, subprotocols=list(plan.offered), plan=plan, journal=journal, in_turns=in_turns)
        self.in_turns = in_turns
        # Whether the client has left, and whether it had when the application ended.
        self.gone = self.left_first = False

    async def send(self, event):
        if not self.gone:
            # What a server waits for is room for more: this it has taken.
            self.sent.append(event)
            await self._may_send.wait()
        elif self.plan.loss == "raises":
            raise OSError("gone")

    def start(self, application):
        task = super().start(application)
        task.add_done_callback(lambda task: setattr(self, "left_first", self.gone))
        return task

    async def play(self):
        """Do what the client does."""
        now = 0
        for event in self.plan.client:
            await self.wait(event.time, event.time - now)
            self.happen(event)
            now = event.time

    async def wait(self, time, gap):
        if self.in_turns:
            await turns(int(gap))
        else:
            await asyncio.sleep(time - asyncio.get_event_loop().time())

    def happen(self, event):
        if event.kind == "say":
            self.say(event.value)
        elif event.kind == "slow":
            self.hold()
            self.reading_again = asyncio.ensure_future(self.read_again(event.value))
        elif event.kind == "cancel":
            self.task.cancel()
        else:
            self.gone = True
            self.leave(event.value if event.kind == "close" else model.LEAVING[event.kind])

    async def read_again(self, gap):
        await self.wait(asyncio.get_event_loop().time() + gap, gap)
        self.release()


class Records(logging.Handler):
    """Keeps what is logged, and keeps it from everybody else."""

    loggers = [logging.getLogger(name) for name in ("django", "pistoke", "asyncio")]

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def __enter__(self):
        for logger in self.loggers:
            logger.addHandler(self)
            logger.propagate = False
        return self

    def __exit__(self, *exc_info):
        for logger in self.loggers:
            logger.removeHandler(self)
            logger.propagate = True


class rules(override_settings):
    """The settings that the model knows."""

    def __init__(self):
        super().__init__(
            ROOT_URLCONF=routes,
            PISTOKE_DISCONNECT_GRACE=model.GRACE,
            PISTOKE_SHUTDOWN_GRACE=model.SHUTDOWN_GRACE,
            PISTOKE_INBOUND_MESSAGES=model.INBOUND_MESSAGES,
            PISTOKE_MAX_MESSAGE_SIZE=model.MAX_MESSAGE_SIZE,
        )


Run = collections.namedtuple("Run", "server journal records")


async def run_plan(plan, handler, in_turns=False):
    """Run a plan, its seconds as they are or as turns of the event loop; return what was seen."""
    journal = Journal()
    server = Peer(plan, journal, in_turns)
    with Records() as records:
        server.start(handler)
        # A client stays for a while where the view has ended.
        await asyncio.wait([server.task, asyncio.ensure_future(server.play())])
        if server.task.cancelled():
            assert any(event.kind == "cancel" for event in plan.client), "the application cancelled itself"
        else:
            server.task.result()
    return Run(server, journal, records.records)


def handler():
    """Return a handler whose synchronous code runs in one thread."""
    application = WebsocketHandler()
    application.use_database_threads = False
    return application
