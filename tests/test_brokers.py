"""The contract of a broker: what each keeps, whatever the engine behind it, several processes included.

An engine is added in ``tests/brokers.py``. What happens when processes and engines die is in ``test_broker_losses.py``.
"""
import asyncio
import functools
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from pistoke._compat import get_running_loop
from pistoke.pubsub import BrokerUnavailable, Position, aposition, apublish, gap_detected, position, publish, subscribe
from pistoke.pubsub.broker import brokers

from . import brokers as kinds

DATA = ["text", "", "ä€😀", b"", b"\0\xff@-1 \n", {"a": [1, None, "ä"]}, [], 1.5, None, True, "x" * 100000, b"\0" * 20000]


@pytest.fixture(scope="module")
def service(request):
    """Return a running engine; each test that needs one is called once for each."""
    engine = request.param()
    try:
        yield engine.start()
    finally:
        engine.remove()


@pytest.fixture
def engine(service, monkeypatch):
    """Return a running engine that the settings name."""
    service.hurry(monkeypatch)
    with override_settings(**service.settings()):
        yield service


def on(*needed):
    """Run a test on each engine that has all of this."""
    found = kinds.engines(*needed)
    return pytest.mark.parametrize("service", found, ids=[kind.name for kind in found], indirect=True)


def tidy(test):
    """Close the broker after an asynchronous test, and look that no connection is left."""

    @functools.wraps(test)
    async def whole(self, engine, **kwargs):
        broker = brokers["default"]
        try:
            await test(self, engine, **kwargs)
        finally:
            assert broker.hub().topics == []
            await broker.aclose()
            await engine.close()
            await sync_to_async(broker.close, thread_sensitive=False)()
        if engine.service is None or engine.service.process is not None:
            await soon(lambda: engine.connections() == 0)

    return whole


