"""Who is here: once each, in all processes, and without noise."""
import asyncio
import json
import os
import re
import threading

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import override_settings

from pistoke.exceptions import BrokerUnavailable
from pistoke.handler import WebsocketHandler
from pistoke.protocol import WebsocketJSONProtocol, WebsocketProtocol
from pistoke.pubsub import adisconnect, line, presence, present, present_sync, rooms, signout, tracker
from pistoke.pubsub.broker import brokers
from pistoke.pubsub.memory import MemoryBroker, MemoryLink

from .asgi import Server, urls
from .test_chain import until

#: How long nobody is told who has left, in these tests, in seconds.
LINGER = 0.05


class Process(MemoryBroker):
    """The broker of one of several processes. It is deaf and dumb while ``cut`` is set."""

    shared = True
    all = []

    def __init__(self, *args):
        super().__init__(*args)
        self.cut = False
        self.heard = []
        Process.all.append(self)

    def publish(self, topic, payload):
        if self.cut:
            raise BrokerUnavailable(self.alias, "it is cut")
        for process in Process.all:
            if not process.cut:
                process.heard.append(json.loads(payload[1:]))
                MemoryBroker.publish(process, topic, payload)

    async def apublish(self, topic, payload):
        self.publish(topic, payload)

    def connect(self, hub):
        link = ProcessLink(self, hub)
        self._links.add(link)
        return link


class ProcessLink(MemoryLink):
    def subscribe(self, topic):
        future = asyncio.get_event_loop().create_future()
        if self._broker.cut:
            future.set_exception(BrokerUnavailable("default", "it is cut"))
        else:
            future.set_result(None)
        return future


class User:
    """Somebody who has logged in."""

    is_authenticated = True

    def __init__(self, pk):
        self.pk = pk


class Someone:
    """A middleware that lets in the user whom the query names."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.user = User(request.GET["user"]) if "user" in request.GET else AnonymousUser()
        return self.get_response(request)


OPTIONS = {}


async def view(request):
    name = request.GET.get("user", "nobody")
    async with request.present("room", {"name": request.GET.get("name", name)}, linger=LINGER, **OPTIONS):
        async for _ in request:
            await request.send(json.dumps(await present("room")))


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    for module, name, value in [
        (tracker, "HEARTBEAT", 0.05),
        (tracker, "TTL", 0.15),
        (tracker, "SETTLE", 0.02),
        (tracker, "PATIENCE", 0.05),
        (tracker, "LINGER", LINGER),
        (tracker, "BATCH", 0.005),
        (rooms, "BATCH", 0.005),
        (line, "FIRST_DELAY", 0.05),
    ]:
        monkeypatch.setattr(module, name, value)
    OPTIONS.clear()
    del Process.all[:]
    with override_settings(MIDDLEWARE=[__name__ + ".Someone"], PISTOKE_SIGN_OUT=False):
        with override_settings(PISTOKE_PUBSUB={"default": {}}):
            yield


def several_processes(count=2):
    """Return the brokers of processes; this one's is the first."""
    processes = [Process("default", None, {}, {}) for _ in range(count)]
    brokers._made["default"] = processes[0]
    return processes


class Visitors:
    """The sockets of a test."""

    def __init__(self, view=view):
        self.view = view
        self.tasks = {}

    async def __aenter__(self):
        self.urls = urls(view=self.view)
        self.urls.__enter__()
        self.handler = WebsocketHandler()
        return self

    async def __aexit__(self, *exc_info):
        for server in list(self.tasks):
            await self.leave(server)
        self.urls.__exit__(*exc_info)
        await forget()

    async def come(self, user=None, **scope):
        """Let somebody open a socket; return it."""
        server = Server("/view/" + ("?user=" + user if user else ""), **scope)
        self.tasks[server] = server.start(self.handler)
        await server.until(1)
        return server

    async def leave(self, server):
        """Let somebody leave."""
        server.leave()
        await asyncio.wait_for(self.tasks.pop(server), 10)


async def forget():
    """Leave nothing of this event loop behind."""
    for one in presence._trackers.pop(asyncio.get_event_loop(), {}).values():
        one.close()
        one._broker.hub().close()
        await asyncio.wait_for(until(lambda one=one: one._sending is None), 5)


def with_processes(test):
    """Give a test that has no visitors the processes that it asks for, and leave nothing behind."""

    async def wrapped(self):
        try:
            await test(self)
        finally:
            await forget()

    wrapped.__name__ = test.__name__
    return wrapped


async def becomes(wanted, topic="room", of=None):
    """Wait until those at a topic are as they should be; in another process if it is given."""
    async def people():
        return await (present(topic) if of is None else presence_of(of).people(topic))

    for _ in range(1000):
        found = await people()
        if found == wanted:
            return
        await asyncio.sleep(0.005)
    assert found == wanted


