"""Django's signals of the request cycle, once for each socket."""
import asyncio

import django
import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import got_request_exception, request_finished, request_started
from django.http import HttpResponse
from django.test import override_settings

from pistoke.handler import WebsocketHandler, has_other_receivers

from .asgi import Server, urls
from .test_chain import hops  # noqa: F401


@pytest.fixture
def sent():
    """Return a list of what was sent: (signal, whether it was received on the event loop, arguments)."""
    sent = []

    def started(sender, **kwargs):
        sent.append(("started", asyncio._get_running_loop() is not None, kwargs))

    def finished(sender, **kwargs):
        sent.append(("finished", asyncio._get_running_loop() is not None, kwargs))

    request_started.connect(started)
    request_finished.connect(finished)
    yield sent
    request_started.disconnect(started)
    request_finished.disconnect(finished)


async def view(request):
    pass


async def fails(request):
    raise KeyError("oops")


async def waits(request):
    await asyncio.sleep(60)


async def refuses(request):
    return HttpResponse("no", status=401)


def names(sent):
    return [name for name, *_ in sent]


@pytest.mark.parametrize("view", [view, fails, refuses])
async def test_a_socket_starts_and_finishes_once(view, sent):
    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert names(sent) == ["started", "finished"]


async def test_a_refused_socket_starts_and_finishes_once(sent):
    await Server("/nowhere/").run(WebsocketHandler())
    assert names(sent) == ["started", "finished"]


async def test_an_undecodable_socket_starts_and_finishes_once(sent):
    await Server("/", query_string=b"\xff").run(WebsocketHandler())
    assert names(sent) == ["started", "finished"]


async def test_a_cancelled_socket_finishes_too(sent):
    server = Server("/view/")
    with urls(view=waits):
        task = server.start(WebsocketHandler())
        await server.until(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert names(sent) == ["started", "finished"]


async def test_the_start_comes_before_the_middleware_and_has_the_scope(sent):
    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert sent[0][2]["scope"] is server.scope


async def test_the_end_comes_when_the_socket_is_over(sent):
    async def view(request):
        assert names(sent) == ["started"]

    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.closed == 1000
    assert names(sent) == ["started", "finished"]


async def test_the_sender_is_the_handler():
    senders = []

    def receiver(sender, **kwargs):
        senders.append(sender)

    request_started.connect(receiver)
    try:
        await Server("/nowhere/").run(WebsocketHandler())
    finally:
        request_started.disconnect(receiver)
    assert senders == [WebsocketHandler]


async def test_receivers_run_in_a_thread(sent):
    await Server("/nowhere/").run(WebsocketHandler())
    assert [on_loop for _, on_loop, _ in sent] == [False, False]


async def test_receivers_of_djangos_own_cost_no_thread(hops):  # noqa: F811
    server = Server("/view/")
    with urls(view=view), override_settings(MIDDLEWARE=[]):
        await server.run(WebsocketHandler())
    assert not hops


@pytest.mark.parametrize("signal", [request_started, request_finished], ids=["started", "finished"])
def test_djangos_own_are_told_from_others(signal):
    def receiver(**kwargs):
        pass

    assert not has_other_receivers(signal)
    signal.connect(receiver)
    try:
        assert has_other_receivers(signal)
    finally:
        signal.disconnect(receiver)
    assert not has_other_receivers(signal)


class Listener:
    def receive(self, **kwargs):
        pass


def test_a_method_is_no_receiver_of_djangos():
    listener = Listener()
    request_started.connect(listener.receive)
    try:
        assert has_other_receivers(request_started)
    finally:
        request_started.disconnect(listener.receive)


def test_a_receiver_with_a_uid_is_no_receiver_of_djangos():
    listener = Listener()
    request_started.connect(listener.receive, dispatch_uid="uid")
    try:
        assert has_other_receivers(request_started)
    finally:
        request_started.disconnect(dispatch_uid="uid")


@pytest.mark.skipif(django.VERSION < (5, 0), reason="asynchronous receivers are newer")
async def test_asynchronous_receivers_are_awaited():
    received = []

    async def receiver(**kwargs):
        await asyncio.sleep(0)
        received.append(asyncio._get_running_loop() is not None)

    request_finished.connect(receiver)
    try:
        await Server("/nowhere/").run(WebsocketHandler())
    finally:
        request_finished.disconnect(receiver)
    assert received == [True]


async def test_an_exception_of_a_view_is_sent():
    received = []

    def receiver(sender, request, **kwargs):
        received.append((request.path, asyncio._get_running_loop()))

    got_request_exception.connect(receiver)
    try:
        with urls(view=fails):
            await Server("/view/").run(WebsocketHandler())
    finally:
        got_request_exception.disconnect(receiver)
    assert received == [("/view/", None)]


# Caches


class Connected(LocMemCache):
    """A cache whose clients have something to close."""

    closed = []

    def close(self, **kwargs):
        self.closed.append(self)


OTHERS = [{}]
if django.VERSION >= (4, 1):
    OTHERS += [{"other": {"BACKEND": "missing.Cache"}}, {"other": {"BACKEND": __name__ + ".missing"}}, {"other": {}}]


def connected(*args):
    """Return such a cache: what is named as a backend may be a function."""
    return Connected(*args)


@pytest.mark.parametrize("others", OTHERS, ids=repr)
@pytest.mark.parametrize("backend", ["Connected", "connected"])
async def test_the_cache_clients_of_a_view_are_closed(others, backend):
    async def view(request):
        cache.set("a", 1)

    Connected.closed.clear()
    default = {"BACKEND": "{}.{}".format(__name__, backend)}
    with urls(view=view), override_settings(CACHES=dict(others, default=default)):
        await Server("/view/").run(WebsocketHandler())
    assert len(Connected.closed) == 1


async def test_the_cache_clients_of_the_handshake_are_not_those_of_the_view():
    clients = []

    async def view(request):
        clients.append(caches["default"])

    with urls(view=view), override_settings(MIDDLEWARE=[__name__ + ".caching"]):
        await Server("/view/").run(WebsocketHandler())
    assert clients[0] is not made[0]


made = []


def caching(get_response):
    def middleware(request):
        made[:] = [caches["default"]]
        return get_response(request)

    return middleware
