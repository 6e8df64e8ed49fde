"""Topics: publishing, subscribing, following, positions and members that do not keep up."""
import asyncio
import functools
import gc
import json
import sys
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.template import Context, Template
from django.test import override_settings

from pistoke.decorators import limits
from pistoke.exceptions import BrokerUnavailable, SlowMember
from pistoke.handler import WebsocketHandler
from pistoke.protocol import RawWebsocketProtocol, WebsocketJSONProtocol, WebsocketProtocol
from pistoke.pubsub import Position, aposition, apublish, gap_detected, memory, position, publish, publish_failed, subscribe
from pistoke.pubsub.broker import brokers
from pistoke.pubsub.hub import MEMBERS_PER_TURN
from pistoke.pubsub.member import Member
from pistoke.pubsub.message import MOST_KINDS, Message, encode
from pistoke.request import WebsocketRequest

from .asgi import Server, urls

try:
    import contextvars
except ImportError:
    # Python 3.6 has none.
    contextvars = None

HISTORY = {"default": {"HISTORY": {"kept.*": {"size": 3, "ttl": 60}, "long.*": {"size": 1000, "ttl": 60}}}}


@pytest.fixture(autouse=True)
def fresh_broker():
    with override_settings(PISTOKE_PUBSUB=HISTORY):
        yield


async def take(messages, count):
    """Return the data of the next messages."""
    return [(await asyncio.wait_for(messages.__anext__(), 5)).data for _ in range(count)]


