"""Those who follow topics; among them a queue that a coroutine reads."""

import asyncio
import collections
import collections.abc
import typing
from typing import Any

from .._compat import get_running_loop
from ..exceptions import SlowMember
from .hub import follows

if typing.TYPE_CHECKING:
    from ..socket import Socket
    from .broker import Broker
    from .hub import Hub
    from .message import Message, Position

#: What becomes of a member that does not keep up.
SLOW = ("close", "drop_oldest", "latest")

#: How many messages wait for a member by default.
BUFFER = 100


class Member:
    """One who follows topics: ``async with member`` joins them, and leaves them at its end.

    ``recovered`` is whether all that was published since the position given could be replayed; None where none was given.
    """

    # Where what is published goes as it is and at once, unless the member is busy; None where it takes everything itself.
    plain_socket: "Socket | None" = None
    busy: bool = False

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
        self.held: "dict[str, collections.deque[Message] | Position]" = {}

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

    def __enter__(self) -> "typing.NoReturn":
        raise TypeError("expected 'async with', got 'with': topics are joined asynchronously")

    def __exit__(self, *exc_info: object) -> None:
        """Never called: see above."""

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
        self.held[topic] = collections.deque()

    def release(self, topic: str, missed: "typing.Iterable[Message]", position: "Position | None" = None) -> None:
        """Pass on what was missed up to a position, and then what came meanwhile."""
        held = self.held.pop(topic, None)
        if position is not None:
            self.held[topic] = position
        for message in missed:
            self._past += 1
            self._put(message)
        for message in held if isinstance(held, collections.deque) else ():
            self.deliver(message)

    def deliver(self, message: "Message") -> None:
        """Take a message, without waiting."""
        held = self.held.get(message.topic) if self.held else None
        if isinstance(held, collections.deque):
            self._take(message, held)
        elif (self._gaps or not message.gap) and (held is None or not self._is_repeated(message, held)):
            self._take(message, self._queue)

    def go_on(self, rest: "typing.Awaitable[None]", message: "Message") -> None:
        """Wait, in a task, for what is left of a message that was sent to ``plain_socket``."""
        raise NotImplementedError

    def failed(self, message: "Message", exc: "BaseException") -> None:
        """Take note of a message that could not be sent."""
        raise NotImplementedError

    def _is_repeated(self, message: "Message", position: "Position") -> bool:
        """Return whether a message was passed on when its topic's past was."""
        if message.position is None:
            return False
        if follows(position, message.position):
            return True
        del self.held[message.topic]
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
        self.held.clear()
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
