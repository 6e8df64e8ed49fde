"""Sign-out and presence over real engines, between two processes: as far as an engine can tell, each broker is one."""
import contextlib

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from pistoke.handler import WebsocketHandler
from pistoke.pubsub import BrokerUnavailable, presence, registry, signout, tracker
from pistoke.pubsub.broker import brokers, make_broker
from pistoke.pubsub.message import encode
from pistoke.pubsub.standing import Finding

from . import brokers as kinds
from .asgi import Server, urls
from .test_brokers import engine, service, soon  # noqa: F401
from .test_presence import User

#: What they have in common is that messages go through something else.
ENGINES = [kinds.Redis, kinds.RedisLayer, kinds.PostgreSQL]

on_each = pytest.mark.parametrize("service", ENGINES, ids=[kind.name for kind in ENGINES], indirect=True)


class SomeUser:
    """A middleware that lets everybody in as the same user."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.user = User("7")
        return self.get_response(request)


async def view(request):
    async for _ in request:
        pass


def cut(engine):  # noqa: F811
    """End the connections over which messages come, where that can be done."""
    if type(engine).cut is not kinds.Engine.cut:
        engine.cut()


async def close(engine, *processes):  # noqa: F811
    """Leave no connections behind."""
    for process in processes:
        process.hub().close()
        await process.aclose()
        await sync_to_async(process.close, thread_sensitive=False)()
    await engine.close()


@on_each
async def test_presence(engine, monkeypatch):  # noqa: F811
    monkeypatch.setattr(tracker, "LINGER", 0)
    monkeypatch.setattr(tracker, "HEARTBEAT", 0.5)
    here, there = brokers["default"], make_broker("default")
    trackers = [presence.tracker_of(process) for process in (here, there)]
    try:
        trackers[0].enter(("room", "1"), here, {"name": "Aino"})
        await trackers[0].settled()
        people = {str(number): {"name": "ä" * number} for number in range(2, 400)}
        for key, info in people.items():
            trackers[1].enter(("room", key), there, info)
        people["1"] = {"name": "Aino"}
        await soon(lambda: all(one.table.people("room") == people for one in trackers))
        cut(engine)
        trackers[1].leave(("room", "2"), there, 0)
        del people["2"]
        await soon(lambda: all(one.table.people("room") == people for one in trackers), tracker.TTL)
    finally:
        for one in trackers:
            one.close()
        presence._trackers.clear()
        await close(engine, here, there)


async def persist(server, there, times=100):
    """Tell from elsewhere that a user was signed out, until that is heard."""
    for _ in range(times):
        with contextlib.suppress(BrokerUnavailable):
            await there.apublish(registry.TOPIC, encode(signout.make_news("close", user="7")))
        with contextlib.suppress(AssertionError):
            await soon(lambda: server.closed == 4401, 0.1)
            break
    assert server.closed == 4401


@on_each
async def test_sign_out(engine, monkeypatch):  # noqa: F811
    monkeypatch.setattr(registry, "look", lambda sockets: Finding())
    here, there = brokers["default"], make_broker("default")
    try:
        with urls(view=view), override_settings(MIDDLEWARE=[__name__ + ".SomeUser"], PISTOKE_SESSION_CHECK=None):
            for times in range(2):
                server = Server("/view/")
                task = server.start(WebsocketHandler())
                await server.until(1)
                await soon(lambda: signout.registry()._line.heard)
                if times:
                    cut(engine)
                # What is told while nobody hears is not heard; how it is found out is in test_signout.
                await persist(server, there)
                server.leave()
                await task
    finally:
        signout.registry()._line.close()
        await close(engine, here, there)
