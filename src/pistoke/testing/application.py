"""The run of the application for one socket of a test: what a server does with a task, and what a test adds to it."""

import asyncio
import types
from typing import Any, Callable, Coroutine, Dict, Generator, Optional

from .._compat import get_running_loop
from .exceptions import SocketTimeout
from .peer import Peer
from .places import describe_place

Scope = Dict[str, Any]
Handler = Callable[[Scope, Any, Any], Any]

#: How many turns of the event loop a view gets to begin with what the test sent last, and to notice that the test has left.
TURNS = 20

#: How long a view that was cancelled by force may take to end, in seconds.
LAST_GRACE = 1


class Application:
    """A handler at work on one socket."""

    def __init__(self, handler: Handler, scope: Scope) -> None:
        self._handler = handler
        self._scope = scope
        # The other end of its ``receive`` and ``send``.
        self.peer: Peer = Peer()
        # What the view raised, and whether that came through the handler as it should not.
        self.error: Optional[BaseException] = None
        self.escaped: bool = False
        # The coroutine of the handler, the task that it runs in, and whether it was ended by force.
        self.coroutine: Any = None
        self._task: Any = None
        self._killed = False

    def start(self) -> None:
        """Begin, as a server does with a connection."""
        self._task = get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            self.coroutine = self._handler(self._scope, self.peer.receive, self.peer.send)
            await _steps(self.coroutine)
        except asyncio.CancelledError:
            pass
        except Exception as exc:
            if not self._killed:
                self.error, self.escaped = self.error or exc, True
        finally:
            self.peer.changed()

    @property
    def started(self) -> bool:
        """Whether it has begun."""
        return self._task is not None

    def done(self) -> bool:
        """Return whether it has ended."""
        return bool(self._task.done())

    async def let_read(self) -> None:
        """Let the view begin with what the test sent last."""
        for _ in range(TURNS):
            if self.done() or not self.peer.inbound:
                break
            await asyncio.sleep(0)

    async def leave(self, code: int, reason: str, seconds: Optional[float]) -> None:
        """Tell the view that its client has left, and wait for its end.

        Raises :class:`SocketTimeout` where that takes more than ``seconds``; no task is left behind either way.
        """
        try:
            self.peer.leave(code, reason)
            await self._let_notice()
            if not await self._ended(seconds):
                place = describe_place(self.coroutine)
                await self._kill()
                raise SocketTimeout(
                    "the view to end after its client left (it swallows its cancellation)", seconds, place=place
                )
        except asyncio.CancelledError:
            await self._kill()
            raise

    async def _let_notice(self) -> None:
        """Cancel a view that nobody tells that its client has left."""
        for _ in range(TURNS):
            # One that has closed the socket itself is on its way out, and perhaps about to report an error.
            if self.done() or self.peer.disconnect_taken or self.peer.closed_by_application:
                return
            await asyncio.sleep(0)
        self._task.cancel()

    async def _ended(self, seconds: Optional[float]) -> bool:
        await asyncio.wait([self._task], timeout=seconds)
        return self.done()

    async def _kill(self) -> None:
        """End a view that swallows its cancellation.

        Its coroutine is closed where it is suspended: to go on after GeneratorExit takes a bare ``except``. What the task
        awaits is then cancelled in vain.
        """
        self._killed = True
        self._task.cancel()
        if await self._ended(0):
            return
        try:
            self.coroutine.close()
        except (RuntimeError, ValueError):
            # It ignored even that: the time-out tells of it.
            pass
        self._task.cancel()
        await self._ended(LAST_GRACE)


@types.coroutine
def _steps(coroutine: "Coroutine[Any, Any, None]") -> "Generator[Any, Any, None]":
    """Await ``coroutine`` in a way that lets it be closed from outside while it is suspended."""
    yield from coroutine
