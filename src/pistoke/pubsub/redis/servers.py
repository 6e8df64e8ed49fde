"""Which server has a topic: one, one of several, or one of a cluster."""

import bisect
import typing
import zlib
from typing import Any

import redis
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

#: How long an answer or a connection may take unless OPTIONS says otherwise, in seconds.
PATIENCE = 5

#: The older protocol is enough, and needs no greeting. Before version 5 redis-py knows no other.
PROTOCOL: "dict[str, Any]" = {"protocol": 2} if int(redis.__version__.split(".")[0]) >= 5 else {}

#: What a server of a cluster answers where a topic is, or is about to be, on another.
ELSEWHERE = ("MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN ")


def is_elsewhere(exc: BaseException) -> bool:
    """Return whether a command was refused, and not executed, because another server of the cluster is asked for."""
    kinds = (redis.exceptions.AskError, redis.exceptions.TryAgainError, redis.exceptions.ClusterDownError)
    return isinstance(exc, kinds) or (isinstance(exc, redis.ResponseError) and str(exc).startswith(ELSEWHERE))


class Server:
    """One server, and how to connect to it.

    ``client`` is for synchronous code of any thread; it keeps its connections, each process its own.
    """

    def __init__(self, url: str, options: "typing.Mapping[str, Any]", **address: Any) -> None:
        self._url = url
        # Nothing is tried twice: what was published may be, although the answer was lost.
        self._options = dict(options, decode_responses=False, **PROTOCOL)
        # Where it is, if not where the URL says.
        self._address = address
        pool = self._pool(redis.ConnectionPool, Retry(NoBackoff(), 0))
        self.client = redis.Redis(connection_pool=pool)
        #: How long an answer may take, in seconds.
        self.timeout: float = pool.connection_kwargs["socket_timeout"]
        self.database: int = int(pool.connection_kwargs.get("db") or 0)
        #: Its host and port.
        self.address = tuple(pool.connection_kwargs.get(name) for name in ("host", "port"))

    def _pool(self, kind: Any, retry: Any) -> Any:
        pool = kind.from_url(self._url, **dict(self._options, retry=retry))
        given = pool.connection_kwargs
        given.update(self._address)
        given["socket_timeout"] = self._options.get("socket_timeout") or given.get("socket_timeout") or PATIENCE
        given["socket_connect_timeout"] = given.get("socket_connect_timeout") or given["socket_timeout"]
        return pool

    def connection(self) -> "aioredis.Connection":
        """Return a connection for the running event loop, not yet connected, that waits for answers for any time."""
        pool = self._pool(aioredis.ConnectionPool, AsyncRetry(NoBackoff(), 0))
        pool.connection_kwargs["socket_timeout"] = None
        connection: "aioredis.Connection" = pool.make_connection()
        return connection

    def close(self) -> None:
        """Close the connections of synchronous code that are not in use."""
        self.client.connection_pool.disconnect(inuse_connections=False)


class Servers:
    """One server, or several that share the topics among them."""

    def __init__(self, urls: "typing.Sequence[str]", options: "typing.Mapping[str, Any]") -> None:
        self._servers = [Server(url, options) for url in urls]
        self.database = self._servers[0].database

    def all(self) -> "list[Server]":
        """Return those that are known."""
        return self._servers

    def of(self, topic: str) -> Server:
        """Return the server of a topic."""
        if len(self._servers) == 1:
            return self._servers[0]
        return self._servers[zlib.crc32(topic.encode()) % len(self._servers)]

    #: Whether one of them has to be asked where topics are, and with what words.
    unknown = False
    question: "tuple[str, ...]" = ()

    def asked(self) -> "list[Server]":
        """Return those that can be asked."""
        return self.all()

    def forget(self) -> None:
        """Ask anew where topics are, because something has changed."""

    def learn(self, asked: Server, answer: Any) -> None:
        """Take the answer of a server to the question: an error of redis-py is one too.

        Raises redis.RedisError where somebody else is to be asked.
        """


class Cluster(Servers):
    """The servers of a cluster, which know by themselves who has what."""

    unknown = True
    question = ("CLUSTER", "SLOTS")

    def __init__(self, urls: "typing.Sequence[str]", options: "typing.Mapping[str, Any]") -> None:
        super().__init__(urls, options)
        self._url, self._options = urls[0], options
        self._seeds = self._servers
        # By host and port.
        self._known: "dict[tuple[Any, ...], Server]" = {server.address: server for server in self._seeds}
        # The last slot of each range, and the server of the range.
        self._table: "tuple[list[int], list[Server]]" = ([], [])

    def all(self) -> "list[Server]":
        """Return those that are known."""
        return list(self._known.values())

    def of(self, topic: str) -> Server:
        """Return the server that has the slot of a topic, as far as is known."""
        ends, servers = self._table
        if not ends:
            return self._seeds[0]
        # Its keys and its channel have the topic in braces: that is what a cluster looks at.
        return servers[min(bisect.bisect_left(ends, key_slot(topic.encode())), len(servers) - 1)]

    def forget(self) -> None:
        """Ask anew before the next command."""
        self.unknown = True

    def learn(self, asked: Server, answer: Any) -> None:
        """Take the table of slots; an error is what a server says that is no part of a cluster."""
        if isinstance(answer, Exception):
            self._table = ([16383], [asked])
        else:
            ranges = sorted((entry[1], self._at(asked, entry[2])) for entry in answer)
            self._table = ([end for end, _ in ranges], [self._known[address] for _, address in ranges])
        self.unknown = False

    def _at(self, asked: Server, node: "typing.Sequence[Any]") -> "tuple[Any, ...]":
        # One that does not know its own name is where it was asked.
        address = node[0].decode() if node[0] else asked.address[0], int(node[1])
        if address not in self._known:
            self._known[address] = Server(self._url, self._options, host=address[0], port=address[1])
        return address


class Sentinels(Servers):
    """One server at a time: the one that sentinels say is the master of a service."""

    unknown = True

    def __init__(self, urls: "typing.Sequence[str]", options: "typing.Mapping[str, Any]", service: str) -> None:
        # Who may ask sentinels stands in their URLs, who may use the server in the options.
        super().__init__(urls, {name: options[name] for name in options if name not in ("username", "password", "db")})
        self.question = ("SENTINEL", "get-master-addr-by-name", service)
        self.database = int(options.get("db") or 0)
        self._scheme, self._options = urls[0].partition("://")[0], options
        # By host and port; the master is one of them.
        self._known: "dict[tuple[str, int], Server]" = {}
        self._master = self._servers[0]

    def all(self) -> "list[Server]":
        """Return those that are known."""
        return self._servers + list(self._known.values())

    def asked(self) -> "list[Server]":
        """Return the sentinels."""
        return self._servers

    def of(self, topic: str) -> Server:
        """Return the master, as far as is known."""
        return self._master

    def forget(self) -> None:
        """Ask anew before the next command."""
        self.unknown = True

    def learn(self, asked: Server, answer: Any) -> None:
        """Take the address of the master."""
        if not isinstance(answer, list):
            raise redis.ConnectionError("expected the address of a master from a sentinel, got {!r}".format(answer))
        host, port = answer[0].decode(), int(answer[1])
        if (host, port) not in self._known:
            url = "{}://{}:{}".format(self._scheme, "[{}]".format(host) if ":" in host else host, port)
            self._known[host, port] = Server(url, self._options)
        self._master = self._known[host, port]
        self.unknown = False