async def soon(condition, seconds=10):
    """Wait until a condition holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "expected it within {} s".format(seconds)
        await asyncio.sleep(0.01)


async def take(messages, count, seconds=10):
    """Return the data of the next messages; «gap» for one that has none."""
    taken = []
    for _ in range(count):
        message = await asyncio.wait_for(messages.__anext__(), seconds)
        taken.append("gap" if message.gap else message.data)
    return taken


async def take_data(messages, count):
    """Return the data of the next messages, whatever gaps are between."""
    taken = []
    while len(taken) < count:
        taken += [data for data in await take(messages, 1) if data != "gap"]
    return taken


async def elsewhere(func, *args):
    """Run synchronous code in a thread."""
    return await sync_to_async(func, thread_sensitive=False)(*args)


def numbers(topic, first, last):
    """Publish numbers, synchronously."""
    for number in range(first, last):
        publish(topic, number)


@on()
class TestDelivery:
    @tidy
    async def test_data_arrive_as_they_were(self, engine):
        async with subscribe("t") as messages:
            for data in DATA:
                await apublish("t", data)
            assert await take(messages, len(DATA)) == DATA

    @tidy
    async def test_data_of_synchronous_code_arrive_as_they_were(self, engine):
        async with subscribe("t") as messages:
            for data in DATA:
                await elsewhere(publish, "t", data)
            assert await take(messages, len(DATA)) == DATA

    @pytest.mark.parametrize("topic", ["t", "kept.t"])
    @tidy
    async def test_order_is_kept(self, engine, topic):
        topic = topic if engine.history else "t"
        async with subscribe(topic, buffer=1000) as messages:
            for number in range(100):
                await apublish(topic, number)
            await elsewhere(numbers, topic, 100, 200)
            assert await take(messages, 200) == list(range(200))

    @tidy
    async def test_many_publish_at_once(self, engine):
        async with subscribe("t", buffer=1000) as messages:
            threads = [elsewhere(numbers, "t", first, first + 20) for first in range(0, 100, 20)]
            await asyncio.gather(*(threads + [apublish("t", number) for number in range(100, 150)]))
            assert sorted(await take(messages, 150)) == list(range(150))

    @pytest.mark.parametrize("topic", ["a.b:c@d/e+f=g~h-I_9", "x" * 200, "x" * 199 + "y"])
    @tidy
    async def test_every_name_of_a_topic_is_carried(self, engine, topic):
        async with subscribe(topic) as messages, subscribe("x" * 199 + "z") as others:
            await apublish(topic, 1)
            await apublish("x" * 199 + "z", 2)
            assert await take(messages, 1) == [1]
            assert await take(others, 1) == [2]

    @tidy
    async def test_one_who_has_left_hears_nothing(self, engine):
        async with subscribe("t", "u") as stays:
            gone = subscribe("t", "left")
            async with gone:
                pass
            for topic in ("left", "t", "u"):
                await apublish(topic, topic)
            assert await take(stays, 2) == ["t", "u"]
        assert [message async for message in gone] == []

    @tidy
    async def test_one_who_comes_back_hears_again(self, engine):
        for number in range(10):
            async with subscribe("t") as messages:
                await apublish("t", number)
                assert await take(messages, 1) == [number]

    @tidy
    async def test_many_topics_share_a_connection(self, engine):
        topics = ["many.{}".format(number) for number in range(300)]
        async with subscribe(*topics, buffer=1000) as messages:
            for topic in topics:
                await apublish(topic, topic)
            assert sorted(await take(messages, 300)) == sorted(topics)
            assert engine.connections() <= engine.most_connections

    @tidy
    async def test_synchronous_code_opens_no_connection_each_time(self, engine):
        await elsewhere(numbers, "t", 0, 3)
        opened = engine.connections()
        await elsewhere(numbers, "t", 0, 30)
        assert engine.connections() <= opened <= engine.most_connections

    def test_one_event_loop_after_another(self, engine):
        async def once(number):
            async with subscribe("t") as messages:
                await apublish("t", number)
                heard.extend(await take(messages, 1))
            await brokers["default"].aclose()

        heard = []
        for number in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(once(number))
            loop.close()
            publish("t", "nobody hears it")
        brokers["default"].close()
        assert heard == [0, 1, 2]
        assert len(brokers["default"]._hubs) <= 1


@on("loops")
class TestLoops:
    @tidy
    async def test_several_event_loops(self, engine):
        started, ended = threading.Event(), threading.Event()

        async def other():
            try:
                async with subscribe("t") as messages:
                    started.set()
                    heard.append(await take(messages, 2))
                    await apublish("u", 3)
            finally:
                await brokers["default"].aclose()
                ended.set()

        def run():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(other())
            loop.close()

        heard = []
        thread = threading.Thread(target=run)
        async with subscribe("t", "u") as messages:
            thread.start()
            await soon(started.is_set)
            await apublish("t", 1)
            await elsewhere(publish, "t", 2)
            assert await take(messages, 3) == [1, 2, 3]
            await soon(ended.is_set)
        await elsewhere(thread.join, 10)
        assert heard == [[1, 2]]


@on("history")
class TestHistory:
    @tidy
    async def test_positions_rise(self, engine):
        first = await aposition("kept.rise")
        positions = [await apublish("kept.rise", number) for number in range(3)]
        positions.append(await elsewhere(publish, "kept.rise", 3))
        assert {place.epoch for place in positions} == {first.epoch}
        offsets = [first.offset] + [place.offset for place in positions]
        assert offsets == sorted(set(offsets))
        assert await aposition("kept.rise") == positions[-1] == await elsewhere(position, "kept.rise")
        assert Position.parse(str(positions[-1])) == positions[-1]

    @tidy
    async def test_messages_know_their_positions(self, engine):
        async with subscribe("kept.know") as messages:
            published = [await apublish("kept.know", number) for number in range(3)]
            assert [(await messages.__anext__()).position for _ in range(3)] == published

    @tidy
    async def test_without_history_there_are_no_positions(self, engine):
        assert await apublish("t", 1) is None
        assert await aposition("t") is None
        assert await elsewhere(publish, "t", 1) is None
        assert await elsewhere(position, "t") is None

    @tidy
    async def test_data_are_replayed_as_they_were(self, engine):
        since = await aposition("kept.data")
        for data in DATA:
            await apublish("kept.data", data)
        async with subscribe("kept.data", since=str(since)) as messages:
            assert messages.recovered is True
            assert await take(messages, len(DATA)) == DATA

    @tidy
    async def test_as_much_as_is_kept_is_replayed(self, engine):
        first = await apublish("kept.short.1", 0)
        for number in range(1, 4):
            await apublish("kept.short.1", number)
        async with subscribe("kept.short.1", since=first) as messages:
            assert messages.recovered is True
            assert await take(messages, 3) == [1, 2, 3]

    @tidy
    async def test_more_than_is_kept_is_not_recovered(self, engine):
        first = await apublish("kept.short.2", 0)
        for number in range(1, 5):
            await apublish("kept.short.2", number)
        async with subscribe("kept.short.2", since=first) as messages:
            assert messages.recovered is False
            await apublish("kept.short.2", 5)
            assert await take(messages, 1) == [5]

    @tidy
    async def test_the_last_position_has_nothing_to_replay(self, engine):
        last = await apublish("kept.last", 1)
        async with subscribe("kept.last", since=last) as messages:
            assert messages.recovered is True
            await apublish("kept.last", 2)
            assert await take(messages, 1) == [2]

    @tidy
    async def test_too_old_is_not_recovered(self, engine):
        first = await apublish("kept.brief.1", 1)
        last = await apublish("kept.brief.1", 2)
        await asyncio.sleep(0.3)
        async with subscribe("kept.brief.1", since=first) as messages:
            assert messages.recovered is False
        async with subscribe("kept.brief.1", since=last) as messages:
            assert messages.recovered is True

    @tidy
    async def test_each_message_is_as_old_as_it_is(self, engine):
        first = await apublish("kept.brief.2", 1)
        second = await apublish("kept.brief.2", 2)
        await asyncio.sleep(0.3)
        await apublish("kept.brief.2", 3)
        async with subscribe("kept.brief.2", since=first) as messages:
            assert messages.recovered is False
        async with subscribe("kept.brief.2", since=second) as messages:
            assert messages.recovered is True
            assert await take(messages, 1) == [3]

    @tidy
    async def test_unknown_positions_are_not_recovered(self, engine):
        now = await apublish("kept.unknown", 1)
        for since in ("nonsense", "abc-1", "-1", Position(now.epoch, now.offset + 5), Position("another", now.offset)):
            async with subscribe("kept.unknown", since=since) as messages:
                assert messages.recovered is False
                await apublish("kept.unknown", 2)
                assert await take(messages, 1) == [2]

    @tidy
    async def test_lost_history_is_another_epoch(self, engine):
        before = await apublish("kept.lost", 1)
        await elsewhere(engine.forget)
        after = await apublish("kept.lost", 2)
        assert after.epoch != before.epoch
        async with subscribe("kept.lost", since=before) as messages:
            assert messages.recovered is False

    @tidy
    async def test_replay_and_live_have_no_gap_and_no_duplicate(self, engine):
        """Members join at any time from any position while messages are published."""
        positions, total = [await aposition("kept.live")], 300

        async def publishing():
            for number in range(total):
                if number % 3:
                    positions.append(await apublish("kept.live", number))
                else:
                    positions.append(await elsewhere(publish, "kept.live", number))

        async def member(delay):
            await soon(lambda: len(positions) > delay)
            behind = delay // 2
            async with subscribe("kept.live", since=positions[behind], buffer=total) as messages:
                assert messages.recovered is True
                assert await take(messages, total - behind) == list(range(behind, total))

        await asyncio.gather(publishing(), *(member(delay) for delay in range(0, total, 20)))


@on("processes")
class TestProcesses:
    @pytest.mark.parametrize("command", ["publish", "apublish"])
    @tidy
    async def test_another_publishes(self, engine, command):
        async with subscribe("t", buffer=1000) as messages:
            worker = engine.worker(command, "t", 0, 100)
            assert await take(messages, 100, 30) == list(range(100))
            await elsewhere(kinds.close, worker)

    @tidy
    async def test_a_child_of_another_publishes(self, engine):
        async with subscribe("t") as messages:
            worker = engine.worker("fork", "t")
            assert await take(messages, 6, 30) == [1, 2, 3, 4, 5, 6]
            assert await elsewhere(kinds.close, worker) == "done\n"

    @tidy
    async def test_another_subscribes(self, engine):
        topic = "kept.others" if engine.history else "others"
        worker = engine.worker("follow", topic, "")
        try:
            assert await elsewhere(worker.stdout.readline) == "ready None\n"
            for number in range(50):
                await apublish(topic, number)
            await elsewhere(numbers, topic, 50, 100)
            lines = [await elsewhere(worker.stdout.readline) for _ in range(100)]
        finally:
            await elsewhere(kinds.kill, worker)
        assert [int(line.split()[1]) for line in lines] == list(range(100))


@on("kind", "restarts")
class TestEngineDown:
    @tidy
    async def test_everything_says_so_at_once(self, engine):
        await apublish("t", 1)
        await elsewhere(publish, "t", 1)
        engine.service.stop()
        try:
            before = time.monotonic()
            for _ in range(2):
                for attempt in (apublish("t", 1), elsewhere(publish, "t", 1), enter(subscribe("t"))):
                    with pytest.raises(BrokerUnavailable, match="expected the engine of broker 'default' to answer, got ."):
                        await attempt
                if engine.history:
                    for attempt in (aposition("kept.t"), elsewhere(position, "kept.t"), enter(subscribe("kept.t"))):
                        with pytest.raises(BrokerUnavailable, match="expected the engine of broker 'default' to answer"):
                            await attempt
            assert time.monotonic() - before < 3
        finally:
            await elsewhere(engine.service.start)
        # And it is noticed that it is back.
        await persist(lambda: elsewhere(publish, "t", 2))
        await persist(lambda: apublish("t", 3))
        await persist(lambda: enter(subscribe("t")))

    @tidy
    async def test_topic_without_history_reports_the_gap(self, engine):
        seen = []

        def note(sender, topic, **kwargs):
            seen.append(topic)

        gap_detected.connect(note)
        try:
            async with subscribe("t", gaps=True) as messages, subscribe("t") as others:
                await apublish("t", 1)
                await elsewhere(engine.service.restart)
                assert await take(messages, 2) == [1, "gap"]
                await persist(lambda: apublish("t", 2))
                assert await take_data(messages, 1) == [2]
                assert await take(others, 2) == [1, 2]
        finally:
            gap_detected.disconnect(note)
        assert set(seen) == {"t"}

    @tidy
    async def test_everything_that_was_followed_is_followed_again(self, engine):
        topics = ["again.{}".format(number) for number in range(50)]
        async with subscribe(*topics, gaps=True, buffer=1000) as messages:
            await elsewhere(engine.service.restart)
            behind = set(topics)
            while behind:
                message = await asyncio.wait_for(messages.__anext__(), 10)
                assert message.gap
                behind.discard(message.topic)
            for topic in topics:
                await persist(lambda topic=topic: apublish(topic, topic))
            assert await take_data(messages, 50) == topics

    @tidy
    async def test_leaving_while_it_is_away(self, engine):
        async with subscribe("t", gaps=True) as messages:
            async with subscribe("left"):
                engine.service.stop()
                await asyncio.sleep(0.1)
            await elsewhere(engine.service.start)
            assert await take(messages, 1) == ["gap"]
            await persist(lambda: apublish("left", 1))
            await apublish("t", 2)
            assert await take_data(messages, 1) == [2]

    @tidy
    async def test_closing_while_it_is_away(self, engine):
        async with subscribe("t"):
            engine.service.stop()
            await asyncio.sleep(0.1)
        await brokers["default"].aclose()
        await elsewhere(engine.service.start)


async def enter(subscription):
    """Join and leave."""
    async with subscription:
        pass


async def persist(make, seconds=10):
    """Await what is made, again and again while the engine is away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await make()
        except BrokerUnavailable:
            assert time.monotonic() < deadline, "expected the engine within {} s".format(seconds)
            await asyncio.sleep(0.02)


