"""What only Redis has: clusters, databases, scripts, servers that fall silent and servers that forget a little."""
import asyncio
import signal

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pistoke.pubsub import BrokerUnavailable, Position, aposition, apublish, subscribe
from pistoke.pubsub.broker import brokers

from . import brokers as kinds
from .services import Redis as ForgetfulRedis
from .test_brokers import elsewhere, numbers, persist, soon, take, take_data, tidy


@pytest.fixture(scope="module", autouse=True)
def required():
    """Skip all of this where there is no Redis."""
    kinds.Redis.require()


@pytest.fixture(scope="module")
def server():
    """Return an engine of these tests."""
    found = kinds.Redis()
    try:
        yield found.start()
    finally:
        found.remove()


@pytest.fixture
def engine(server):
    """Return it, named by the settings."""
    with override_settings(**server.settings()):
        yield server


def configured(engine, location=None, **options):
    """Return a context in which the broker is configured otherwise."""
    config = engine.pubsub()["default"]
    return override_settings(
        PISTOKE_PUBSUB={"default": dict(config, LOCATION=location or config["LOCATION"], OPTIONS=options)}
    )


class TestSettings:
    @tidy
    async def test_databases_do_not_hear_each_other(self, engine):
        config = engine.pubsub()["default"]
        second = dict(config, LOCATION=engine.location + "/2")
        with override_settings(PISTOKE_PUBSUB={"default": config, "second": second}):
            async with subscribe("t") as here, subscribe("t", using="second") as there:
                await apublish("t", 1)
                await apublish("t", 2, using="second")
                assert await take(here, 1) == [1]
                assert await take(there, 1) == [2]
            for alias in ("default", "second"):
                await brokers[alias].aclose()

    @tidy
    async def test_prefix(self, engine):
        with configured(engine, prefix="{site}:"):
            async with subscribe("kept.prefix") as messages:
                await apublish("kept.prefix", 1)
                assert await take(messages, 1) == [1]
            assert "{site}:{kept.prefix}" in engine.service.call("KEYS", "*site*")
            await brokers["default"].aclose()

    @tidy
    async def test_options_are_passed_on(self, engine):
        with configured(engine, client_name="ours", decode_responses=True):
            async with subscribe("kept.options") as messages:
                await apublish("kept.options", "ä")
                assert await take(messages, 1) == ["ä"]
                assert engine.service.call("CLIENT", "LIST").count("name=ours") == 2
            await brokers["default"].aclose()

    @tidy
    async def test_sharded_commands_on_one_server(self, engine):
        with configured(engine, sharded=True):
            async with subscribe("t", "kept.sharded") as messages:
                await apublish("t", 1)
                await elsewhere(numbers, "kept.sharded", 2, 4)
                assert await take(messages, 3) == [1, 2, 3]
                assert "t}" in engine.service.call("PUBSUB", "SHARDCHANNELS")
            broker = brokers["default"]
            await broker.aclose()
            broker.close()

    def test_address_that_is_none(self, engine):
        with configured(engine, location="nonsense"), pytest.raises(ImproperlyConfigured, match="'default'"):
            brokers["default"]

    @tidy
    async def test_user_with_the_permissions_that_are_described(self, engine):
        commands = "eval evalsha publish subscribe unsubscribe ping hmget hmset hset del exists pexpire time xadd xrange"
        rules = ["on", ">word", "~pistoke:*", "&pistoke:*", "-@all"] + ["+" + name for name in commands.split()]
        engine.service.call("ACL", "SETUSER", "ours", *rules)
        location = engine.location.replace("://", "://ours:word@")
        with configured(engine, location=location):
            since = await aposition("kept.acl")
            await apublish("kept.acl", 1)
            async with subscribe("kept.acl", "t", since={"kept.acl": since}) as messages:
                await apublish("t", 2)
                assert sorted(await take(messages, 2)) == [1, 2]
            await brokers["default"].aclose()
        with configured(engine, location=location, prefix="another:"):
            for attempt in (apublish("t", 1), subscribe("t").__aenter__()):
                with pytest.raises(BrokerUnavailable, match="(?i)no permissions"):
                    await attempt
            await brokers["default"].aclose()

    @tidy
    async def test_servers_share_the_topics(self, engine):
        other = kinds.Redis().start()
        try:
            topics = ["kept.shared.{}".format(number) for number in range(20)]
            with configured(engine, location=[engine.location, other.location]):
                async with subscribe(*topics) as messages:
                    for topic in topics:
                        await apublish(topic, topic)
                    assert sorted(await take(messages, 20)) == sorted(topics)
                counts = [each.service.call("KEYS", "*kept.shared.*:log").count("log") for each in (engine, other)]
                assert sum(counts) == 20 and all(counts)
                await brokers["default"].aclose()
        finally:
            other.remove()


