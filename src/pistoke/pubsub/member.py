"""Those who follow topics: a queue that a coroutine reads, and a socket that messages are sent to."""

import asyncio
import collections
import collections.abc
import contextlib
import logging
import typing
from typing import Any

from django.utils.functional import Promise

from .._compat import copy_context, create_task_in, get_running_loop, is_async_def
from ..conf import conf
from ..connection import INTERNAL_ERROR
from ..exceptions import ConnectionClosed, SlowMember
from ..protocol import close_quietly
from ..socket import RawSocket, step
from .hub import MEMBERS_PER_TURN, follows
from .message import encode

if typing.TYPE_CHECKING:
    from ..socket import Socket
    from .broker import Broker
    from .hub import Hub
    from .message import Message, Position

    #: What makes of a message what is sent for it; None sends nothing.
    Transform = typing.Callable[[Message], object]

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: What every protocol sends as it is; to most, anything else is an object.
FRAMES = (str, Promise, bytes, bytearray, memoryview)

#: What becomes of a member that does not keep up.
SLOW = ("close", "drop_oldest", "latest")

#: How many messages wait for a member by default.
BUFFER = 100

#: The close code of a socket that did not keep up, or missed something: its client resumes by position.
FELL_BEHIND = 4008


class Member:
    """One who follows topics: ``async with member`` joins them, and leaves them at its end.

    ``recovered`` is whether all that was published since the position given could be replayed; None where none was given.
    """

    def __init__(
        self,
        broker: "Broker",
        topics: "typing.Sequence[str]",
        since: "str | Position | typing.Mapping[str, str | Position] | None" = None,
        slow: str = "close",
        buffer: int = BUFFER,
        gaps: bool = False,
    ) -> None:
        if slow not in SLOW:
            raise ValueError("expected slow={}, got {!r}".format(" or ".join(map(repr, SLOW)), slow))
        if buffer < 1:
            raise ValueError("expected a buffer of at least 1 message, got {!r}".format(buffer))
        self.recovered: "bool | None" = None
        self._broker = broker
        self._topics = topics
        self._since = since
        self._slow = slow
        self._buffer = 1 if slow == "latest" else buffer
        # Whether it wants to be told where something may be missing.
        self._gaps = gaps
        self._hub: "Hub | None" = None
        # What has come and has not been passed on.
        self._queue: "collections.deque[Message]" = collections.deque()
        # How many of them were missed before: a past of any length is no fault of the member's.
        self._past = 0
        # What has come to topics whose past is still being looked up; then the position up to which that was passed on,
        # until a later message comes: what was looked up may come all the same, over a slower connection.
        self._held: "dict[str, collections.deque[Message] | Position]" = {}

    async def __aenter__(self) -> Any:
        hub = self._hub = self._broker.hub()
        outcomes = []
        try:
            for topic in self._topics:
                if self._hub is None:
                    # It has fallen behind already.
                    break
                outcomes.append(await hub.join(self, topic, self._since_of(topic)))
        except BaseException:
            self.leave()
            raise
        if any(outcome is not None for outcome in outcomes):
            self.recovered = all(outcome is not False for outcome in outcomes)
        return self

    def _since_of(self, topic: str) -> "str | Position | None":
        return self._since.get(topic) if isinstance(self._since, collections.abc.Mapping) else self._since

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Follow nothing any more."""
        if self._hub is not None:
            for topic in self._topics:
                self._hub.leave(self, topic)
            self._hub = None

    # What the hub calls

    def hold(self, topic: str) -> None:
        """Keep what comes until the past of the topic is known."""
        self._held[topic] = collections.deque()

    def release(self, topic: str, missed: "typing.Iterable[Message]", position: "Position | None" = None) -> None:
        """Pass on what was missed up to a position, and then what came meanwhile."""
        held = self._held.pop(topic, None)
        if position is not None:
            self._held[topic] = position
        for message in missed:
            self._past += 1
            self._put(message)
        for message in held if isinstance(held, collections.deque) else ():
            self.deliver(message)

    def deliver(self, message: "Message") -> None:
        """Take a message, without waiting."""
        held = self._held.get(message.topic) if self._held else None
        if isinstance(held, collections.deque):
            self._take(message, held)
        elif (self._gaps or not message.gap) and (held is None or not self._is_repeated(message, held)):
            self._take(message, self._queue)

    def _is_repeated(self, message: "Message", position: "Position") -> bool:
        """Return whether a message was passed on when its topic's past was."""
        if message.position is None:
            return False
        if follows(position, message.position):
            return True
        del self._held[message.topic]
        return False

    def _take(self, message: "Message", queue: "collections.deque[Message]") -> None:
        """Keep a message in a queue that is full at some point."""
        if len(queue) >= self._buffer + self._past:
            if self._slow != "close":
                queue.popleft()
                self._past = max(0, self._past - 1)
            elif message.late:
                self._past += 1
            else:
                self._fell_behind()
                return
        queue.append(message)
        if queue is self._queue:
            self._kept()

    def _next(self) -> "Message":
        """Return the message that has waited longest."""
        if self._past:
            self._past -= 1
        return self._queue.popleft()

    def _put(self, message: "Message") -> None:
        self._queue.append(message)
        self._kept()

    def _kept(self) -> None:
        """Look after a message that was just queued."""

    def _fell_behind(self) -> None:
        """End a member that does not keep up."""
        self._held.clear()
        self.leave()


