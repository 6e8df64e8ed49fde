"""A client that follows topics: messages are sent to its socket."""

import asyncio
import contextlib
import logging
import typing
from typing import Any

from django.utils.functional import Promise

from .._compat import copy_context, create_task_in, get_running_loop, is_async_def
from ..conf import conf
from ..connection import INTERNAL_ERROR
from ..exceptions import ConnectionClosed
from ..protocol import close_quietly
from ..socket import RawSocket, step
from .delivery import MEMBERS_PER_TURN
from .member import Member
from .message import encode

if typing.TYPE_CHECKING:
    from ..socket import Socket
    from .message import Message

    #: What makes of a message what is sent for it; None sends nothing.
    Transform = typing.Callable[[Message], object]

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: What every protocol sends as it is; to most, anything else is an object.
FRAMES = (str, Promise, bytes, bytearray, memoryview)

#: The close code of a socket that did not keep up, or missed something: its client resumes by position.
FELL_BEHIND = 4008


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
        self.plain_socket: "Socket | None" = socket if transform is None and socket.is_plain else None
        # Whether messages have to wait: for what was missed before them, or for a send that waits itself.
        self.busy: bool = False
        # The task that goes on where a send has to wait, and the one that closes the socket.
        self._task: "asyncio.Task[None] | None" = None
        self._closing: "asyncio.Task[None] | None" = None
        # What is sent is made and sent in the context of the view (its language, what it is traced by), whoever publishes.
        # Entered at once, where there is nothing to switch: that is what Python 3.6 has instead.
        self._context = copy_context()
        self._context.run(bool)

    async def __aenter__(self) -> "Follower":
        self.busy = True
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
            self.busy = False
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
        if self.busy or self.held or message.gap:
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
        while self._queue and not self.busy:
            self._begin(self._next())

    def _begin(self, message: "Message") -> None:
        """Send a message; let a task do that where it has to wait."""
        if not self.socket.steppable:
            self._queue.appendleft(message)
            self.go_on(None, message)
            return
        rest = self._context.run(self._send, message)
        if rest is not None:
            self.go_on(rest, message)

    def go_on(self, rest: "typing.Awaitable[None] | None", message: "Message") -> None:
        """Let a task send what is left of a message, and then what waits behind it."""
        self.busy = True
        self._task = create_task_in(self._context, self._send_queue(rest, message))

    def _send(self, message: "Message") -> "typing.Awaitable[None] | None":
        """Begin to send a message; return what is left to await, None if nothing."""
        try:
            if self._transform is None:
                return self.socket.relay(message.event(self.socket.encode))
            made = self._transform(message)
            return None if made is None else step(self.socket.send(self._sendable(made)))
        except Exception as exc:
            self.failed(message, exc)
            return None

    def _sendable(self, made: object) -> object:
        """Return what was made of a message as the protocol takes it: to one without objects they go as JSON."""
        if self.socket.encode is not None or isinstance(made, FRAMES):
            return made
        return encode(made)[1:]

    async def _send_queue(self, rest: "typing.Awaitable[None] | None", message: "Message") -> None:
        try:
            if rest is not None:
                await self._finish(rest, message)
            while self._queue:
                await self._send_next()
        except asyncio.CancelledError as exc:
            if self._hub is not None:
                # Not by the view that leaves. What waits behind it could only come too late.
                self.failed(message, exc)
            raise
        finally:
            self._task, self.busy = None, False

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
            self.failed(message, exc)

    def failed(self, message: "Message", exc: BaseException) -> None:
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
