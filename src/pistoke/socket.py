"""One WebSocket: what its view receives, sends and closes, over an ASGI server's ``receive`` and ``send``."""

import asyncio
import contextlib
import sys
import types
import typing
from typing import Any

from django.utils.functional import Promise

from ._compat import get_running_loop
from .conf import conf
from .connection import (
    ABNORMAL,
    BAD_DATA,
    LOST,
    NORMAL,
    TOO_BIG,
    State,
    choose_subprotocol,
    close_event,
    size,
)
from .exceptions import ClientDisconnected, ConnectionClosed, HandshakeError, SubprotocolMismatch
from .inbound import Inbound, Wrapped, is_of

if typing.TYPE_CHECKING:
    from ._types import Decode, Encode, Event, Receive, Send
    from .limits import Limits
    from .protocol import WebsocketProtocol

    #: What ``receive()`` raises instead of its own, if anything.
    AtEnd = typing.Optional[typing.Type[BaseException]]

#: How many messages are sent before the event loop gets a turn. After the abrupt loss of a client the ``send`` of some
#: servers returns without ever suspending: a view that sends in a tight loop would hang the process.
SENDS_PER_TURN = 256

#: The modules of servers whose ``send`` is the same in any context: what is logged or traced around it is somebody else's.
SERVERS = ("uvicorn", "hypercorn", "daphne", "granian", "_granian")

#: What a class has whose instances are messages (see ``typed/models.py``): a msgspec struct, a model of pydantic 2 or 1, a
#: dataclass.
MODEL_MARKS = ("__struct_fields__", "__pydantic_core_schema__", "__post_root_validators__", "__dataclass_fields__")