class TestPublish:
    @pytest.mark.parametrize("data", ["text", "", b"\0\xff", {"a": [1, None, "ä"]}, [], 1.5, None, True])
    async def test_data_arrive_as_they_were(self, data):
        async with subscribe("t") as messages:
            await apublish("t", data)
            assert await take(messages, 1) == [data]

    async def test_order_is_kept(self):
        async with subscribe("t") as messages:
            for number in range(50):
                await apublish("t", number)
            assert await take(messages, 50) == list(range(50))

    async def test_other_topics_do_not_arrive(self):
        async with subscribe("t") as messages:
            await apublish("other", 1)
            await apublish("t", 2)
            assert await take(messages, 1) == [2]

    async def test_threads_publish(self):
        async with subscribe("kept.t") as messages:
            def both():
                threads = [threading.Thread(target=publish, args=("kept.t", n)) for n in range(20)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            publishing = asyncio.ensure_future(sync_to_async(both, thread_sensitive=False)())
            for number in range(20, 40):
                await apublish("kept.t", number)
            await publishing
            assert sorted(await take(messages, 40)) == list(range(40))

    async def test_blocking_in_a_coroutine_is_refused(self):
        with pytest.raises(RuntimeError, match="await apublish"):
            publish("t", 1)

    @pytest.mark.parametrize("topic", ["", "a b", "ä", "x" * 201, "a\n"])
    def test_name_of_topic_is_checked(self, topic):
        with pytest.raises(ValueError, match="expected the name of a topic"):
            publish(topic, 1)

    def test_topic_is_a_string(self):
        with pytest.raises(TypeError, match="expected the name of a topic as str"):
            publish(7, 1)

    def test_data_are_json(self):
        with pytest.raises(TypeError):
            publish("t", object())
        with pytest.raises(ValueError):
            publish("t", float("nan"))

    @pytest.mark.django_db(transaction=True)
    def test_commit_is_waited_for(self):
        with transaction.atomic():
            assert publish("kept.t", 1) is None
            assert position("kept.t").offset == 0
            assert publish("kept.t", 2, on_commit=False).offset == 1
        assert position("kept.t").offset == 2

    @pytest.mark.django_db(transaction=True)
    def test_rolled_back_is_not_published(self):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            publish("kept.t", 1)
            raise ZeroDivisionError
        assert position("kept.t").offset == 0

    @pytest.mark.django_db(transaction=True)
    def test_failure_after_commit_is_signalled(self, monkeypatch, caplog):
        failed = []

        def note(sender, **kwargs):
            failed.append((kwargs["topic"], kwargs["data"], str(kwargs["exception"])))

        def fail(*args):
            raise OSError("no engine")

        publish_failed.connect(note)
        monkeypatch.setattr(brokers["default"], "publish", fail)
        try:
            with transaction.atomic():
                publish("t", 1)
        finally:
            publish_failed.disconnect(note)
        assert failed == [("t", 1, "no engine")]
        assert "could not be published" in caplog.text

    def test_unknown_broker_is_named(self):
        with pytest.raises(ImproperlyConfigured, match="'nothing'"):
            publish("t", 1, using="nothing")


class TestThreads:
    """Threads that publish faster than an event loop delivers."""

    async def test_thread_waits_for_an_event_loop_that_has_much_to_do(self, monkeypatch):
        monkeypatch.setattr(memory, "BACKLOG", 10)
        monkeypatch.setattr(memory, "PATIENCE", 60)
        longest = 0
        async with subscribe("t", buffer=1000) as messages:
            publishing = asyncio.get_event_loop().run_in_executor(
                None, lambda: [publish("t", number) for number in range(500)]
            )
            while not publishing.done():
                longest = max(longest, hub().backlog)
                time.sleep(0.005)  # noqa: ASYNC251  # it is what hangs here
                await asyncio.sleep(0)
            await publishing
            assert await take(messages, 500) == list(range(500))
        assert longest <= 11

    async def test_event_loop_that_has_stopped_is_not_waited_for(self, monkeypatch):
        monkeypatch.setattr(memory, "BACKLOG", 1)
        monkeypatch.setattr(memory, "PATIENCE", 0.01)
        async with subscribe("t") as messages:
            thread = threading.Thread(target=lambda: [publish("t", number) for number in range(3)])
            thread.start()
            thread.join()
            assert await take(messages, 3) == [0, 1, 2]


class TestHistory:
    async def test_missed_are_replayed_and_live_ones_follow(self):
        first = await apublish("kept.t", 1)
        await apublish("kept.t", 2)
        async with subscribe("kept.t", since=str(first)) as messages:
            assert messages.recovered is True
            await apublish("kept.t", 3)
            assert await take(messages, 2) == [2, 3]

    async def test_history_too_short(self):
        first = await apublish("kept.t", 1)
        for number in range(2, 6):
            await apublish("kept.t", number)
        async with subscribe("kept.t", since=first) as messages:
            assert messages.recovered is False
            await apublish("kept.t", 6)
            assert await take(messages, 1) == [6]

    @pytest.mark.parametrize("since", ["nonsense", "abc-1", "x" * 100, "-1", "abc-" + "9" * 30])
    async def test_unknown_position_is_not_recovered(self, since):
        await apublish("kept.t", 1)
        async with subscribe("kept.t", since=since) as messages:
            assert messages.recovered is False

    @pytest.mark.parametrize("since", [5, True, 1.5, b"abc-1", [1], ("abc", 1), {"kept.t": 5}, "x" * 1000000, "\ud800"])
    async def test_what_else_a_stranger_may_show_is_not_recovered(self, since):
        async with subscribe("kept.t", since=since) as messages:
            assert messages.recovered is False

    async def test_past_of_any_length_leaves_room_for_what_comes_meanwhile(self):
        since = await aposition("long.t")
        for number in range(300):
            await apublish("long.t", number)
        async with subscribe("long.t", since=since, buffer=2) as messages:
            await apublish("long.t", 300)
            await apublish("long.t", 301)
            assert await take(messages, 302) == list(range(302))
            for number in range(3):
                await apublish("long.t", number)
            assert await take(messages, 2) == [0, 1]
            with pytest.raises(SlowMember):
                await messages.__anext__()

    async def test_position_from_the_future_is_not_recovered(self):
        now = await apublish("kept.t", 1)
        async with subscribe("kept.t", since=Position(now.epoch, 9)) as messages:
            assert messages.recovered is False

    async def test_without_position_nothing_is_replayed(self):
        await apublish("kept.t", 1)
        async with subscribe("kept.t") as messages:
            assert messages.recovered is None
            await apublish("kept.t", 2)
            assert await take(messages, 1) == [2]

    async def test_topic_without_history_has_no_positions(self):
        assert await apublish("t", 1) is None
        assert await aposition("t") is None

    def test_template_knows_the_position(self):
        publish("kept.t", 1)
        rendered = Template("{% load pistoke %}{% position 'kept.t' %}|{% position 't' %}").render(Context())
        assert rendered == str(position("kept.t")) + "|"

    async def test_ttl(self):
        with override_settings(PISTOKE_PUBSUB={"default": {"HISTORY": {"*": {"size": 10, "ttl": 0}}}}):
            first = await apublish("t", 1)
            await apublish("t", 2)
            async with subscribe("t", since=first) as messages:
                assert messages.recovered is False


    async def test_what_is_too_old_is_forgotten_where_nobody_publishes_any_more(self):
        history = {"brief.*": {"size": 10, "ttl": 0.01}, "*": {"size": 10}}
        with override_settings(PISTOKE_PUBSUB={"default": {"HISTORY": history}}):
            for number in range(50):
                await apublish("brief.{}".format(number), "x" * 1000)
            await asyncio.sleep(0.02)
            for number in range(300):
                await apublish("t", number)
            logs = brokers["default"]._logs
            assert [len(log.messages) for log in logs.values()] == [0] * 50 + [10]
            assert str(await aposition("brief.7")).endswith("-1")


class TestSlow:
    async def test_reader_that_fell_behind_is_told_after_what_was_kept(self):
        async with subscribe("t", buffer=2) as messages:
            for number in range(4):
                await apublish("t", number)
            assert await take(messages, 2) == [0, 1]
            with pytest.raises(SlowMember, match="expected a reader as fast"):
                await messages.__anext__()

    async def test_oldest_are_dropped(self):
        async with subscribe("t", slow="drop_oldest", buffer=2) as messages:
            for number in range(4):
                await apublish("t", number)
            assert await take(messages, 2) == [2, 3]

    async def test_latest_is_kept(self):
        async with subscribe("t", slow="latest") as messages:
            for number in range(4):
                await apublish("t", number)
            assert await take(messages, 1) == [3]

    async def test_one_that_falls_behind_while_it_joins_joins_no_more(self, monkeypatch):
        broker = brokers["default"]
        since, missed, gate = await aposition("kept.t"), broker.missed, asyncio.Event()

        async def slow(topic, since):
            await gate.wait()
            return await missed(topic, since)

        monkeypatch.setattr(broker, "missed", slow)
        messages = subscribe("kept.t", "t", since=since, buffer=1)
        joining = asyncio.ensure_future(messages.__aenter__())
        while not hub().topics:
            await asyncio.sleep(0)
        for number in range(2):
            await apublish("kept.t", number)
        gate.set()
        await joining
        assert hub().topics == []
        assert await take(messages, 2) == [0, 1]
        with pytest.raises(SlowMember):
            await messages.__anext__()
        hub().close()

    def test_policy_is_checked(self):
        with pytest.raises(ValueError, match="expected slow='close' or"):
            subscribe("t", slow="never")


def hub():
    return brokers["default"].hub()


class Follows(Member):
    """One that keeps what comes."""

    def __init__(self, *args):
        super().__init__(*args)
        self.got = []

    def deliver(self, message):
        self.got.append(message)


class TestFollow:
    """A view that follows a topic."""

    @pytest.fixture(autouse=True, params=["server", "middleware"])
    def sends(self, request, monkeypatch):
        """Take what a socket sends to for the server's own, or for something around it."""
        monkeypatch.setattr("pistoke.socket.SERVERS", ("tests",) if request.param == "server" else ())

    async def run(self, view, script, server=None):
        server = server or Server("/view/")
        with urls(view=view):
            task = server.start(WebsocketHandler())
            await script(server)
            server.leave()
            await asyncio.wait_for(task, 5)
        assert hub().topics == []
        hub().close()
        return server

    async def follow(self, script, protocol=WebsocketProtocol, published=("hello",), **options):
        joined = asyncio.Event()

        @protocol
        async def view(request):
            async with request.follow("t", **options):
                joined.set()
                async for _ in request:
                    pass

        async def whole(server):
            await joined.wait()
            for data in published:
                await apublish("t", data)
            await script(server)

        return await self.run(view, whole)

    async def test_published_is_sent(self):
        server = await self.follow(nothing, published=["text", b"binary", {"a": 1}])
        assert messages_of(server) == ["text", b"binary", '{"a":1}']

    async def test_json_view_sends_json(self):
        server = await self.follow(nothing, WebsocketJSONProtocol(), published=["text", {"a": 1}])
        assert messages_of(server) == ['"text"', '{"a": 1}']

    async def test_transform_makes_what_is_sent(self):
        server = await self.follow(
            nothing, published=[1, 2, 3], transform=lambda message: None if message.data == 2 else str(message.data * 10)
        )
        assert messages_of(server) == ["10", "30"]

    async def test_transform_makes_objects(self):
        server = await self.follow(nothing, published=[1], transform=lambda message: {"a": message.data})
        assert messages_of(server) == ['{"a":1}']

    async def test_transform_makes_objects_for_json_view(self):
        made = {"published": [1], "transform": lambda message: {"a": message.data}}
        server = await self.follow(nothing, WebsocketJSONProtocol(), **made)
        assert messages_of(server) == ['{"a": 1}']

    async def test_transform_that_fails_closes(self, caplog):
        server = await self.follow(nothing, transform=lambda message: 1 / 0)
        assert closes(server) == [1011]
        assert "could not be sent" in caplog.text

    async def test_client_that_does_not_keep_up_is_closed(self):
        async def script(server):
            server.hold()
            for number in range(5):
                await apublish("t", str(number))
            server.release()
            while not closes(server):
                await asyncio.sleep(0)

        server = await self.follow(script, buffer=2)
        assert closes(server) == [4008]

    async def test_slow_client_gets_the_latest(self):
        async def script(server):
            server.hold()
            for number in range(5):
                await apublish("t", str(number))
            server.release()
            for _ in range(5):
                await asyncio.sleep(0)

        server = await self.follow(script, slow="latest", published=())
        assert messages_of(server) == ["0", "4"]

    async def test_what_was_missed_goes_before_what_the_view_sends(self):
        since = await aposition("long.t")
        for number in range(600):
            await apublish("long.t", str(number))

        async def view(request):
            async with request.follow("long.t", since=since) as following:
                assert following.recovered
                await request.send("the view's")
                await apublish("long.t", "live")

        async def script(server):
            server.hold()
            await nothing(server)
            server.release()
            while not closes(server):
                await asyncio.sleep(0)

        server = await self.run(view, script)
        assert messages_of(server) == [*map(str, range(600)), "the view's", "live"]

    async def test_what_comes_meanwhile_comes_after_that(self):
        since = await aposition("kept.t")
        await apublish("kept.t", "missed")
        entered = []

        async def view(request):
            async with request.follow("kept.t", since=since):
                entered.append(request)
                async for _ in request:
                    pass

        async def script(server):
            server.hold()
            while not hub().topics:
                await asyncio.sleep(0)
            await nothing(server)
            await apublish("kept.t", "meanwhile")
            await nothing(server)
            assert not entered
            server.release()
            while len(messages_of(server)) < 2:
                await asyncio.sleep(0)
            assert entered

        server = await self.run(view, script)
        assert messages_of(server) == ["missed", "meanwhile"]

    async def test_client_that_leaves_while_it_gets_what_it_missed(self):
        since = await aposition("kept.t")
        for number in range(3):
            await apublish("kept.t", str(number))
        ended = []

        async def view(request):
            try:
                async with request.follow("kept.t", since=since):
                    async for _ in request:
                        pass
            finally:
                ended.append(request)

        async def script(server):
            server.hold()
            while not hub().topics:
                await asyncio.sleep(0)
            server.leave()
            await nothing(server)
            server.release()

        await self.run(view, script)
        assert ended

    async def test_client_that_reads_a_long_past_slowly_is_not_closed_for_what_comes_meanwhile(self):
        since = await aposition("long.t")
        for number in range(300):
            await apublish("long.t", str(number))

        async def view(request):
            async with request.follow("long.t", since=since, buffer=2):
                async for _ in request:
                    pass

        async def script(server):
            server.hold()
            while not hub().topics:
                await asyncio.sleep(0)
            await nothing(server)
            await apublish("long.t", "300")
            await apublish("long.t", "301")
            server.release()
            while len(messages_of(server)) < 302:
                await asyncio.sleep(0)

        server = await self.run(view, script)
        assert messages_of(server) == [*map(str, range(302))]

    async def test_json_view_sends_bytes_as_they_are(self):
        server = await self.follow(nothing, WebsocketJSONProtocol, published=(b"\0\xff", "text"))
        assert messages_of(server) == [b"\0\xff", '"text"']

    async def test_transform_that_is_a_coroutine_is_refused(self):
        async def transform(message):
            pass

        request = WebsocketRequest.__new__(WebsocketRequest)  # no connection, no scope
        request._socket = None
        with pytest.raises(TypeError, match="expected a transform that returns at once"):
            request.follow("t", transform=transform)

    async def test_raw_view_is_told_what_to_use_instead(self):
        refused = []

        @RawWebsocketProtocol
        async def view(request):
            for attempt in (request.follow, functools.partial(request.present, announce=True)):
                with pytest.raises(TypeError, match="use subscribe"):
                    attempt("t")
                refused.append(attempt)

        await self.run(view, nothing)
        assert len(refused) == 2

    async def test_member_that_has_left_gets_nothing_more(self):
        members = [Follows(brokers["default"], ("t",)) for _ in range(MEMBERS_PER_TURN + 2)]
        for member in members:
            await member.__aenter__()
        publishing = asyncio.ensure_future(apublish("t", 1))
        await asyncio.sleep(0)
        members[-1].leave()
        await publishing
        assert [len(member.got) for member in members] == [1] * (MEMBERS_PER_TURN + 1) + [0]
        for member in members:
            member.leave()
        hub().close()

    @pytest.mark.skipif(sys.version_info < (3, 7), reason="Python 3.6 has no contexts")
    async def test_sent_in_the_context_of_the_view(self, monkeypatch):
        monkeypatch.setattr("pistoke.socket.SERVERS", ())
        variable = contextvars.ContextVar("variable", default="the publisher's")
        seen = []

        def transform(message):
            seen.append(variable.get())
            return message.data

        @WebsocketProtocol
        async def view(request):
            variable.set("the view's")
            async with request.follow("t", transform=transform):
                async for _ in request:
                    pass

        async def script(server):
            while not hub().topics:
                await asyncio.sleep(0)
            for message in ("one", "two"):
                server.hold()
                await apublish("t", message)
                assert variable.get() == "the publisher's"
                server.release()
                await nothing(server)

        class Traced(Server):
            async def send(self, event):
                token = variable.set("the send's")
                await super().send(event)
                if sys.version_info >= (3, 11):
                    # Before that a send that waits goes on in a copy of its context.
                    variable.reset(token)

        server = await self.run(view, script, Traced("/view/"))
        assert messages_of(server) == ["one", "two"]
        assert seen[0] == "the view's"

    async def test_text_that_no_client_could_be_sent_is_refused(self):
        with pytest.raises(UnicodeEncodeError):
            await apublish("t", "\ud800")

    @pytest.mark.parametrize("transform", [None, lambda message: message.data])
    async def test_client_that_is_cut_off_takes_nobody_with_it(self, transform):
        """A limit ends the tasks that send to a client that does not read: never that of whoever publishes."""
        joined, stalled = asyncio.Event(), Server("/slow/")

        @limits(send_timeout=0.05)
        @WebsocketProtocol
        async def slow(request):
            async with request.follow("t", transform=transform):
                joined.set()
                async for _ in request:
                    pass

        with urls(slow=slow):
            task = stalled.start(WebsocketHandler())
            await joined.wait()
            stalled.hold()
            await apublish("t", "from a coroutine")
            await asyncio.get_event_loop().run_in_executor(None, publish, "t", "from a thread")
            await asyncio.sleep(0.2)
            stalled.release()
            await asyncio.wait_for(task, 10)
        assert closes(stalled) == [1008]
        hub().close()

    async def test_limit_that_begins_while_the_view_follows_is_in_force(self):
        began, stalled = asyncio.Event(), Server("/view/")

        @limits(send_timeout=0.05)
        async def limited(request):
            began.set()
            async for _ in request:
                pass

        @WebsocketProtocol
        async def view(request):
            async with request.follow("t"):
                await limited(request)

        with urls(view=view):
            task = stalled.start(WebsocketHandler())
            await began.wait()
            stalled.hold()
            await apublish("t", "hello")
            await asyncio.sleep(0.2)
            stalled.release()
            await asyncio.wait_for(task, 10)
        assert closes(stalled) == [1008]
        hub().close()

    async def test_view_that_leaves_before_a_send_goes_on(self, recwarn):
        server = Server("/view/")

        @WebsocketProtocol
        async def view(request):
            server.hold()
            asyncio.get_event_loop().call_later(0.05, server.release)
            async with request.follow("t"):
                await apublish("t", "hi")

        with urls(view=view):
            await server.run(WebsocketHandler())
        gc.collect()
        hub().close()
        assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]

    async def test_topics_are_not_joined_by_a_plain_with(self):
        with pytest.raises(TypeError, match="expected 'async with', got 'with'"):
            with subscribe("t"):
                """It does not come to this."""

    async def test_everybody_gets_it(self):
        joined, tasks, servers = [], [], [Server("/view/") for _ in range(600)]

        async def view(request):
            async with request.follow("t"):
                joined.append(request)
                async for _ in request:
                    pass

        with urls(view=view):
            handler = WebsocketHandler()
            tasks = [server.start(handler) for server in servers]
            while len(joined) < len(servers):
                await asyncio.sleep(0)
            await apublish("t", "hello")
            assert all(messages_of(server) == ["hello"] for server in servers)
            for server in servers:
                server.leave()
            await asyncio.wait(tasks)
        hub().close()


