"""A connection to a server: commands go out, and answers come back, in one order; what was not asked for comes between."""

import asyncio
import collections
import contextlib
import typing
from typing import Any

import redis

from ..._compat import get_running_loop
from ..steady import fail, stop

if typing.TYPE_CHECKING:
    from .servers import Server

#: How long a connection is silent before it is looked at whether it is still one, in seconds.
PING_EVERY = 15

#: How long a connection for commands is kept that nobody uses, in seconds.
IDLE = 30

#: How many messages are read before the event loop gets a turn.
MESSAGES_PER_TURN = 64

#: How what comes unasked begins.
MESSAGES = (b"message", b"smessage")

#: What a server of a cluster says, asked or not, when it has nothing to do with a channel any more.
DISMISSED = "SUNSUBSCRIBE"

#: What is called with what comes unasked; what it returns is awaited before more is read.
Pushed = typing.Callable[[typing.List[Any]], typing.Awaitable[None]]


class Line:
    """A connection of the running event loop.

    Commands are queued until it is connected, and many at once are written together. It ends with the first error:
    ``lost`` is called with that, and a new one has to be made.
    """

    def __init__(
        self,
        server: "Server",
        pushed: "Pushed | None" = None,
        lost: "typing.Callable[[Exception], None] | None" = None,
    ) -> None:
        self._loop = get_running_loop()
        self._timeout = server.timeout
        self._connection = server.connection()
        self._pushed = pushed
        self._lost = lost
        # What ended it.
        self.error: "Exception | None" = None
        self._connected = False
        # What is to be written: names of commands, commands as they go, and what waits for their answers.
        self._outbox: "list[tuple[str, list[bytes], asyncio.Future[Any]]]" = []
        # What was written, and when.
        self._pending: "collections.deque[tuple[float, str, asyncio.Future[Any]]]" = collections.deque()
        # When something was read last.
        self._heard = self._loop.time()
        # Whether nothing is read because a message is being brought to the members.
        self._busy = False
        self._writing: "asyncio.Task[None] | None" = None
        self._reading = self._loop.create_task(self._run())
        self._timer = self._loop.call_later(self._timeout / 4, self._watch)

    @property
    def tasks(self) -> "list[asyncio.Task[None]]":
        """What has to end before it is closed."""
        return [task for task in (self._reading, self._writing) if task is not None and not task.done()]

    def call(self, *words: Any) -> "asyncio.Future[Any]":
        """Return a future of the answer to a command; an error of redis-py where there is none."""
        future = self._loop.create_future()
        if self.error is not None:
            fail(future, self.error)
            return future
        self._outbox.append((words[0], self._connection.pack_command(*words), future))
        self._write_soon()
        return future

    def close(self, error: "Exception | None" = None) -> None:
        """End it: nobody gets an answer any more."""
        self._lost = None
        self._end(error or redis.ConnectionError("the connection was closed"))
        for task in self.tasks:
            stop(task)

    def _end(self, error: Exception) -> None:
        if self.error is not None:
            return
        self.error = error
        self._timer.cancel()
        for future in [entry[-1] for entry in self._pending] + [entry[-1] for entry in self._outbox]:
            fail(future, error)
        self._pending.clear()
        self._outbox.clear()
        if self._lost is not None:
            self._lost(error)

    # Writing

    def _write_soon(self) -> None:
        if self._connected and self._writing is None:
            self._writing = self._loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._outbox:
                batch, self._outbox = self._outbox, []
                now = self._loop.time()
                self._pending.extend((now, name, future) for name, _, future in batch)
                packed = [part for _, parts, _ in batch for part in parts]
                await self._connection.send_packed_command(packed, check_health=False)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self._end(exc)
            stop(self._reading)
        finally:
            self._writing = None

    # Reading

    async def _run(self) -> None:
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            self._connected = True
            self._heard = self._loop.time()
            self._write_soon()
            await self._read()
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self._end(exc)
        finally:
            # Where the event loop was told to end, nobody has called close.
            self._end(redis.ConnectionError("the connection was closed"))
            with contextlib.suppress(Exception):
                await self._connection.disconnect()

    async def _read(self) -> None:
        read, loop, turns = self._connection.read_response, self._loop, MESSAGES_PER_TURN
        while True:
            try:
                answer = await read(disable_decoding=True)
            except redis.ResponseError as exc:
                answer = exc
            self._heard = loop.time()
            if self._pushed is not None and isinstance(answer, list) and answer[0] in MESSAGES:
                self._busy = True
                await self._pushed(answer)
                self._busy = False
            else:
                self._answered(answer)
            turns -= 1
            if not turns:
                # What is in the buffer is read without waiting.
                turns = MESSAGES_PER_TURN
                await asyncio.sleep(0)

    def _answered(self, answer: Any) -> None:
        if not self._pending or (self._pending[0][1] != DISMISSED and is_dismissal(answer)):
            raise redis.ConnectionError("expected no answer, got {!r}".format(answer))
        _, _, future = self._pending.popleft()
        if isinstance(answer, Exception):
            fail(future, answer)
        elif not future.done():
            future.set_result(answer)

    # Silence

    def _watch(self) -> None:
        now = self._loop.time()
        since = now - self._heard
        if self._pending and not self._busy and min(since, now - self._pending[0][0]) > self._timeout:
            self._end(redis.TimeoutError("no answer for {:.0f} s".format(self._timeout)))
            stop(self._reading)
            return
        if self._connected and not self._pending and not self._outbox:
            if self._pushed is None and since > IDLE:
                self.close()
                return
            if self._pushed is not None and since > PING_EVERY:
                self.call("PING")
        self._timer = self._loop.call_later(self._timeout / 4, self._watch)


def is_dismissal(answer: Any) -> bool:
    """Return whether a server says that a channel is no longer heard over it."""
    return isinstance(answer, list) and bool(answer) and answer[0] == DISMISSED.lower().encode()


class Lines:
    """The connections of one event loop."""

    def __init__(self) -> None:
        # Those for commands, by server.
        self._commands: "dict[Server, Line]" = {}
        self._all: "list[Line]" = []
        # What else has to end before all is closed.
        self._ending: "list[asyncio.Task[None]]" = []

    def commands(self, server: "Server") -> Line:
        """Return the connection for commands to a server."""
        line = self._commands.get(server)
        if line is None or line.error is not None:
            line = self._commands[server] = self.open(server)
        return line

    def open(self, server: "Server", *callbacks: Any) -> Line:
        """Return a new connection, see :class:`Line`."""
        # Those that have ended are forgotten here.
        self._all = [line for line in self._all if line.error is None or line.tasks]
        line = Line(server, *callbacks)
        self._all.append(line)
        return line

    def wait_for(self, task: "asyncio.Task[None]") -> None:
        """Have :meth:`close` wait for a task."""
        self._ending = [task for task in self._ending if not task.done()] + [task]

    async def close(self) -> None:
        """Close those for commands, and wait until all that are closed are."""
        for line in self._commands.values():
            line.close()
        tasks = self._ending + [task for line in self._all if line.error is not None for task in line.tasks]
        if tasks:
            await asyncio.wait(tasks)
