"""What can go wrong with a socket.

::

    BaseException
    └── PistokeException                 the root of everything below
        ├── HandshakeError               also an Exception: the socket could not be opened
        │   └── SubprotocolMismatch      the two sides have no subprotocol in common
        ├── PubSubError                  also an Exception: something is wrong with topics
        │   ├── BrokerUnavailable        also a ConnectionError: the engine behind them cannot be reached
        │   └── SlowMember               a subscription was not read as fast as messages came
        ├── BadMessage                   in ``pistoke.typed``, also a BadRequest: a typed message is none that is expected
        └── WebsocketDisconnect          the socket is over; abstract, catch it to know of either:
            ├── ClientDisconnected       also an asyncio.CancelledError: raised by ``receive()``
            └── ConnectionClosed         also a ConnectionError: raised by ``send()`` and ``close()``

The root is no ``Exception`` because :class:`ClientDisconnected` must pass through ``except Exception``: a loop that logs
every error of one message and goes on with the next has to end when there is no client any more.
"""

import asyncio
from typing import Sequence


class PistokeException(BaseException):
    """The base of every exception of this package."""


class HandshakeError(PistokeException, Exception):
    """The socket could not be opened."""


class SubprotocolMismatch(HandshakeError):
    """The client and the view have no subprotocol in common.

    ``offered`` and ``supported`` are tuples of ``str``, in each side's order of preference.
    """

    def __init__(self, offered: Sequence[str] = (), supported: Sequence[str] = ()) -> None:
        super().__init__(offered, supported)
        self.offered: "tuple[str, ...]" = tuple(offered)
        self.supported: "tuple[str, ...]" = tuple(supported)

    def __str__(self) -> str:
        return "expected one of the subprotocols {!r}, got {!r}".format(list(self.supported), list(self.offered))


class PubSubError(PistokeException, Exception):
    """Something is wrong with topics."""


class BrokerUnavailable(PubSubError, ConnectionError):
    """The engine behind the topics cannot be reached.

    ``broker`` is the alias of the broker, ``reason`` what the engine, its library or the system said.
    """

    def __init__(self, broker: str, reason: object) -> None:
        super().__init__(broker, reason)
        self.broker = broker
        self.reason = reason

    def __str__(self) -> str:
        return "expected the engine of broker {!r} to answer, got {}".format(self.broker, self.reason)


class SlowMember(PubSubError):
    """A subscription was not read as fast as messages came.

    ``topics`` are its topics, ``buffer`` is how many messages waited for its reader.
    """

    def __init__(self, topics: Sequence[str], buffer: int) -> None:
        super().__init__(topics, buffer)
        self.topics: "tuple[str, ...]" = tuple(topics)
        self.buffer = buffer

    def __str__(self) -> str:
        return "expected a reader as fast as the messages of {}, got {} of them waiting for it".format(
            ", ".join(self.topics), self.buffer
        )


class WebsocketDisconnect(PistokeException):
    """The socket is over.

    ``code`` is the close code (RFC 6455 section 7.4), ``reason`` the text that came with it.
    """

    def __init__(self, code: int = 1005, reason: str = "", socket: object = None) -> None:
        if type(self) is WebsocketDisconnect:
            raise TypeError("WebsocketDisconnect is abstract: expected ClientDisconnected or ConnectionClosed")
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        # Which one is over: a view may talk to several.
        self.socket = socket

    def __str__(self) -> str:
        return "the socket was closed with code {}{}".format(self.code, ": " + self.reason if self.reason else "")


class ClientDisconnected(WebsocketDisconnect, asyncio.CancelledError):
    """There is nothing more to receive."""


class ConnectionClosed(WebsocketDisconnect, ConnectionError):
    """There is nobody to send to."""