class Subscription(Member):
    """Messages for a coroutine: ``async with subscribe("topic") as messages: async for message in messages: …``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiter: "asyncio.Future[None] | None" = None
        self._too_slow = False

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> "Message":
        """Return the next message.

        Raises :class:`~pistoke.exceptions.SlowMember` after the last one that was kept for a reader that fell behind.
        """
        while not self._queue:
            if self._too_slow:
                raise SlowMember(self._topics, self._buffer)
            if self._hub is None:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("expected one reader of a subscription, got a second one; make one for each")
            self._waiter = get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._next()

    def _kept(self) -> None:
        self._wake()

    def _fell_behind(self) -> None:
        super()._fell_behind()
        self._too_slow = True
        self._wake()

    def leave(self) -> None:
        """Follow nothing any more; a reader gets what is left, and then the end."""
        super().leave()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Follower(Member):
    """Messages for a client: each is sent to its socket, while the view does whatever it does.

    A send that does not have to wait is made on the spot, without a task: for a topic with five hundred members a task for
    each would cost as much again as the sends themselves.
    """

    def __init__(self, socket: "Socket", transform: "Transform | None", *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if transform is not None and is_async_def(transform):
            raise TypeError(
                "expected a transform that returns at once what is sent, got the coroutine function {!r}; "
                "use subscribe() in a task to await something for each message".format(transform)
            )
        if isinstance(socket, RawSocket):
            raise TypeError(
                "expected a view with messages, got a raw one, which sends its own events; use subscribe() in a task of it"
            )
        self.socket = socket
        self._transform = transform
        # Whether messages have to wait: for what was missed before them, or for a send that waits itself.
        self._busy = False
        # The task that goes on where a send has to wait, and the one that closes the socket.
        self._task: "asyncio.Task[None] | None" = None
        self._closing: "asyncio.Task[None] | None" = None
        # What is sent is made and sent in the context of the view (its language, what it is traced by), whoever publishes.
        # Entered at once, where there is nothing to switch: that is what Python 3.6 has instead.
        self._context = copy_context()
        self._context.run(bool)

    async def __aenter__(self) -> "Follower":
        self._busy = True
        try:
            await super().__aenter__()
            # What was missed goes before what the view sends next.
            for number in range(1, len(self._queue) + 1):
                await self._send_next()
                if not number % MEMBERS_PER_TURN:
                    await asyncio.sleep(0)
        except BaseException:
            self.leave()
            raise
        finally:
            self._busy = False
        self._kept()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()
        self._queue.clear()
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def deliver(self, message: "Message") -> None:
        """Send a message, or queue it behind those that wait."""
        if self._busy or self._held or message.gap:
            self._deliver_late(message)
        else:
            self._begin(message)

    def _deliver_late(self, message: "Message") -> None:
        if not message.gap:
            super().deliver(message)
        elif self._broker.history_of(message.topic) is not None:
            # It was promised to miss nothing.
            self._fell_behind()

    def _kept(self) -> None:
        while self._queue and not self._busy:
            self._begin(self._next())

    def _begin(self, message: "Message") -> None:
        """Send a message; let a task do that where it has to wait."""
        rest = self._context.run(self._send, message)
        if rest is not None:
            self._busy = True
            self._task = create_task_in(self._context, self._send_queue(rest, message))

    def _send(self, message: "Message") -> "typing.Awaitable[None] | None":
        """Begin to send a message; return what is left to await, None if nothing."""
        try:
            if self._transform is None:
                return self.socket.relay(message.event(self.socket.encode))
            made = self._transform(message)
            return None if made is None else step(self.socket.send(self._sendable(made)))
        except Exception as exc:
            self._failed(message, exc)
            return None

    def _sendable(self, made: object) -> object:
        """Return what was made of a message as the protocol takes it: to one without objects they go as JSON."""
        if self.socket.encode is not None or isinstance(made, FRAMES):
            return made
        return encode(made)[1:]

    async def _send_queue(self, rest: "typing.Awaitable[None]", message: "Message") -> None:
        try:
            await self._finish(rest, message)
            while self._queue:
                await self._send_next()
        finally:
            self._task, self._busy = None, False

    async def _send_next(self) -> None:
        """Send the first message of the queue; nothing where that was emptied."""
        if self._queue:
            message = self._next()
            rest = self._send(message)
            if rest is not None:
                await self._finish(rest, message)

    async def _finish(self, rest: "typing.Awaitable[None]", message: "Message") -> None:
        try:
            await rest
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self._failed(message, exc)

    def _failed(self, message: "Message", exc: Exception) -> None:
        if isinstance(exc, ConnectionClosed):
            # The view is told where it reads or sends itself.
            self.leave()
            self._queue.clear()
        else:
            logger.error("a message of %s could not be sent to the client", message.topic, exc_info=exc)
            self._end(INTERNAL_ERROR)

    def _fell_behind(self) -> None:
        super()._fell_behind()
        logger.info("a client has fallen behind %s; closing with %s", ", ".join(self._topics), FELL_BEHIND)
        self._end(FELL_BEHIND)

    def _end(self, code: int) -> None:
        """Close the socket; the view learns of it like of any other close."""
        self.leave()
        self._queue.clear()
        if self._closing is None:
            self._closing = get_running_loop().create_task(self._close(code))

    async def _close(self, code: int) -> None:
        # Where the client does not read at all, it does not read this either.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(close_quietly(self.socket, code), conf.SHUTDOWN_GRACE)
