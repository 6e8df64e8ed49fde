"""The engines that the contract of brokers is tested with, each as a project would run it."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

from tests import services
from tests.parts import importable, require

#: What the topics of the tests keep: ``kept.…`` a history, all others nothing.
HISTORY = {
    "kept.short.*": {"size": 3, "ttl": 60},
    "kept.brief.*": {"size": 10, "ttl": 0.2},
    "kept.*": {"size": 100000, "ttl": 600},
}
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pubsub_worker.py")


class Engine:
    """A broker and, where it has one, the service behind it."""

    #: What pytest calls it, and the class that ``BACKEND`` names.
    name = None
    backend = None
    #: The kind of service behind it, None where there is none.
    kind = None
    #: Whether it can keep a history; whether tests of several processes are worth it; whether a history survives a restart.
    history = True
    processes = True
    durable = True
    #: Whether tests may restart it (a second, for some); whether what was accepted before a crash is there after it.
    restarts = True
    survives_crash = True
    #: Whether several event loops of a process may use it; how many connections it needs for one of them.
    loops = True
    most_connections = 2

    def __init__(self):
        self.require()
        self.service = self.kind() if self.kind else None

    @classmethod
    def require(cls):
        """Skip or fail where something that it needs is missing."""
        if cls.kind is not None:
            require(cls.kind.name, cls.kind.present(), cls.kind.how_to_get_it)

    def start(self):
        """Start it; return it."""
        if self.service is not None:
            self.service.start()
        self.prepare()
        return self

    def prepare(self):
        """Make what the broker needs in a service that has just started for the first time."""

    def remove(self):
        """End it and delete its files."""
        if self.service is not None:
            self.service.remove()

    @property
    def location(self):
        """What ``LOCATION`` says."""
        return None

    @property
    def options(self):
        """What ``OPTIONS`` says."""
        return {}

    def pubsub(self):
        """Return ``PISTOKE_PUBSUB``."""
        config = {"BACKEND": self.backend, "LOCATION": self.location, "OPTIONS": self.options}
        if self.history:
            config["HISTORY"] = HISTORY
        return {"default": config}

    def settings(self):
        """Return the settings that tests override, here and in other processes; they travel as JSON."""
        return {"PISTOKE_PUBSUB": self.pubsub()}

    def hurry(self, monkeypatch):
        """Make short what takes long."""

    # What happens to a service

    def cut(self):
        """End the connections over which messages come; the engine lives on."""
        raise NotImplementedError

    def crash(self):
        """Die at once."""
        self.service.stop(signal.SIGKILL)

    def forget(self):
        """Lose every history."""
        raise NotImplementedError

    def connections(self):
        """Return how many connections there are."""
        raise NotImplementedError

    async def close(self):
        """Close what the broker cannot close."""

    # Other processes

    def worker(self, *words):
        """Start ``tests/pubsub_worker.py`` with these words; return the process."""
        environ = dict(os.environ, PISTOKE_TEST_SETTINGS=json.dumps(self.settings()))
        environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return subprocess.Popen(
            [sys.executable, WORKER] + [str(word) for word in words],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
            start_new_session=True,
        )


class Memory(Engine):
    """One process."""

    name = "memory"
    backend = "pistoke.pubsub.memory.MemoryBroker"
    processes = False

    def forget(self):
        from pistoke.pubsub.broker import brokers

        brokers["default"]._epoch = "another"
        brokers["default"]._logs.clear()

    def connections(self):
        from pistoke.pubsub.broker import brokers

        return len(brokers["default"]._links)


class RedisService(services.Redis):
    """A Redis that a restart does not make forget."""

    def command(self):
        # Written before it is answered, and never synced: it survives its own death, not that of the machine.
        return super().command() + ["--appendonly", "yes", "--appendfsync", "no"]

    def call(self, *words):
        """Return the answer to a command, as it comes."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            parts = ["*{}\r\n".format(len(words))] + ["${}\r\n{}\r\n".format(len(word), word) for word in words]
            connection.sendall("".join(parts).encode())
            answer = connection.recv(1 << 20).decode()
            while answer.startswith("$") and len(answer) < int(answer[1:].split("\r\n")[0]):
                answer += connection.recv(1 << 20).decode()
        return answer


class Redis(Engine):
    """Redis as one server."""

    name = "redis"
    backend = "pistoke.pubsub.redis.RedisBroker"
    kind = RedisService

    @classmethod
    def require(cls):
        super().require()
        require("redis-py", importable("redis"), "pip install redis")

    @property
    def location(self):
        return self.service.url

    def cut(self):
        self.service.call("CLIENT", "KILL", "TYPE", "pubsub")

    def forget(self):
        self.service.call("FLUSHALL")

    def connections(self):
        # One of them asks.
        return self.service.call("CLIENT", "LIST").count("laddr=") - 1


class MemoryLayer(Engine):
    """The layer of Channels that comes with it."""

    name = "channels"
    backend = "pistoke.pubsub.channels.ChannelsBroker"
    history = False
    processes = False
    # It belongs to one event loop.
    loops = False

    @classmethod
    def require(cls):
        super().require()
        require("Channels", importable("channels"), "pip install channels")

    #: Its class, and what that is configured with.
    layer = "channels.layers.InMemoryChannelLayer"

    @property
    def config(self):
        return {"capacity": 10000}

    def settings(self):
        layers = {"other": {"BACKEND": self.layer, "CONFIG": self.config}}
        return dict(super().settings(), CHANNEL_LAYERS=layers)

    @property
    def location(self):
        return "other"

    def connections(self):
        from channels.layers import get_channel_layer

        return len({channel for group in get_channel_layer("other").groups.values() for channel in group})


