"""What the servers are asked to do: each load opens its connections, runs as often as it is told, and closes them."""

import asyncio
import dataclasses
import typing

from . import redis
from .client import CLOSE_FRAME, Countdown, answer_size, connect, connect_many, disconnect_many, frame

LINE = b"x" * 32


@dataclasses.dataclass
class Load:
    """Something to do for a server: a number of operations that each cost the same."""

    key: str
    title: str
    unit: str = "message"  # what one operation is
    first: int = 100  # how many of them warm the server up, and show how fast it is
    path: str = "/echo/"
    connections: int = 0  # how many to keep open
    clients: typing.List[typing.Any] = dataclasses.field(default_factory=list)
    site: typing.Any = None  # the server

    async def open(self, site):
        """Open the connections."""
        self.site = site
        self.clients = await connect_many(site.port, self.path, self.connections)

    async def run(self, amount):
        """Do about so many operations; return how many were done."""
        raise NotImplementedError

    async def close(self):
        """Close the connections."""
        clients, self.clients = self.clients, []
        await disconnect_many(clients)


@dataclasses.dataclass
class Echo(Load):
    """Messages that are sent back, one at a time on each connection."""

    size: int = 32

    async def run(self, amount):
        """Send and receive so many messages."""
        each = max(1, amount // self.connections)
        done = Countdown(self.connections)
        payload = b"x" * self.size
        message = frame(payload)
        for client in self.clients:
            client.exchange(message, answer_size(self.size), each, done)
        await done
        assert payload.endswith(self.clients[0].tail[-20:]), "expected an echo"
        return each * self.connections


@dataclasses.dataclass
class Ingest(Load):
    """Messages that the server reads and does not answer."""

    block: typing.ClassVar[int] = 100

    async def run(self, amount):
        """Send so many messages, and ask for their number last."""
        blocks = max(1, amount // self.connections // self.block)
        await asyncio.gather(*(self.feed(client, blocks) for client in self.clients))
        return blocks * self.block * self.connections

    async def feed(self, client, blocks):
        """Send on one connection."""
        data = frame(LINE) * self.block
        for _ in range(blocks):
            client.transport.write(data)
            await (client.resumed or asyncio.sleep(0))
        done = Countdown(1)
        # The count goes on from one run to the next: its length is not known, but it has at least one digit.
        client.exchange(frame(b"end"), answer_size(1), 1, done)
        await done
        client.received = 0
        count = int(client.tail[2:])
        assert count >= blocks * self.block, f"expected {blocks * self.block} messages to have arrived, got {count}"


@dataclasses.dataclass
class Push(Load):
    """Messages that the server sends without reading any."""

    async def run(self, amount):
        """Ask for so many messages, and receive them."""
        each = max(1, amount // self.connections)
        done = Countdown(self.connections)
        message = frame(str(each).encode())
        for client in self.clients:
            client.exchange(message, answer_size(len(LINE)) * each, 1, done)
        await done
        return each * self.connections


@dataclasses.dataclass
class Connect(Load):
    """Connections: the handshake, one echo, the close."""

    together: int = 50
    logged_in: bool = False

    async def run(self, amount):
        """Open and close so many connections."""
        each = max(1, amount // self.together)
        await asyncio.gather(*(self.visits(each) for _ in range(self.together)))
        return each * self.together

    async def visits(self, count):
        """Open and close connections one after the other."""
        for _ in range(count):
            client = await connect(self.site.port, self.path, self.site.cookie if self.logged_in else "")
            done = Countdown(1)
            await self.converse(client, done)
            client.transport.write(CLOSE_FRAME)
            await client.lost

    async def converse(self, client, done):
        """Exchange a message."""
        client.exchange(frame(b"hello"), answer_size(5), 1, done)
        await done


@dataclasses.dataclass
class Bye(Connect):
    """Connections that the server closes first."""

    async def converse(self, client, done):
        """Await the frame that closes, with its code."""
        client.expect(answer_size(2), done)
        await done


@dataclasses.dataclass
class Room(Load):
    """One of many sends a message, and all receive it."""

    async def open(self, site):
        """Open the connections, and wait until the last has joined: that may be after its handshake."""
        await super().open(site)
        await site.settle()

    async def run(self, amount):
        """Publish so often that about so many messages are delivered."""
        times = max(1, amount // self.connections)
        message = frame(LINE)
        for _ in range(times):
            done = Countdown(self.connections)
            for client in self.clients:
                client.expect(answer_size(len(LINE)), done)
            self.clients[0].transport.write(message)
            await done
        return times * self.connections


ECHO_1 = Echo("echo-1", "echo, 1 connection, 32 B", connections=1, first=300)
ECHO_50 = Echo("echo-50", "echo, 50 connections, 32 B", connections=50, first=1000)
ECHO_16K = Echo("echo-16k", "echo, 50 connections, 16 KiB", connections=50, first=500, size=16384)
INGEST = Ingest("ingest", "ingest without replies", connections=10, first=2000, path="/ingest/")
PUSH = Push("push", "push without reading", connections=10, first=2000, path="/push/")
CONNECT = Connect("connect", "connect, echo, close; 7 default middleware, 50 at once", "connection")
LOGIN = Connect(
    "login", "the same, logged in by a session cookie, view reads the user", "connection", path="/user/", logged_in=True
)
BYE = Bye("bye", "server closes first, one at a time", "connection", path="/bye/", together=1)
ROOM = Room("room", "room of 500, one publishes; in process", "delivery", path="/room/", connections=500, first=2000)
ROOM_REDIS = Room(
    "room-redis", "the same through Redis", "delivery", path="/room-redis/", connections=500, first=2000
)

ALL = [ECHO_1, ECHO_50, ECHO_16K, INGEST, PUSH, CONNECT, LOGIN, BYE, ROOM]
if redis.is_installed():
    ALL.append(ROOM_REDIS)