@on("kind", "history")
class TestCatchingUp:
    @tidy
    async def test_lost_connection(self, engine):
        """Nothing of a history is lost, and nothing comes twice."""
        async with subscribe("kept.cut", gaps=True, buffer=1000) as messages:
            for number in range(300):
                if number % 100 == 50:
                    await elsewhere(engine.cut)
                await apublish("kept.cut", number)
            assert await take(messages, 300) == list(range(300))

    @tidy
    async def test_history_lost_meanwhile(self, engine):
        async with subscribe("kept.gone", gaps=True) as messages:
            await apublish("kept.gone", 1)
            assert await take(messages, 1) == [1]
            await elsewhere(engine.forget)
            await elsewhere(engine.cut)
            assert await take(messages, 1) == ["gap"]
            await apublish("kept.gone", 2)
            assert await take(messages, 1) == [2]

    @tidy
    async def test_joining_while_the_connection_is_lost_again_and_again(self, engine):
        stop = get_running_loop().create_future()

        async def trouble():
            while not stop.done():
                await elsewhere(engine.cut)
                await asyncio.sleep(0.03)

        cutting = asyncio.ensure_future(trouble())
        try:
            since = await persist(lambda: aposition("kept.trouble"))
            for number in range(20):
                await persist(lambda number=number: apublish("kept.trouble", number))
                messages = await persist(lambda: subscribe("kept.trouble", since=since).__aenter__())
                assert await take(messages, number + 1) == list(range(number + 1))
                messages.leave()
        finally:
            stop.set_result(None)
            await cutting


@on("kind", "history", "restarts")
class TestRestart:
    @tidy
    async def test_restarted_engine(self, engine):
        async with subscribe("kept.restart", gaps=True, buffer=1000) as messages:
            for number in range(5):
                await apublish("kept.restart", number)
            await elsewhere(engine.service.restart)
            for number in range(5, 10):
                await persist(lambda number=number: apublish("kept.restart", number))
            if engine.durable:
                assert await take(messages, 10) == list(range(10))
            else:
                assert await take(messages, 6) == [0, 1, 2, 3, 4, "gap"]
