"""Ways to reach Redis: a password, TLS, a Unix socket, sentinels; and another event loop than Python's own."""
import asyncio
import os
import subprocess

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from pistoke.pubsub import BrokerUnavailable, aposition, apublish, publish, subscribe
from pistoke.pubsub.broker import brokers

from . import brokers as kinds
from .conftest import run_in
from .parts import importable, on_path, require
from .services import free_port
from .test_brokers import soon, take

CERTIFICATE = [
    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
]


@pytest.fixture(scope="module", autouse=True)
def required():
    """Skip all of this where there is no Redis."""
    kinds.Redis.require()
    require("OpenSSL", on_path("openssl"), "apt-get install openssl")


class GuardedRedis(kinds.RedisService):
    """A Redis with a password, TLS and a Unix socket."""

    def __init__(self):
        super().__init__()
        self.tls_port = free_port()

    def prepare(self):
        self._run(subprocess.check_output, [self.program("openssl")] + CERTIFICATE, stderr=subprocess.STDOUT)

    def command(self):
        words = ["--tls-port", str(self.tls_port), "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]
        words += ["--tls-ca-cert-file", "cert.pem", "--tls-auth-clients", "no"]
        return super().command() + words + ["--requirepass", "a secret", "--unixsocket", self.path("socket")]

    def path(self, name):
        """Return the path of a file of it."""
        return os.path.join(self.directory, name)

    def answers(self):
        return os.path.exists(self.path("socket")) and asks_who_is_there(self)


def asks_who_is_there(service):
    """Return whether a service answers, and wants a password."""
    try:
        return service.call("PING").startswith("-NOAUTH")
    except OSError:
        return False


class Sentinel(kinds.RedisService):
    """What watches a master and its replica."""

    def __init__(self, master, *more):
        super().__init__()
        self.master = master
        self.more = "".join(line + "\n" for line in more)

    def prepare(self):
        with open(os.path.join(self.directory, "sentinel.conf"), "w") as config:
            config.write(
                "port {}\nbind 127.0.0.1\nsentinel monitor ours 127.0.0.1 {} 1\n"
                "sentinel down-after-milliseconds ours 300\nsentinel failover-timeout ours 1000\n".format(
                    self.port, self.master.port
                )
                + self.more
            )
        os.chmod(self.directory, 0o777)
        os.chmod(os.path.join(self.directory, "sentinel.conf"), 0o666)

    def command(self):
        return [self.program("redis-server"), "sentinel.conf", "--sentinel"]


@pytest.fixture(scope="module")
def guarded():
    """Return a running Redis that does not let everybody in."""
    found = GuardedRedis()
    try:
        yield found.start()
    finally:
        found.remove()


def configured(location, **options):
    """Return a context with a broker."""
    backend, history = kinds.Redis.backend, {"kept.*": {"size": 100, "ttl": 60}}
    broker = {"BACKEND": backend, "LOCATION": location, "OPTIONS": options, "HISTORY": history}
    return override_settings(PISTOKE_PUBSUB={"default": broker})


def url_of(guarded, way):
    """Return how a Redis is reached."""
    return {
        "password": "redis://:a%20secret@127.0.0.1:{}/1".format(guarded.port),
        "tls": "rediss://:a%20secret@localhost:{}".format(guarded.tls_port),
        "unix": "unix://:a%20secret@{}".format(guarded.path("socket")),
    }[way]


async def close():
    """Leave no connection behind."""
    broker = brokers["default"]
    await broker.aclose()
    await sync_to_async(broker.close, thread_sensitive=False)()


async def converse(topic):
    """Publish from everywhere, and hear all of it."""
    since = await aposition(topic)
    await apublish(topic, 1)
    async with subscribe(topic, since=since) as messages:
        assert messages.recovered
        await apublish(topic, 2)
        await sync_to_async(publish, thread_sensitive=False)(topic, "ä" * 100000)
        assert await take(messages, 3) == [1, 2, "ä" * 100000]


@pytest.mark.parametrize("way", ["password", "tls", "unix"])
async def test_ways_in(guarded, way):
    options = {"ssl_ca_certs": guarded.path("cert.pem")} if way == "tls" else {}
    with configured(url_of(guarded, way), **options):
        await converse("kept." + way)
        await close()


@pytest.mark.parametrize("way, reason", [("password", "(?i)auth|password"), ("tls", "(?i)certificate")])
async def test_whoever_does_not_belong_is_told_why(guarded, way, reason):
    location = url_of(guarded, way)
    with configured(location.replace("a%20secret", "a%20guess") if way == "password" else location):
        for attempt in (apublish("t", 1), subscribe("t").__aenter__()):
            with pytest.raises(BrokerUnavailable, match=reason):
                await attempt
        await close()


def test_loop_of_uvloop(guarded):
    require("uvloop", importable("uvloop"), "pip install uvloop", exists=hasattr(asyncio, "get_running_loop"))
    import uvloop

    async def whole():
        for way in ("password", "tls", "unix"):
            options = {"ssl_ca_certs": guarded.path("cert.pem")} if way == "tls" else {}
            with configured(url_of(guarded, way), **options):
                await converse("kept.uvloop." + way)
                await close()

    run_in(uvloop.new_event_loop(), whole())


class TestSentinels:
    async def test_another_master_is_followed(self):
        master, replica = kinds.RedisService(), kinds.RedisService()
        sentinel = Sentinel(master)
        services = [master, replica, sentinel]
        try:
            master.start()
            replica.start()
            replica.call("REPLICAOF", "127.0.0.1", str(master.port))
            await soon(lambda: "master_link_status:up" in replica.call("INFO", "replication"))
            sentinel.start()
            await soon(lambda: "slave" in sentinel.call("SENTINEL", "REPLICAS", "ours"), 20)
            nobody = "redis://127.0.0.1:{}".format(free_port())
            with configured([nobody, sentinel.url], sentinel="ours"):
                async with subscribe("kept.t", "t") as messages:
                    await apublish("kept.t", 1)
                    await sync_to_async(publish, thread_sensitive=False)("t", 2)
                    assert sorted(await take(messages, 2)) == [1, 2]
                    await soon(lambda: "lag=0" in master.call("INFO", "replication"))
                    master.stop(9)
                    published = []

                    async def insist():
                        while not published:
                            try:
                                published.append(await apublish("kept.t", 3))
                            except BrokerUnavailable:
                                await asyncio.sleep(0.05)

                    await asyncio.wait_for(insist(), 20)
                    while (await take(messages, 1, 20)) != [3]:
                        pass
                    await sync_to_async(publish, thread_sensitive=False)("kept.t", 4)
                    while (await take(messages, 1)) != [4]:
                        pass
                await close()
        finally:
            for service in services:
                service.remove()

    async def test_passwords(self, guarded):
        sentinel = Sentinel(guarded, 'sentinel auth-pass ours "a secret"', "requirepass other")
        sentinel.answers = lambda: asks_who_is_there(sentinel)
        try:
            sentinel.start()
            location = "redis://:other@127.0.0.1:{}".format(sentinel.port)
            with configured([location], sentinel="ours", password="a secret", db=1):
                await converse("kept.sentinel")
                await close()
        finally:
            sentinel.remove()

    async def test_service_that_there_is_not(self):
        server = kinds.RedisService().start()
        try:
            with configured(server.url, sentinel="ours"):
                for attempt in (apublish("t", 1), subscribe("t").__aenter__()):
                    with pytest.raises(BrokerUnavailable, match="expected the address of a master"):
                        await attempt
                await close()
        finally:
            server.remove()