class Socket(Inbound):
    """A connection with the server that carries it."""

    __slots__ = (
        "_accepting",
        "_asgi_send",
        "_limit",
        "automatic",
        "decode",
        "encode",
        "has_read",
        "listened_to",
        "offered",
        "protocol",
        "readable",
        "steppable",
        "subprotocol",
        "turn",
    )

    attended: bool

    def __init__(self, receive: "Receive", send: "Send", offered: "tuple[str, ...]" = ()) -> None:
        super().__init__(receive)
        # The server's own.
        self._asgi_send = send
        # The subprotocols that the client offers, in its order; then the one that was chosen.
        self.offered: "tuple[str, ...]" = offered
        self.subprotocol: "str | None" = None
        # The explicit protocol in force; whether in its absence the automatic one accepts.
        self.protocol: "WebsocketProtocol | None" = None
        self.automatic: bool = False
        # A future while the handshake is being accepted: whoever else has something to send waits for it.
        self._accepting: "asyncio.Future[None] | None" = None
        # Whether the view reads messages as they come from the server, and whether anybody listens to what it sends. Each
        # ends on its own: there may be messages to read when there is nobody left to send any to.
        self.readable: bool = False
        self.listened_to: bool = False
        # How many messages may be sent before the event loop gets a turn; none where nobody listens. (A number that
        # Python keeps ready, counted down: counting up to any height took as long as the rest of a send.)
        self.turn: int = 0
        # What translates a message on its way in and out (JSON); None leaves it as it is.
        self.decode: "Decode | None" = None
        self.encode: "Encode | None" = None
        # The largest message in bytes.
        self._limit: int = sys.maxsize if conf.MAX_MESSAGE_SIZE is None else conf.MAX_MESSAGE_SIZE
        # Whether somebody else's task may begin to send: not where what watches the socket cuts tasks short that send.
        self.steppable: bool = True
        # Whether the view reads: then it may finish with its last message.
        self.has_read: bool = False

    # Limits

    def limit(self, limits: "Limits") -> None:
        """Put other limits than the settings into force."""
        self.limits = limits
        self._limit = sys.maxsize if limits.MAX_MESSAGE_SIZE is None else limits.MAX_MESSAGE_SIZE

    def watch(
        self, wrap_receive: "typing.Callable[[Receive], Receive]", wrap_send: "typing.Callable[[Send], Send]"
    ) -> "Send":
        """Wrap what the server gave; return its own ``send``."""
        send = self._asgi_send
        self._asgi_receive, self._asgi_send = wrap_receive(self._asgi_receive), wrap_send(send)
        return send

    @property
    def is_plain(self) -> bool:
        """Whether messages go to the server's own ``send``, in whatever context: nothing of ours or others is around it."""
        send = self._asgi_send
        return not isinstance(send, Wrapped) and any(is_of(send, server) for server in SERVERS)

    # Opening

    async def accept(self, supported: "tuple[str, ...]" = ()) -> None:
        """Open the socket, with the subprotocol that suits both sides; do nothing where it is open already.

        Raises :class:`SubprotocolMismatch` where none does, :class:`ConnectionClosed` where the client has left.
        """
        if self._accepting is not None:
            await asyncio.shield(self._accepting)
        if self.application is not State.CONNECTING:
            return
        if self.over:
            raise self._closed()
        try:
            self.subprotocol = choose_subprotocol(self.offered, supported)
        except LookupError:
            raise SubprotocolMismatch(self.offered, supported) from None
        self._accepting = get_running_loop().create_future()
        try:
            await self.send_event({"type": "websocket.accept", "subprotocol": self.subprotocol})
        except ConnectionClosed:
            # Whoever leaves before the answer has said nothing that is still to be read.
            self.lost()
            raise
        finally:
            # Where it was cancelled too (by a time-out around the first message, say): the server has been told.
            self.listened_to = not self.over
            self.turn = SENDS_PER_TURN if self.listened_to else 0
            self._accepting.set_result(None)
            self._accepting = None

    async def _accept_automatically(self) -> None:
        """Open the socket of a view without a protocol; wait for it where that is going on."""
        if self._accepting is not None or (self.automatic and self.application is State.CONNECTING):
            await self.accept()
        elif self.application is State.CONNECTING:
            raise HandshakeError("expected an open socket; receive and send inside of the protocol that opens it")

    async def before_reading(self) -> None:
        """Open the socket of a view without a protocol that has begun to wait for something else.

        Where the client offers subprotocols, an explicit protocol may still have to choose one.
        """
        if self.automatic and not self.offered:
            with contextlib.suppress(ConnectionClosed):
                await self._accept_automatically()

    # Receiving

    async def receive(self, at_end: "AtEnd" = None, raw: bool = False) -> Any:
        """Return the next message, with ``raw`` as it came.

        Raises :class:`ClientDisconnected` when there is none any more, or ``at_end`` if that is given.
        """
        event: "Event | None" = None
        if self.attended or self._buffer or not self.readable:
            event = await self._receive_indirectly()
        if event is None:
            # A coroutine of its own for this would cost an echo three per cent.
            self.attended = True
            try:
                event = await self._asgi_receive()
            except asyncio.CancelledError:
                raise
            except Exception:
                event = LOST
            finally:
                self.attended = False
                if self._waiters or not self.stepping:
                    self.attend_soon()
        message = event["text"] if "text" in event else None  # noqa: SIM401  # get() takes longer
        if message is None:
            message = self._binary(event, at_end)
        if len(message) * 4 > self._limit and size(message) > self._limit:
            raise await self._rejected(TOO_BIG, "expected at most {} bytes".format(self._limit), at_end)
        if self.decode is None or raw:
            return message
        try:
            return self.decode(message)
        except (ValueError, RecursionError):
            raise await self._rejected(BAD_DATA, "expected JSON", at_end) from None

    def __anext__(self) -> "typing.Coroutine[Any, Any, Any]":
        return self.receive(StopAsyncIteration)

    async def _receive_indirectly(self) -> "Event | None":
        """Return the next event where somebody else reads; None where the view is to read from the server itself."""
        self.has_read = True
        if not self.over:
            with contextlib.suppress(ConnectionClosed):
                await self._accept_automatically()
        self.readable = not (self.over or self.one_reader)
        if self.readable and not self.attended and not self._buffer:
            return None
        return await self.next_buffered()

    def _binary(self, event: "Event", at_end: "AtEnd") -> Any:
        """Return the binary message of an event that has no text; raise where it is the last event."""
        if event["type"] != "websocket.receive":
            raise self._ended(event, at_end)
        return event["bytes"]

    def _ended(self, event: "Event", at_end: "AtEnd" = None) -> "BaseException | type[BaseException]":
        """Note that there is nothing more to read, and nobody to send to; return the exception that says so."""
        self.received(event)
        self._shut()
        assert self.close_code is not None
        return at_end or ClientDisconnected(self.close_code, self.close_reason, self)

    async def _rejected(self, code: int, reason: str, at_end: "AtEnd") -> "BaseException | type[BaseException]":
        """Close the socket because of what the client sent; return the exception that says so."""
        with contextlib.suppress(ConnectionClosed):
            await self.close(code, reason)
        return at_end or ClientDisconnected(code, reason, self)

    def _shut(self) -> None:
        self.readable = self.listened_to = False
        self.turn = 0

    def nothing_more(self) -> None:
        """Let nobody wait for what will not come, or send to where nobody is."""
        self._shut()
        super().nothing_more()

    async def wait_for_end(self, seconds: float) -> None:
        """Wait until the server says that the connection has ended, but no longer than that."""
        with contextlib.suppress(asyncio.TimeoutError):
            while not self.received(await asyncio.wait_for(self._read_event(), seconds)):
                pass
        # Uvicorn has said it, but notes it for itself only now.
        await asyncio.sleep(0)

    # Sending

    async def send(self, message: object) -> None:
        """Send a message: ``str`` as text, ``bytes`` as binary.

        Returns when the server has taken it, which it delays while the client is slow. Raises :class:`ConnectionClosed`
        where there is nobody to send to, TypeError for a message of another type.
        """
        if self.encode is not None:
            message = self.encode(message)
        if type(message) is str:
            event: "Event" = {"type": "websocket.send", "text": message}
        elif type(message) is bytes:
            event = {"type": "websocket.send", "bytes": message}
        else:
            event = message_event(message)
        if not self.turn:
            await self._next_turn()
        self.turn -= 1
        try:
            await self._asgi_send(event)
        except (asyncio.CancelledError, UnicodeError):
            raise
        except Exception as exc:
            raise self.send_failed() from exc

    def relay(self, event: "Event") -> "typing.Awaitable[None] | None":
        """Begin to send a message that was made an event for many sockets; return what is left to await, None if nothing.

        Raises as :meth:`send` does. The caller is to let the event loop have its turns.
        """
        if not self.listened_to:
            return self._relay_late(event)
        try:
            rest = step(self._asgi_send(event))
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            raise self.send_failed() from exc
        return None if rest is None else self._relayed(rest)

    async def _relay_late(self, event: "Event") -> None:
        """Send a message of somebody else where the socket is not open: yet, or any more."""
        await self._next_turn()
        rest = self.relay(event)
        if rest is not None:
            await rest

    # No coroutine: one whose task is cancelled before it has begun would never be awaited, which Python warns of.
    @types.coroutine
    def _relayed(self, rest: "typing.Generator[Any, Any, None]") -> "typing.Generator[Any, Any, None]":
        try:
            yield from rest
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            raise self.send_failed() from exc

    async def _next_turn(self) -> None:
        """Let the event loop go round, the first time by accepting; raise where there is nobody to send to."""
        if self.listened_to:
            await asyncio.sleep(0)
        elif not self.over:
            await self._accept_automatically()
        if not self.listened_to:
            raise self._closed()
        self.turn = SENDS_PER_TURN

    def _closed(self) -> ConnectionClosed:
        return ConnectionClosed(ABNORMAL if self.close_code is None else self.close_code, self.close_reason, self)

    def send_failed(self) -> ConnectionClosed:
        """Note that nobody listens; return the exception that says so.

        What the client said before it left is still to be read, and so is the code it left with.
        """
        self.listened_to, self.turn = False, 0
        return self._closed()

    async def send_event(self, event: "Event") -> None:
        """Send an ASGI event other than a message.

        Raises :class:`InvalidEvent` where it is not its turn, :class:`ConnectionClosed` where the client has left.
        """
        self.sending(event)
        try:
            await self._asgi_send(event)
        except asyncio.CancelledError:
            # The server has been told.
            self._answered(event)
            raise
        except Exception as exc:
            raise self.send_failed() from exc
        self._answered(event)

    def _answered(self, event: "Event") -> None:
        if self.observer is not None:
            self.observer.answered(event, self)

    def closing(self, code: int, reason: object) -> "Event":
        """Return the event that closes the socket; raise where the code may not be sent."""
        event = close_event(code, reason)
        if NORMAL < code < 3000 and is_of(self._asgi_send, "daphne"):
            # Its library lets an application close with 1000 and 3000–4999 only, and keeps the client hanging otherwise.
            event["code"] = code + 3000
        return event

    async def close(self, code: int = NORMAL, reason: object = "") -> None:
        """Close the socket; do nothing where it is closed already.

        Raises ValueError for a code that may not be sent, :class:`ConnectionClosed` where the client has left unnoticed.
        """
        event = self.closing(code, reason)
        if self.automatic and not self.over:
            # What cannot be opened is refused.
            with contextlib.suppress(SubprotocolMismatch):
                await self._accept_automatically()
        if self.over:
            return
        self._shut()
        if self.one_reader:
            # Granian sends no close while somebody reads.
            await self.stop_reading()
            if self.over:
                # Another task was faster.
                return
        if self.application is State.RESPONSE:
            # A refusal was interrupted; ASGI knows no other way to end it.
            event = {"type": "websocket.http.response.body", "body": b"", "more_body": False}
        try:
            await self.send_event(event)
        finally:
            self.nothing_more()


