"""Redis, and Valkey: pub/sub for what is published, a hash and a stream for what is kept."""

import asyncio
import os
import time
import typing
from typing import Any, Mapping

from django.core.exceptions import ImproperlyConfigured

try:
    import redis
    from redis import asyncio as _asyncio  # noqa: F401  # what is too old is missing too
except ImportError as exc:
    raise ImportError(
        "expected redis-py 4.2 or later (pip install 'django-pistoke[redis]'), got: {}".format(exc), name="redis"
    ) from exc

from ..._compat import get_running_loop
from ...exceptions import BrokerUnavailable
from ..broker import Broker, Link, Missed, forget_closed
from ..message import Message, Position
from . import scripts
from .line import Lines
from .link import RedisLink
from .scripts import Command
from .servers import Cluster, Sentinels, Servers, is_elsewhere

if typing.TYPE_CHECKING:
    from ..broker import History
    from ..hub import Hub

#: How often a command is tried that servers of a cluster refuse, and the pause between, in seconds.
ATTEMPTS, PAUSE = 6, 0.05

#: What a topic is that they all refuse.
NOWHERE = "a topic that moves from one server to another"

#: What says that there is no answer.
ERRORS = (redis.RedisError, OSError)


class RedisBroker(Broker):
    """A broker on Redis 5 or later.

    ``LOCATION`` is a URL as redis-py takes it, or a list of them: servers that share the topics among them. Of ``OPTIONS``
    ``prefix`` is what the names of keys and channels begin with, ``sharded`` says that it is a cluster (Redis 7 or
    later), and ``sentinel`` is the name of a service whose sentinels ``LOCATION`` lists; all others are passed on to the
    connections of redis-py.
    """

    def __init__(self, alias: str, location: Any, options: Mapping[str, Any], history: Mapping[str, Any]) -> None:
        super().__init__(alias, location, options, history)
        passed = dict(options)
        self._prefix: str = passed.pop("prefix", "pistoke:")
        self._sharded: bool = passed.pop("sharded", False)
        service: "str | None" = passed.pop("sentinel", None)
        urls = [location] if isinstance(location, str) else list(location or ["redis://localhost:6379"])
        try:
            self.servers: Servers = (
                Sentinels(urls, passed, service) if service else (Cluster if self._sharded else Servers)(urls, passed)
            )
        except ValueError as exc:
            raise ImproperlyConfigured("PISTOKE_PUBSUB[{!r}]: {}".format(alias, exc)) from exc
        # How every channel begins: channels know nothing of the databases of a server.
        self._head = "{}{}:{{".format(self._prefix, self.servers.database)
        # The connections of each event loop.
        self._lines: "dict[asyncio.AbstractEventLoop, Lines]" = {}

    # Names

    def channel(self, topic: str) -> str:
        """Return the channel of a topic."""
        return self._head + topic + "}"

    def words_for(self, command: str) -> str:
        """Return the name of a command about channels."""
        return "S" + command if self._sharded else command

    def _keys(self, topic: str) -> "tuple[str, str]":
        # In braces, so that a cluster has them in one place.
        key = "{}{{{}}}".format(self._prefix, topic)
        return key, key + ":log"

    # Commands

    def _publish_command(self, topic: str, payload: str) -> Command:
        rule = self.history_of(topic)
        if rule is None:
            return Command(self.words_for("PUBLISH"), self.channel(topic), payload)
        return scripts.publish.command(
            (*self._keys(topic), self.channel(topic)),
            *self._begin(rule),
            rule.size + 1,
            milliseconds(rule),
            payload,
            self.words_for("PUBLISH"),
        )

    def _begin(self, rule: "History") -> "tuple[str, int]":
        """Return what every script is given first: a new epoch if it needs one, and how long to remember it."""
        return os.urandom(6).hex(), 0 if rule.ttl is None else int(rule.ttl * 1000) + scripts.REMEMBERED

    def _position_command(self, topic: str, rule: "History") -> Command:
        return scripts.position.command(self._keys(topic), *self._begin(rule))

    def _run(self, topic: str, command: Command) -> Any:
        """Return the answer to a command, from synchronous code."""
        words = command.first
        for attempt in range(ATTEMPTS):
            try:
                if self.servers.unknown:
                    self._find_servers(attempt)
                return self.servers.of(topic).client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's
            except ERRORS as exc:
                words = self._after(exc, command)
        raise self.unavailable(NOWHERE)

    async def _arun(self, topic: str, command: Command) -> Any:
        """Return the answer to a command, from a coroutine."""
        words = command.first
        for attempt in range(ATTEMPTS):
            try:
                if self.servers.unknown:
                    await self.find_servers(attempt)
                return await self.lines().commands(self.servers.of(topic)).call(*words)
            except ERRORS as exc:
                words = self._after(exc, command)
        raise self.unavailable(NOWHERE)

    def _after(self, exc: Exception, command: Command) -> "tuple[Any, ...]":
        """Return what to try after an error that says that nothing was done; raise BrokerUnavailable after others."""
        if isinstance(exc, BrokerUnavailable):
            raise exc
        if not isinstance(exc, redis.exceptions.NoScriptError):
            self.servers.forget()
            if not is_elsewhere(exc):
                raise self.unavailable(exc) from exc
        return command.in_full

    def unavailable(self, reason: object) -> BrokerUnavailable:
        """Return the error for a reason."""
        return BrokerUnavailable(self.alias, reason)

    def _find_servers(self, attempt: int) -> None:
        """Ask a cluster where topics are, or sentinels."""
        if attempt:
            time.sleep(PAUSE)
        error: "Exception | None" = None
        for server in self.servers.asked():
            try:
                try:
                    answer = server.client.execute_command(*self.servers.question)  # type: ignore[no-untyped-call]  # redis-py's
                except redis.ResponseError as exc:
                    answer = exc
                self.servers.learn(server, answer)
                return
            except ERRORS as exc:
                error = exc
        raise self.unavailable(error)

    async def find_servers(self, attempt: int = 0) -> None:
        """The same, from a coroutine."""
        if attempt:
            await asyncio.sleep(PAUSE)
        error: "Exception | None" = None
        for server in self.servers.asked():
            try:
                try:
                    answer = await self.lines().commands(server).call(*self.servers.question)
                except redis.ResponseError as exc:
                    answer = exc
                self.servers.learn(server, answer)
                return
            except ERRORS as exc:
                error = exc
        raise self.unavailable(error)

    def lines(self) -> Lines:
        """Return the connections of the running event loop."""
        loop = get_running_loop()
        if loop not in self._lines:
            forget_closed(self._lines)
            self._lines[loop] = Lines()
        return self._lines[loop]

    # What a broker does

    def publish(self, topic: str, payload: str) -> "Position | None":
        """Publish from any thread."""
        return self._position_of(topic, self._run(topic, self._publish_command(topic, payload)))

    async def apublish(self, topic: str, payload: str) -> "Position | None":
        """Publish from a coroutine."""
        return self._position_of(topic, await self._arun(topic, self._publish_command(topic, payload)))

    def _position_of(self, topic: str, answer: Any) -> "Position | None":
        return None if self.history_of(topic) is None else parse(answer.decode())

    def position(self, topic: str) -> "Position | None":
        """Return the position of the last message."""
        rule = self.history_of(topic)
        return None if rule is None else parse(self._run(topic, self._position_command(topic, rule)).decode())

    async def aposition(self, topic: str) -> "Position | None":
        """Return the position of the last message."""
        rule = self.history_of(topic)
        return None if rule is None else parse((await self._arun(topic, self._position_command(topic, rule))).decode())

    async def missed(self, topic: str, since: "Position | None") -> Missed:
        """Return what was published since a position."""
        rule = self.history_of(topic)
        if rule is None:
            return Missed([], False, None)
        # An epoch that there is not stands for a position that nobody knows.
        epoch, offset = since or ("", 0)
        command = scripts.missed.command(self._keys(topic), *self._begin(rule), epoch, offset, milliseconds(rule))
        last, recovered, *found = await self._arun(topic, command)
        position = parse(last.decode())
        pairs = zip(found[::2], found[1::2])
        messages = [Message(topic, payload.decode(), Position(position.epoch, int(place))) for place, payload in pairs]
        return Missed(messages, bool(recovered), position)

    @staticmethod
    def received(topic: str, data: bytes) -> Message:
        """Return the message that came over a channel: its position, where it has one, stands before its payload."""
        text = data.decode()
        if text[0] != "@":
            return Message(topic, text)
        position, _, payload = text[1:].partition(" ")
        return Message(topic, payload, parse(position))

    def connect(self, hub: "Hub") -> Link:
        """Return a link; it connects in its own time."""
        return RedisLink(self, hub)

    def close(self) -> None:
        """Close the connections of synchronous code that are not in use."""
        for server in self.servers.all():
            server.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await super().aclose()
        lines = self._lines.get(get_running_loop())
        if lines is not None:
            await lines.close()


def parse(position: str) -> Position:
    """Return a position that the engine has given."""
    epoch, _, offset = position.rpartition("-")
    return Position(epoch, int(offset))


def milliseconds(rule: "History") -> "int | str":
    """Return for how long messages are kept, as scripts want it."""
    return "" if rule.ttl is None else int(rule.ttl * 1000)