def presence_of(process):
    """Return the tracker of a process."""
    return presence.tracker_of(process)


def enter(process, key, info=None, topic="room"):
    """Let somebody be present in another process; return what makes them leave."""
    who = object()
    presence_of(process).enter((topic, key), who, info)
    return lambda linger=LINGER: presence_of(process).leave((topic, key), who, linger)


class TestOneProcess:
    async def test_everybody_is_there_once(self):
        async with Visitors() as visitors:
            await visitors.come("1")
            first, second = await visitors.come("2"), await visitors.come("2")
            assert await present("room") == {"1": {"name": "1"}, "2": {"name": "2"}}
            await visitors.leave(first)
            await asyncio.sleep(2 * LINGER)
            assert list(await present("room")) == ["1", "2"]
            await visitors.leave(second)
            assert list(await present("room")) == ["1", "2"]
            await becomes({"1": {"name": "1"}})

    async def test_nobody_is_there(self):
        assert await present("room") == {}
        await forget()

    async def test_views_can_ask(self):
        async with Visitors() as visitors:
            server = await visitors.come("1")
            server.say("who?")
            await server.until(2)
            assert json.loads(server.messages[0]) == {"1": {"name": "1"}}

    async def test_anonymous_visitors_are_their_sockets(self):
        async with Visitors() as visitors:
            await visitors.come()
            await visitors.come()
            keys = list(await present("room"))
            assert len(keys) == 2
            assert all(key.startswith("socket-") for key in keys)

    async def test_sessions_of_anonymous_visitors_do_not_show(self):
        class Session:
            session_key = "secretsecretsecret"

        class Request:
            user = AnonymousUser()

            def __init__(self):
                self.session = Session()

        key = presence.key_of(Request())
        assert key.startswith("session-") and "secret" not in key
        assert presence.key_of(Request()) == key

    async def test_key_of_ones_own(self):
        OPTIONS["key"] = 7
        async with Visitors() as visitors:
            await visitors.come("1")
            assert list(await present("room")) == ["7"]

    async def test_what_the_last_tab_says_counts(self):
        async with Visitors() as visitors:
            await visitors.come("1")
            second = await visitors.come("1&name=other")
            assert await present("room") == {"1": {"name": "other"}}
            await visitors.leave(second)
            await becomes({"1": {"name": "1"}})

    async def test_people_of_the_view(self):
        seen = []

        async def view(request):
            async with request.present("room", key="me") as here:
                seen.append((here.key, here.people))
            seen.append(here.people)

        async with Visitors(view) as visitors:
            await visitors.come("1")
        assert seen == [("me", {"me": None}), {}]

    @pytest.mark.parametrize("info", [b"bytes", object(), float("nan")])
    async def test_info_is_json(self, info):
        with pytest.raises((TypeError, ValueError)):
            presence.Presence(None, "room", info, "key", False, 5, brokers["default"])

    async def test_topic_is_checked(self):
        with pytest.raises(ValueError, match="expected the name of a topic"):
            presence.Presence(None, "no topic", None, "key", False, 5, brokers["default"])
        with pytest.raises(ValueError, match="expected the name of a topic"):
            await present("no topic")

    async def test_cancelled_while_coming(self):
        several_processes()[0].cut = True
        async with Visitors() as visitors:
            server = Server("/view/?user=1")
            task = server.start(visitors.handler)
            await asyncio.wait_for(until(lambda: presence_of(brokers["default"])._present), 5)
            task.cancel()
            await asyncio.wait([task])
            assert presence_of(brokers["default"])._present == {}

    async def test_listening_ends_when_nobody_asks(self, monkeypatch):
        monkeypatch.setattr(tracker, "IDLE", LINGER)
        async with Visitors() as visitors:
            server = await visitors.come("1")
            await asyncio.sleep(2 * LINGER)
            assert presence_of(brokers["default"]).active
            await visitors.leave(server)
            await asyncio.wait_for(until(lambda: not presence_of(brokers["default"]).active), 5)
            await visitors.come("2")
            assert list(await present("room")) == ["2"]