class RawSocket:
    """A socket whose view exchanges ASGI events itself."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        # Whether the view was told that the client has left.
        self._told = False
        socket.replay({"type": "websocket.connect"})

    @property
    def subprotocol(self) -> "str | None":
        """What the view has accepted."""
        return self._socket.subprotocol

    async def receive(self) -> "Event":
        """Return the next event; raise :class:`ClientDisconnected` after the last."""
        self._socket.has_read = True
        if self._told:
            raise self._socket._ended({"type": "websocket.disconnect"})
        event = await self._socket.next_buffered()
        self._told = event["type"] == "websocket.disconnect"
        return event

    async def send(self, event: "Event") -> None:
        """Send an event; raise :class:`InvalidEvent` where it is not its turn."""
        if event.get("type") == "websocket.accept":
            self._socket.subprotocol = event.get("subprotocol")
        await self._socket.send_event(event)

    async def close(self, *arguments: Any) -> None:
        """Close the socket."""
        await self._socket.close(*arguments)


def message_event(message: object) -> "Event":
    """Return the event that sends a message of a less common type.

    Raises TypeError for one that is neither text nor binary.
    """
    if isinstance(message, (str, Promise)):
        return {"type": "websocket.send", "text": str(message)}
    if isinstance(message, (bytes, bytearray, memoryview)):
        return {"type": "websocket.send", "bytes": bytes(message)}
    if any(hasattr(type(message), mark) for mark in MODEL_MARKS):
        from .typed.models import json_text

        return {"type": "websocket.send", "text": json_text(message)}
    raise TypeError(
        "expected a message of type str or bytes, got {}; use WebsocketJSONProtocol for objects".format(
            type(message).__name__
        )
    )


def step(awaitable: "typing.Awaitable[None]") -> "typing.Any":
    """Run what can be awaited until it has to wait; return the rest of it, None where nothing is left."""
    coroutine = awaitable if type(awaitable) is types.CoroutineType else coroutine_of(awaitable)
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    return resumed(coroutine, awaited)


async def coroutine_of(awaitable: "typing.Awaitable[None]") -> None:
    """Await something: what can only be awaited cannot be stepped."""
    await awaitable


@types.coroutine
def resumed(
    coroutine: "typing.Coroutine[Any, Any, None]", awaited: Any
) -> "typing.Generator[Any, Any, None]":
    """Go on with a coroutine that was stepped once and has come to wait for something."""
    try:
        while True:
            try:
                yield awaited
            except BaseException as exc:
                awaited = coroutine.throw(exc)
            else:
                awaited = coroutine.send(None)
    except StopIteration:
        return