class Room:
    """Clients that follow a topic: ``async with Room(*servers) as left: …``, with the requests of those that have left."""

    def __init__(self, *servers):
        self.servers = servers
        self.joined, self.left = [], []

    async def view(self, request):
        try:
            async with request.follow("t"):
                self.joined.append(request)
                async for _ in request:
                    pass
        finally:
            self.left.append(request)

    async def __aenter__(self):
        protocols = {"view": WebsocketProtocol(), "json": WebsocketJSONProtocol(encoder=Fussy)}
        with urls(**{name: protocol(functools.partial(self.view)) for name, protocol in protocols.items()}):
            handler = WebsocketHandler()
            self.tasks = [server.start(handler) for server in self.servers]
            while len(self.joined) < len(self.servers):
                await asyncio.sleep(0)
        return self.left

    async def __aexit__(self, *exc_info):
        for server in self.servers:
            server.release()
            server.leave()
        await asyncio.wait(self.tasks, timeout=10)
        assert len(self.left) == len(self.servers)
        assert hub().topics == []
        hub().close()


class TestDelivery:
    """One message on its way to many."""

    @pytest.fixture(autouse=True, params=["server", "middleware"])
    def sends(self, request, monkeypatch):
        monkeypatch.setattr("pistoke.socket.SERVERS", ("tests",) if request.param == "server" else ())

    async def test_who_waits_keeps_nobody_waiting(self):
        servers = [Server("/view/") for _ in range(9)]
        async with Room(*servers):
            for slow in servers[0], servers[3], servers[4], servers[8]:
                slow.hold()
            await apublish("t", "one")
            await apublish("t", "two")
            assert [len(server.messages) for server in servers] == [0, 2, 2, 0, 0, 2, 2, 2, 0]
            servers[3].release()
            await nothing(servers[3])
            await apublish("t", "three")
            assert servers[3].messages == servers[1].messages == ["one", "two", "three"]
            assert servers[4].messages == []
            for server in servers:
                server.release()
            await nothing(servers[0])
            assert all(server.messages == ["one", "two", "three"] for server in servers)

    async def test_all_wait(self):
        servers = [Server("/view/") for _ in range(MEMBERS_PER_TURN * 2 + 1)]
        async with Room(*servers):
            for server in servers:
                server.hold()
            await apublish("t", "one")
            assert not any(server.messages for server in servers)
            for server in servers:
                server.release()
            await nothing(servers[0])
            assert all(server.messages == ["one"] for server in servers)

    @pytest.mark.parametrize("held", [False, True])
    async def test_who_has_gone_takes_nobody_along(self, held, caplog):
        servers = [Server("/view/") for _ in range(5)]
        async with Room(*servers) as left:
            servers[2].send_failure = OSError("gone")
            if held:
                servers[2].hold()
            await apublish("t", "one")
            servers[2].release()
            await nothing(servers[2])
            assert len(hub().members("t")) == 4
            await apublish("t", "two")
            assert [len(server.messages) for server in servers] == [2, 2, 0, 2, 2]
            assert not left
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    async def test_send_that_was_cancelled_takes_nobody_along(self):
        servers = [Server("/view/") for _ in range(3)]
        async with Room(*servers):
            servers[1].send_failure = asyncio.CancelledError()
            await apublish("t", "one")
            servers[1].send_failure = None
            await apublish("t", "two")
            assert servers[0].messages == servers[2].messages == ["one", "two"]

    async def test_what_a_send_waits_for_is_cancelled(self):
        class Waits(Server):
            waits = None

            async def send(self, event):
                if event["type"] == "websocket.send":
                    self.waits = asyncio.get_event_loop().create_future()
                    await self.waits
                await super().send(event)

        servers = [Waits("/view/"), Server("/view/")]
        async with Room(*servers):
            await apublish("t", "one")
            await apublish("t", "two")
            servers[0].waits.cancel()
            await nothing(servers[0])
            await apublish("t", "three")
            await nothing(servers[0])
            assert (servers[0].messages, closes(servers[0])) == ([], [1011])
            assert servers[1].messages == ["one", "two", "three"]

    def test_what_is_kept_of_many_kinds_is_bounded(self):
        message = Message("t", encode({"a": 1}))
        assert {message.event(WebsocketJSONProtocol().codec[1])["text"] for _ in range(100)} == {'{"a": 1}'}
        assert len(message._made) <= MOST_KINDS

    async def test_each_kind_gets_its_own_made_once(self, monkeypatch):
        encoded = []
        monkeypatch.setattr(Fussy, "encode", lambda self, value: encoded.append(value) or json.dumps(value))
        servers = [Server("/json/" if number % 2 else "/view/") for number in range(6)]
        async with Room(*servers):
            async with subscribe("t") as messages:
                await apublish("t", {"a": 1})
                assert await take(messages, 1) == [{"a": 1}]
            assert [server.messages for server in servers] == [['{"a":1}'], ['{"a": 1}']] * 3
        assert len(encoded) == 1

    async def test_what_cannot_be_encoded_for_some_arrives_at_the_others(self, caplog):
        servers = [Server("/json/"), Server("/view/"), Server("/json/"), Server("/view/")]
        async with Room(*servers):
            await apublish("t", {"fussy": 1})
            await nothing(servers[0])
            assert [server.messages for server in servers] == [[], ['{"fussy":1}']] * 2
            assert [closes(server) for server in servers] == [[1011], []] * 2
        assert caplog.text.count("could not be sent") == 2

    async def test_who_leaves_while_a_send_waits(self, recwarn):
        servers = [Server("/view/") for _ in range(3)]
        async with Room(*servers) as left:
            servers[0].hold()
            servers[1].hold()
            await apublish("t", "one")
            servers[0].leave()
            while not left:
                await asyncio.sleep(0)
            servers[1].release()
            await nothing(servers[1])
            assert [server.messages for server in servers] == [[], ["one"], ["one"]]
        gc.collect()
        assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]