class TestAnnouncements:
    @pytest.fixture(autouse=True)
    def announced(self):
        OPTIONS["announce"] = True

    async def told(self, server, count):
        """Return what a client was told."""
        await server.until(1 + count)
        return [json.loads(message) for message in server.messages]

    async def test_who_is_here_comes_and_leaves(self):
        async with Visitors() as visitors:
            first = await visitors.come("1")
            assert await self.told(first, 1) == [{"here": {"1": {"name": "1"}}}]
            second = await visitors.come("2")
            assert await self.told(second, 1) == [{"here": {"1": {"name": "1"}, "2": {"name": "2"}}}]
            assert (await self.told(first, 2))[-1] == {"joined": {"2": {"name": "2"}}, "left": {}}
            await visitors.leave(second)
            assert (await self.told(first, 3))[-1] == {"joined": {}, "left": {"2": {"name": "2"}}}

    async def test_a_page_that_is_loaded_anew_makes_no_noise(self):
        async with Visitors() as visitors:
            first = await visitors.come("1")
            second = await visitors.come("2")
            await self.told(first, 2)
            await visitors.leave(second)
            await visitors.come("2")
            await asyncio.sleep(2 * LINGER)
            assert len(first.messages) == 2

    async def test_something_else_is_said(self):
        async with Visitors() as visitors:
            first = await visitors.come("1")
            await visitors.come("1&name=other")
            assert (await self.told(first, 2))[-1] == {"joined": {"1": {"name": "other"}}, "left": {}}

    async def test_many_who_come_at_once_are_one_message(self):
        several_processes()
        async with Visitors() as visitors:
            first = await visitors.come("me")
            await becomes({"me": {"name": "me"}}, of=Process.all[1])
            for number in range(150):
                enter(Process.all[1], str(number))
            told = await self.told(first, 2)
            assert len(told) == 2 and len(told[1]["joined"]) == 150

    async def test_json_view(self):
        @WebsocketJSONProtocol
        async def json_view(request):
            async with request.present("room", key="me", announce=True):
                async for _ in request:
                    pass

        async with Visitors(json_view) as visitors:
            server = await visitors.come()
            assert await self.told(server, 1) == [{"here": {"me": None}}]

    async def test_client_that_does_not_keep_up_is_closed(self):
        async with Visitors() as visitors:
            first = await visitors.come("1")
            await self.told(first, 1)
            first.hold()
            for number in range(110):
                presence_of(brokers["default"]).rooms.changed("room", str(number), None)
                presence_of(brokers["default"]).rooms._tell_all()
            first.release()
            await asyncio.wait_for(until(lambda: first.closed), 5)
            assert first.closed == 4008

    async def test_everybody_is_told(self):
        async with Visitors() as visitors:
            servers = [await visitors.come(str(number)) for number in range(300)]
            for server in servers:
                await asyncio.wait_for(until(lambda server=server: "299" in repr(server.messages)), 5)

    async def test_who_may_follow_no_more_is_disconnected(self):
        with override_settings(PISTOKE_SIGN_OUT=True, PISTOKE_SESSION_CHECK=None):
            async with Visitors() as visitors:
                first, second = await visitors.come("1"), await visitors.come("2")
                await adisconnect(user="1", topic="room")
                await asyncio.wait_for(until(lambda: first.closed), 5)
                assert (first.closed, second.closed) == (4401, None)
            assert len(signout.registry()) == 0
            # A busy machine may be looking after them still.
            await asyncio.wait_for(until(lambda: signout.registry()._looking is None), 5)


class TestProcesses:
    @with_processes
    async def test_all_know_all(self):
        here, there = several_processes()
        enter(here, "1", "a")
        leave = enter(there, "2", "b")
        await becomes({"1": "a", "2": "b"})
        await becomes({"1": "a", "2": "b"}, of=there)
        leave()
        await becomes({"1": "a"})

    @with_processes
    async def test_one_user_in_two_processes(self):
        here, there = several_processes()
        enter(here, "1", "a")
        await becomes({"1": "a"}, of=there)
        leave = enter(there, "1", "b")
        await becomes({"1": "b"})
        leave()
        await becomes({"1": "a"})
        await asyncio.sleep(2 * LINGER)
        assert await present("room") == {"1": "a"}

    @with_processes
    async def test_who_asks_late_is_told(self):
        here, there = several_processes()
        people = {str(number): number for number in range(3 * tracker.PEOPLE_PER_MESSAGE + 1)}
        for key, number in people.items():
            enter(there, key, number)
        await presence_of(there).settled()
        assert await present("room") == people

    @with_processes
    async def test_process_that_dies_is_forgotten(self):
        here, there = several_processes()
        enter(here, "1", "a")
        enter(there, "2", "b")
        await becomes({"1": "a", "2": "b"})
        # As if by kill -9.
        there.cut = True
        await becomes({"1": "a"})
        assert presence_of(here)._others == {}

    @with_processes
    async def test_process_that_was_away_is_heard_again(self):
        here, there = several_processes()
        enter(here, "1", "a")
        leave = enter(there, "2", "b")
        await becomes({"1": "a", "2": "b"})
        there.cut = True
        enter(there, "3", "c")
        leave(0)
        enter(here, "4", "d")
        await becomes({"1": "a", "4": "d"})
        there.cut = False
        # The link says so, as it does when the engine is back.
        await there.hub().restored()
        await becomes({"1": "a", "3": "c", "4": "d"})
        await becomes({"1": "a", "3": "c", "4": "d"}, of=there)

    @with_processes
    async def test_message_that_is_lost_is_missed(self):
        here, there = several_processes()
        enter(there, "1", "a")
        await becomes({"1": "a"})
        told, presence_of(here)._line._on_message = presence_of(here)._line._on_message, lambda data: None
        enter(there, "2", "b")
        await asyncio.sleep(0.02)
        presence_of(here)._line._on_message = told
        await becomes({"1": "a", "2": "b"})

    @with_processes
    async def test_silence_costs_one_message(self):
        here, there = several_processes()
        for number in range(50):
            enter(there, str(number))
        await becomes({str(number): None for number in range(50)})
        del there.heard[:]
        await asyncio.wait_for(until(lambda: len(there.heard) > 2), 5)
        assert all("changes" not in data and "state" not in data for data in there.heard)

    @with_processes
    async def test_engine_that_is_away(self):
        here, there = several_processes()
        here.cut = True
        enter(here, "1", "a")
        assert await present("room") == {"1": "a"}
        here.cut = False
        await becomes({"1": "a"}, of=there)

    @with_processes
    async def test_nobody_has_left_while_nobody_can_be_heard(self):
        here, there = several_processes()
        enter(here, "1", "a")
        enter(there, "2", "b")
        await becomes({"1": "a", "2": "b"})
        here.cut = there.cut = True
        await asyncio.sleep(2 * tracker.TTL)
        assert await present("room") == {"1": "a", "2": "b"}
        here.cut = there.cut = False
        for process in (here, there):
            await process.hub().restored()
        await asyncio.sleep(2 * tracker.TTL)
        assert await present("room") == {"1": "a", "2": "b"}

    @with_processes
    async def test_client_is_told_of_another_process(self):
        several_processes()
        OPTIONS["announce"] = True
        async with Visitors() as visitors:
            server = await visitors.come("1")
            await server.until(2)
            leave = enter(Process.all[1], "2", "b")
            await server.until(3)
            leave(0)
            await server.until(4)
        assert [json.loads(message) for message in server.messages[1:]] == [
            {"joined": {"2": "b"}, "left": {}},
            {"joined": {}, "left": {"2": "b"}},
        ]