class RedisLayer(MemoryLayer):
    """The layer of Channels on Redis."""

    name = "channels-redis"
    kind = RedisService
    processes = True
    loops = True
    most_connections = 4
    layer = "tests.layers.CoreLayer"

    @classmethod
    def require(cls):
        super().require()
        require("channels_redis", importable("channels_redis"), "pip install channels_redis", sys.version_info >= (3, 7))

    @property
    def config(self):
        return dict(super().config, hosts=[self.service.url])

    connections = Redis.connections

    def hurry(self, monkeypatch):
        monkeypatch.setattr("pistoke.pubsub.channels.link.BEAT_EVERY", 0.3)


class RedisPubSubLayer(RedisLayer):
    """The other layer of Channels on Redis."""

    name = "channels-redis-pubsub"
    layer = "tests.layers.PubSubLayer"
    # As with the other one.
    processes = False

    async def close(self):
        # It closes its connections when the event loop is closed; here that is too late.
        from pistoke.pubsub.broker import brokers

        await brokers["default"].layer().flush()


class ClusterNode(RedisService):
    """A Redis that is part of a cluster."""

    def command(self):
        bus = services.free_port()
        words = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000"]
        return super().command() + words


class ClusterService:
    """Three servers that share the slots."""

    name = "Redis"
    present, how_to_get_it = RedisService.present, RedisService.how_to_get_it

    def __init__(self):
        self.nodes = [ClusterNode() for _ in range(3)]

    @property
    def process(self):
        """The process of one of them, None where they do not run."""
        return self.nodes[0].process

    def start(self):
        """Start them, and wait until they are a cluster."""
        is_new = self.nodes[0].directory is None
        for node in self.nodes:
            node.start()
        if is_new:
            for number, node in enumerate(self.nodes):
                node.call("CLUSTER", "ADDSLOTSRANGE", str(number * 5462), str(min(number * 5462 + 5461, 16383)))
        self.meet()
        eventually(self.is_whole)
        return self

    def meet(self):
        """Have all meet the first: its bus has another port now."""
        bus = self.nodes[0].call("CLUSTER", "NODES").split("myself")[0].rsplit("@", 1)[1].split()[0].split(",")[0]
        for node in self.nodes[1:]:
            node.call("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port), bus)

    def is_whole(self):
        """Return whether each of them knows who has what."""
        return all("cluster_state:ok" in node.call("CLUSTER", "INFO") for node in self.nodes)

    def stop(self, by=signal.SIGINT):
        """End them."""
        for node in self.nodes:
            node.stop(by)

    def restart(self, by=signal.SIGINT):
        """End them, and start them again."""
        self.stop(by)
        self.start()

    def remove(self):
        """End them and delete their files."""
        for node in self.nodes:
            node.remove()


class ClusterRedis(Redis):
    """Redis as a cluster of three."""

    name = "redis-cluster"
    kind = ClusterService
    # As with one server. A restart takes three seconds.
    processes = restarts = False
    # Two for each of the servers.
    most_connections = 6

    @property
    def location(self):
        return [node.url for node in self.service.nodes[:2]]

    @property
    def options(self):
        return {"sharded": True}

    def each(self, *words):
        """Return what every server answers."""
        return [node.call(*words) for node in self.service.nodes]

    def cut(self):
        self.each("CLIENT", "KILL", "TYPE", "pubsub")

    def forget(self):
        self.each("FLUSHALL")

    def connections(self):
        # One of them asks; over others the servers hand keys to each other.
        return sum(answer.count("laddr=") - answer.count("cmd=restore") - 1 for answer in self.each("CLIENT", "LIST"))


class PostgreSQL(Engine):
    """PostgreSQL, reached by a connection string."""

    name = "postgresql"
    backend = "pistoke.pubsub.postgresql.PostgreSQLBroker"
    kind = services.PostgreSQL
    # Its tables are not logged.
    survives_crash = False

    @classmethod
    def require(cls):
        super().require()
        require("psycopg 3", importable("psycopg"), "pip install psycopg[binary]", exists=sys.version_info >= (3, 8))

    @property
    def location(self):
        return "host=127.0.0.1 port={} user=postgres dbname=postgres".format(self.service.port)

    def cut(self):
        listens = "query LIKE '%LISTEN%' AND pid <> pg_backend_pid()"
        self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + listens)

    def crash(self):
        # Its way to end all of its processes at once; the next start finds that it has to recover.
        self.service.stop(signal.SIGQUIT)

    def forget(self):
        """As a crash does."""
        self.ask("TRUNCATE pistoke.topic, pistoke.message")

    def connections(self):
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return self.ask("SELECT count(*) FROM pg_stat_activity WHERE " + others)[0][0]

    def ask(self, sql):
        """Return the rows of a statement, None where it has none."""
        import psycopg

        with psycopg.connect(self.location, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else None


#: Every engine; a test names what it needs of them, see ``engines``.
ENGINES = [Memory, Redis, ClusterRedis, MemoryLayer, RedisLayer, RedisPubSubLayer, PostgreSQL]


def engines(*needed):
    """Return the engines that have all of these: attributes of their classes."""
    return [engine for engine in ENGINES if all(getattr(engine, name) for name in needed)]


def eventually(condition, seconds=10):
    """Wait until a condition holds, without an event loop; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "expected it within {} s".format(seconds)
        time.sleep(0.01)


def kill(process):
    """End a process at once, as a crash would."""
    process.send_signal(signal.SIGKILL)
    close(process)


def close(process):
    """Wait for a process to end, and close its pipes; return what it said at last."""
    try:
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    return said