class Fussy(json.JSONEncoder):
    """An encoder that does not take everything."""

    def encode(self, value):
        if "fussy" in value:
            raise ValueError("too fussy")
        return super().encode(value)


async def nothing(server):
    for _ in range(3):
        await asyncio.sleep(0)


def closes(server):
    """Return the codes that a client was closed with."""
    return [event["code"] for event in server.sent if event["type"] == "websocket.close"]


def messages_of(server):
    """Return the messages that were sent to a client."""
    found = []
    for event in server.sent:
        if event["type"] == "websocket.send":
            found.append(event["text"] if event.get("text") is not None else event["bytes"])
    return found


class TestGap:
    async def test_topic_without_history_reports_it(self, caplog):
        seen = []

        def note(sender, topic, **kwargs):
            seen.append(topic)

        gap_detected.connect(note)
        try:
            async with subscribe("t", gaps=True) as messages:
                await hub().restored()
                message = await asyncio.wait_for(messages.__anext__(), 5)
        finally:
            gap_detected.disconnect(note)
        assert message.gap and message.data is None
        assert seen == ["t"]
        assert "may have been missed" in caplog.text

    async def test_topic_with_history_catches_up(self):
        async with subscribe("kept.t", gaps=True) as messages:
            await apublish("kept.t", 1)
            # As a connection that was lost: what is published is kept, but does not arrive.
            links, brokers["default"]._links = brokers["default"]._links, set()
            await apublish("kept.t", 2)
            brokers["default"]._links = links
            await hub().restored()
            await apublish("kept.t", 3)
            assert await take(messages, 3) == [1, 2, 3]

    async def test_link_that_has_lost_a_message_catches_up(self):
        async with subscribe("kept.t", "t", gaps=True) as messages:
            links, brokers["default"]._links = brokers["default"]._links, set()
            await apublish("kept.t", 1)
            await apublish("t", 1)
            brokers["default"]._links = links
            for topic in ("kept.t", "t", "nobody follows it"):
                await hub().catch_up(topic)
            assert [(await messages.__anext__()).gap for _ in range(2)] == [False, True]


    async def test_what_comes_late_is_no_fault_of_the_reader(self):
        async with subscribe("long.t", buffer=2) as messages:
            links, brokers["default"]._links = brokers["default"]._links, set()
            for number in range(600):
                await apublish("long.t", number)
            brokers["default"]._links = links
            await hub().catch_up("long.t")
            assert await take(messages, 600) == list(range(600))