class TestSynchronous:
    async def test_blocking_in_a_coroutine_is_refused(self):
        with pytest.raises(RuntimeError, match="await present"):
            present_sync("room")

    def test_nobody_is_there(self):
        assert present_sync("room") == {}

    async def test_process_that_knows_is_asked(self):
        async with Visitors() as visitors:
            await visitors.come("1")
            found = []
            thread = threading.Thread(target=lambda: found.append(present_sync("room")))
            thread.start()
            await asyncio.wait_for(until(lambda: found), 10)
            thread.join()
            assert found == [{"1": {"name": "1"}}]

    def test_process_without_an_event_loop_asks(self):
        here, there = several_processes()
        other = presence.Background()

        async def come():
            enter(there, "1", "a")

        asyncio.run_coroutine_threadsafe(come(), other.loop()).result(10)
        try:
            assert present_sync("room") == {"1": "a"}
            # It goes on listening.
            assert presence.loop_that_knows(here) is presence.background.loop()
        finally:
            for background in (other, presence.background):
                asyncio.run_coroutine_threadsafe(forget(), background.loop()).result(10)
                background.stop()


async def test_plain_protocol_is_enough():
    seen = []

    @WebsocketProtocol
    async def view(request):
        async with request.present("room", "hello", key="me"):
            seen.append(await present("room"))

    async with Visitors(view) as visitors:
        await visitors.come()
    assert seen == [{"me": "hello"}]


# The documentation

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "presence-and-signout.md")


def snippets():
    """Return the Python on the page."""
    with open(PAGE, encoding="utf-8") as page:
        return re.findall("```python\n(.*?)```", page.read(), re.S)


async def test_view_of_the_page_works():
    found = {}
    exec(snippets()[0], found)

    async def view(request):
        request.user.get_username = lambda: "aino"
        return await found["room"](request, "lobby")

    view.websocket_protocol = found["room"].websocket_protocol
    async with Visitors(view) as visitors:
        server = await visitors.come("7")
        await server.until(2)
        assert json.loads(server.messages[0]) == {"here": {"7": {"name": "aino"}}}


@pytest.mark.parametrize("number", range(len(snippets())))
def test_python_of_the_page_is_python(number):
    # Some of it awaits, as if it were in a view.
    lines = ["    " + line for line in snippets()[number].splitlines()]
    compile("async def view(request):\n" + "\n".join(lines), PAGE, "exec")


def test_names_of_the_page_are_there():
    import pistoke.pubsub

    imports = re.findall("from pistoke.pubsub import (.*)", "".join(snippets()))
    names = {name.strip() for line in imports for name in line.split(",")}
    assert names == {"present", "present_sync", "disconnect", "adisconnect"}
    assert names <= set(pistoke.pubsub.__all__)