class TestTrouble:
    @tidy
    async def test_forgotten_scripts_are_sent_again(self, engine):
        await apublish("kept.script", 1)
        engine.service.call("SCRIPT", "FLUSH")
        await apublish("kept.script", 2)
        engine.service.call("SCRIPT", "FLUSH")
        await elsewhere(numbers, "kept.script", 3, 4)

    @tidy
    async def test_refused_command_says_why(self, engine):
        engine.service.call("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(BrokerUnavailable, match="maxmemory"):
                await apublish("kept.full", 1)
            with pytest.raises(BrokerUnavailable, match="maxmemory"):
                await elsewhere(numbers, "kept.full", 1, 2)
        finally:
            engine.service.call("CONFIG", "SET", "maxmemory", "0")

    @tidy
    async def test_server_that_falls_silent_is_noticed(self, engine, monkeypatch):
        monkeypatch.setattr("pistoke.pubsub.redis.line.PING_EVERY", 0.1)
        with configured(engine, socket_timeout=0.2):
            async with subscribe("kept.silent", gaps=True) as messages:
                await apublish("kept.silent", 1)
                engine.service.process.send_signal(signal.SIGSTOP)
                try:
                    for attempt in (apublish("kept.silent", 2), elsewhere(numbers, "kept.silent", 2, 3)):
                        with pytest.raises(BrokerUnavailable):
                            await attempt
                    await soon(lambda: not brokers["default"].hub()._link._up)
                finally:
                    engine.service.process.send_signal(signal.SIGCONT)
                await persist(lambda: apublish("kept.silent", 3))
                heard = await take_until(messages, 3)
            # What was sent to it before it fell silent was not lost, only not answered.
            assert heard in ([1, 3], [1, 2, 3], [1, 2, 2, 3])
            broker = brokers["default"]
            await broker.aclose()
            broker.close()

    @tidy
    async def test_silence_of_topics_is_none_of_the_server(self, engine, monkeypatch):
        monkeypatch.setattr("pistoke.pubsub.redis.line.PING_EVERY", 0.05)
        with configured(engine, socket_timeout=0.1):
            async with subscribe("t", gaps=True) as messages:
                await asyncio.sleep(0.5)
                await apublish("t", 1)
                assert await take(messages, 1) == [1]
            await brokers["default"].aclose()

    @tidy
    async def test_unused_connection_for_commands_is_closed(self, engine, monkeypatch):
        monkeypatch.setattr("pistoke.pubsub.redis.line.IDLE", 0.1)
        with configured(engine, socket_timeout=0.2):
            await apublish("t", 1)
            assert engine.connections() == 1
            await soon(lambda: engine.connections() == 0)
            await apublish("t", 2)
            await brokers["default"].aclose()

    @tidy
    async def test_flood_leaves_others_their_turns(self, engine):
        """A client of Redis that writes a thousand messages at once does not stop the event loop."""
        async with subscribe("t", buffer=20000) as messages:
            turns, done = 0, asyncio.ensure_future(take(messages, 10000))
            words = ["PUBLISH", "pistoke:0:{t}", "j1"]
            command = "*3\r\n" + "".join("${}\r\n{}\r\n".format(len(word), word) for word in words)
            reader, writer = await asyncio.open_connection("127.0.0.1", engine.service.port)
            writer.write(command.encode() * 10000)
            while not done.done():
                turns += 1
                await asyncio.sleep(0)
            writer.close()
            assert turns > 100

    @tidy
    async def test_cancelled_publisher_leaves_the_others_alone(self, engine):
        async with subscribe("t") as messages:
            await apublish("t", 0)
            tasks = [asyncio.ensure_future(apublish("t", number)) for number in range(1, 4)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            await asyncio.wait(tasks)
            await apublish("t", 4)
            heard = [number for number in await take_until(messages, 4) if number != 2]
            assert heard == [0, 1, 3, 4]


async def take_until(messages, last):
    """Return data up to a value."""
    heard = []
    while last not in heard:
        heard += await take_data(messages, 1)
    return heard


class TestBackup:
    """A server that was restored from what it had some time ago must not take new messages for those that it lost."""

    @tidy
    async def test_position_that_was_lost_is_not_recovered(self, engine):
        service = ForgetfulRedis()
        service.command = lambda: ForgetfulRedis.command(service) + ["--dbfilename", "dump.rdb"]
        service.start()
        try:
            with configured(engine, location=service.url):
                kept = await apublish("kept.backup", 1)
                await elsewhere(save, service)
                lost = [await apublish("kept.backup", number) for number in (2, 3)]
                service.stop(signal.SIGKILL)
                await elsewhere(service.start)
                assert await persist(lambda: aposition("kept.backup")) == kept
                for number in (4, 5, 6):
                    await apublish("kept.backup", number)
                for since, recovered in ((lost[0], False), (lost[1], False), (kept, True)):
                    async with subscribe("kept.backup", since=since) as messages:
                        assert messages.recovered is recovered
                assert (await aposition("kept.backup")).epoch == kept.epoch
                await brokers["default"].aclose()
        finally:
            service.remove()


def save(service):
    """Have a server write what it has."""
    kinds.RedisService.call(service, "SAVE")


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster of these tests."""
    found = kinds.ClusterRedis()
    try:
        yield found.start()
    finally:
        found.remove()


class TestCluster:
    @pytest.fixture
    def engine(self, cluster):
        with override_settings(**cluster.settings()):
            yield cluster

    def slot(self, engine, topic):
        """Return the slot of a topic, the node that has it, and one that has not."""
        node = engine.service.nodes[0]
        slot = int(node.call("CLUSTER", "KEYSLOT", topic)[1:])
        here = next(node for node in engine.service.nodes if not node.call("EXISTS", topic).startswith("-MOVED"))
        return slot, here, next(node for node in engine.service.nodes if node is not here)

    def name(self, node):
        return node.call("CLUSTER", "MYID").split("\r\n")[1]

    @pytest.mark.parametrize("topic", ["kept.moves", "moves"])
    @tidy
    async def test_topic_that_moves_to_another_server(self, engine, topic):
        slot, here, there = self.slot(engine, topic)
        async with subscribe(topic, gaps=True) as messages:
            await apublish(topic, 1)
            await elsewhere(numbers, topic, 2, 3)
            assert await take(messages, 2) == [1, 2]
            await elsewhere(self.move, slot, here, there)
            if topic == "moves":
                # Without a history there is a moment in which it is not heard.
                assert await take(messages, 1) == ["gap"]
            await persist(lambda: apublish(topic, 3))
            await elsewhere(numbers, topic, 4, 6)
            assert await take_data(messages, 3) == [3, 4, 5]
            # Who comes anew asks the right one.
            async with subscribe(topic) as others:
                await apublish(topic, 6)
                assert await take_data(others, 1) == [6]

    def move(self, slot, here, there):
        """Hand a slot over, as resharding does."""
        there.call("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self.name(here))
        here.call("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self.name(there))
        keys = here.call("CLUSTER", "GETKEYSINSLOT", str(slot), "10").split("\r\n")[2::2]
        if keys:
            here.call("MIGRATE", "127.0.0.1", str(there.port), "", "0", "5000", "KEYS", *keys)
        for node in (there, here):
            node.call("CLUSTER", "SETSLOT", str(slot), "NODE", self.name(there))

    @tidy
    async def test_server_that_dies(self, engine):
        _, here, there = self.slot(engine, "kept.dies")
        async with subscribe("kept.dies", gaps=True) as messages:
            await apublish("kept.dies", 1)
            here.stop(signal.SIGKILL)
            with pytest.raises(BrokerUnavailable):
                await apublish("kept.dies", 2)
            with pytest.raises(BrokerUnavailable):
                await elsewhere(numbers, "kept.dies", 2, 3)
            await elsewhere(here.start)
            await elsewhere(engine.service.meet)
            await elsewhere(kinds.eventually, engine.service.is_whole, 30)
            await persist(lambda: apublish("kept.dies", 3))
            assert await take(messages, 2) == [1, 3]


def test_position_is_one_that_clients_may_show():
    assert Position.parse("0123456789ab-1795385722793072") == Position("0123456789ab", 1795385722793072)