class TestHistoryOfAnEngineThatComesBack:
    async def catch_up(self, monkeypatch, failures):
        broker, attempts = brokers["default"], []
        missed = broker.missed

        async def not_ready(*args):
            attempts.append(args)
            if len(attempts) <= failures:
                raise BrokerUnavailable("default", "loading")
            return await missed(*args)

        monkeypatch.setattr(broker, "missed", not_ready)
        monkeypatch.setattr("pistoke.pubsub.hub.LONGEST_PAUSE", 0.1)
        async with subscribe("kept.t", gaps=True) as messages:
            links, broker._links = broker._links, set()
            await apublish("kept.t", 1)
            broker._links = links
            await hub().restored()
            message = await asyncio.wait_for(messages.__anext__(), 5)
            return "gap" if message.gap else message.data

    async def test_history_is_asked_for_again(self, monkeypatch):
        assert await self.catch_up(monkeypatch, 2) == 1

    async def test_one_that_cannot_be_read_is_a_gap(self, monkeypatch, caplog):
        assert await self.catch_up(monkeypatch, 9) == "gap"
        assert "could not be read: expected the engine" in caplog.text


class TestSlowConnection:
    """What is looked up in a history may come over the connection to the engine only afterwards."""

    async def test_replayed_does_not_come_again(self):
        broker = brokers["default"]
        async with subscribe("kept.t") as others:
            since = await aposition("kept.t")
            links, broker._links = broker._links, set()
            places = [await apublish("kept.t", number) for number in (1, 2)]
            broker._links = links
            async with subscribe("kept.t", since=since) as messages:
                for number, place in enumerate(places, 1):
                    hub().arrived(Message("kept.t", encode(number), place))
                await apublish("kept.t", 3)
                assert await take(messages, 3) == [1, 2, 3]
                assert await take(others, 3) == [1, 2, 3]
                await apublish("kept.t", 4)
                assert await take(messages, 1) == [4]


class TestLeaving:
    async def test_cancelled_while_joining(self, monkeypatch):
        gate = asyncio.Event()
        broker = brokers["default"]

        async def slow(topic):
            await gate.wait()

        monkeypatch.setattr(broker, "aposition", slow)

        async def join():
            async with subscribe("kept.t"):
                pass

        task = asyncio.ensure_future(join())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert hub().topics == []
        gate.set()
        await asyncio.sleep(0.01)
        hub().close()

    async def test_end_of_iteration_after_leaving(self):
        messages = subscribe("t")
        async with messages:
            await apublish("t", 1)
        assert [message.data async for message in messages] == [1]
