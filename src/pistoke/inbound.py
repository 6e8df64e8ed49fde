"""The reading side of a socket while its view is waiting for something else.

A view that waits for a message waits in the server's own ``receive`` (see ``socket.py``): no task, no queue. Only while it
waits for something else does a task read, so that what the client says is kept and its leaving is noticed.
"""

import asyncio
import collections
import functools
import typing

from ._compat import current_task, get_running_loop
from .conf import conf
from .connection import LOST, Connection, payload, size

if typing.TYPE_CHECKING:
    from ._types import Event, Receive
    from .limits import Limits
    from .observer import Observer
    from .pubsub.registry import SignedIn


def is_of(method: object, module: str) -> bool:
    """Return whether a bound method, or a partial of one, is that of a class of a module."""
    while isinstance(method, (functools.partial, Wrapped)):
        method = method.func
    owner = type(getattr(method, "__self__", None)).__module__
    return owner == module or owner.startswith(module + ".")


class Wrapped:
    """What a server gave, with something of ours around it; ``func`` is the server's own, as in a partial of it."""

    __slots__ = ("_wrapper", "func")

    def __init__(self, func: "typing.Callable[..., typing.Any]", wrapper: "typing.Callable[..., typing.Any]") -> None:
        self.func = func
        self._wrapper = wrapper

    def __call__(self, *args: object) -> typing.Any:
        return self._wrapper(self.func, *args)


class Inbound(Connection):
    """A connection that somebody attends to.

    ``attended`` is True while somebody reads from the server, or nobody needs to. The driver of the view looks at it each
    time the view is suspended, and calls :meth:`attend_soon`.
    """

    __slots__ = (
        "_asgi_receive",
        "_buffer",
        "_buffered",
        "_reader",
        "_scheduled",
        "_waiters",
        "attended",
        "limits",
        "observer",
        "one_reader",
        "on_over",
        "signed_in",
        "stepping",
    )

    def __init__(self, receive: "Receive") -> None:
        super().__init__()
        # The server's own.
        self._asgi_receive = receive
        # Events that came while the view was waiting for something else, and their size in bytes.
        self._buffer: "collections.deque[Event] | tuple[()]" = ()
        self._buffered = 0
        # Those who wait for an event to be buffered: (future, whether it is the view itself).
        self._waiters: "collections.deque[tuple[asyncio.Future[None], bool]] | tuple[()]" = ()
        # The task that reads, and whether it is about to be started.
        self._reader: "asyncio.Task[None] | None" = None
        self._scheduled = False
        # Whether only one task may ever read, and may not be cancelled while it does: where a pending ``receive`` of the
        # server's is cancelled, Granian loses the message that is just coming in.
        self.one_reader: bool = self.is_served_by("granian")
        # See above.
        self.attended: bool = False
        # What is in force beside the settings, if anything.
        self.limits: "Limits | None" = None
        # Who tells others what happens, if anybody listens.
        self.observer: "Observer | None" = None
        # What it is known as where users sign out; None where nobody has logged in.
        self.signed_in: "SignedIn | None" = None
        # Whether the driver is running the view at this very moment, and not a task that the view started.
        self.stepping: bool = False
        # What to call when the connection is over and its view may still run; None when there is no such view.
        self.on_over: "typing.Callable[[], None] | None" = None

    def is_served_by(self, module: str) -> bool:
        """Return whether the server is that of a module."""
        return is_of(self._asgi_receive, module)

    def attend_soon(self) -> None:
        """Read from the server unless the view is back at it in the next turn of the event loop.

        Most suspensions are that short; a task for each would be the most expensive thing in an echo.
        """
        if not self._scheduled:
            self._scheduled = True
            get_running_loop().call_soon(self._attend)

    def _attend(self) -> None:
        self._scheduled = False
        if self.over:
            # Whoever waits may outlive the view.
            self._wake_all()
        if self.attended or self.on_over is None:
            return
        if self.over:
            self.attended = True
            self.on_over()
        elif not self._full:
            self._start_reader()

    def _start_reader(self) -> None:
        self.attended = True
        self._reader = get_running_loop().create_task(self._read())

    @property
    def _full(self) -> bool:
        bounds = conf if self.limits is None else self.limits
        # An empty buffer takes a message whatever the settings say: somebody may be waiting for it.
        return bool(self._buffer) and (
            len(self._buffer) >= bounds.INBOUND_MESSAGES or self._buffered >= bounds.INBOUND_BYTES
        )

    async def _read(self) -> None:
        """Keep what the client says until the view itself reads again, the buffer is full, or the client leaves."""
        try:
            await self.before_reading()
            while not (self.over or self._full):
                self._keep(await self._read_event())
                if self._wake() and not self.one_reader:
                    break
        finally:
            self._reader = None
            self.attended = False
        if self.over:
            self._attend()
        elif self._waiters:
            self._start_reader()

    async def before_reading(self) -> None:
        """Do what an unattended connection is owed before anything else."""

    async def _read_event(self) -> "Event":
        try:
            return await self._asgi_receive()
        except asyncio.CancelledError:
            raise
        except Exception:
            # Servers raise classes of their own, or plain RuntimeError, where there is no client any more.
            return LOST

    def _keep(self, event: "Event") -> None:
        if not self.received(event):
            if not self._buffer:
                self._buffer = collections.deque()
            self._buffer.append(event)
            self._buffered += size(payload(event))

    def replay(self, event: "Event") -> None:
        """Let an event be the next one that is received."""
        self._keep(event)

    def _wake(self) -> bool:
        """Wake the one who has waited longest; return whether the view itself goes on reading."""
        while self._waiters:
            waiter, is_view = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return is_view and not self._waiters
        return False

    def _wake_all(self) -> None:
        while self._waiters:
            self._wake()

    async def next_buffered(self) -> "Event":
        """Return the next event, through the reader; the last one again and again when the connection is over."""
        while not self._buffer:
            if self.over:
                return {"type": "websocket.disconnect", "code": self.close_code, "reason": self.close_reason}
            await self._wait_for_reader()
        event = self._buffer.popleft()
        self._buffered -= size(payload(event))
        if not (self.attended or self.stepping):
            # There is room again, and the view may be suspended for long.
            self.attend_soon()
        return event

    async def _wait_for_reader(self) -> None:
        waiter = get_running_loop().create_future()
        waiting = waiter, self.stepping
        if not self._waiters:
            self._waiters = collections.deque()
        self._waiters.append(waiting)
        if not self.attended:
            self._start_reader()
        try:
            await waiter
        except BaseException:
            if waiting in self._waiters:
                # A view that polls with a time-out would leave one each time.
                self._waiters.remove(waiting)
            else:
                # Woken and cancelled at once: the event is for the next one.
                self._wake()
            raise

    def nothing_more(self) -> None:
        """Let nobody wait for what will not come: the connection is over, whatever the server says of it.

        Hypercorn, for one, never says it of a client that does not answer our close.
        """
        self._wake_all()
        if self._reader is not None and self._reader is not current_task():
            self._reader.cancel()
        if self.on_over is not None:
            self.on_over()

    async def stop_reading(self) -> None:
        """End the reader, and wait for its end."""
        if self._reader is not None:
            reader = self._reader
            reader.cancel()
            await asyncio.wait([reader])
