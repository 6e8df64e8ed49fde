"""Watching over what passes on one socket: that it is not too often, too slow, or too rare.

The server's own ``receive`` and ``send`` are wrapped where there is something to watch for, and only there: a socket without
such limits knows nothing of this. Nothing here polls: a timer runs only while it may be needed, and is set anew when it has
run out, not with every message. A socket that is over a limit ends as if its client had left, whoever waits for what.
"""

import asyncio
import logging
import typing
from typing import Any

from ._compat import current_task, get_running_loop, uncancel
from .connection import GOING_AWAY, POLICY_VIOLATION, State
from .inbound import Wrapped

if typing.TYPE_CHECKING:
    from ._types import Event, Receive, Send
    from .limits import Limits
    from .socket import Socket

logger: logging.Logger = logging.getLogger("pistoke")

#: How long the server may take to close a socket that is over a limit, in seconds: the one that does not read does not read
#: a close either.
CLOSE_SECONDS = 2


class Bucket:
    """How many messages a client may still send: so many at once, and as many again in so many seconds.

    The time in which nobody reads is made good in full: that messages pile up while a view is busy is no fault of the
    client's. While somebody waits for a message, the credit goes back to where it began. So there are never more than that
    many at once and those that have come due since.
    """

    __slots__ = ("_credit", "_pace", "_since", "_size")

    def __init__(self, messages: int, seconds: float, now: float) -> None:
        self._size = float(messages)
        # Messages a second.
        self._pace = messages / seconds
        self._credit = self._size
        # Up to when the credit is reckoned.
        self._since = now

    def wait(self, now: float) -> None:
        """Begin to wait for a message."""
        self._credit += (now - self._since) * self._pace
        self._since = now

    def take(self, now: float) -> bool:
        """Take a message; return whether there was credit for it."""
        due = (now - self._since) * self._pace
        below = self._credit < self._size
        credit = min(self._size, self._credit + due) if below else max(self._size, self._credit - due)
        self._since = now
        self._credit = credit - 1
        return self._credit >= 0


class Stopwatch:
    """Calls back when so many seconds have passed since it was last started."""

    __slots__ = ("_callback", "_seconds", "_since", "_timer")

    def __init__(self, seconds: float, callback: "typing.Callable[[], None]") -> None:
        self._seconds = seconds
        self._callback = callback
        # When it was started; None while it stands still.
        self._since: "float | None" = None
        self._timer: "asyncio.TimerHandle | None" = None

    def start(self) -> None:
        """Run from now on, for the whole time."""
        loop = get_running_loop()
        self._since = loop.time()
        if self._timer is None:
            self._timer = loop.call_at(self._since + self._seconds, self._look)

    def stop(self) -> None:
        """Stand still; a timer that is set runs out by itself, once."""
        self._since = None

    def discard(self) -> None:
        """Stand still, and leave nothing behind."""
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop, self._timer = get_running_loop(), None
        if self._since is None:
            return
        if loop.time() < self._since + self._seconds:
            self._timer = loop.call_at(self._since + self._seconds, self._look)
        else:
            self._since = None
            self._callback()


class Watch:
    """What watches over one socket."""

    def __init__(self, socket: "Socket", name: str) -> None:
        self._socket = socket
        # What the log calls the socket.
        self._name = name
        # The limits, and what they are measured with.
        self._limits: "Limits"
        self._bucket: "Bucket | None" = None
        self._idle: "Stopwatch | None" = None
        self._stalled: "Stopwatch | None" = None
        # The tasks that wait in the server's ``send`` and ``receive``, and those of them that were cut short from here.
        self._sending: "set[asyncio.Task[Any]]" = set()
        self._receiving: "set[asyncio.Task[Any]]" = set()
        self._cut: "set[asyncio.Task[Any]]" = set()
        # What closes the socket that is over a limit, by the server's own ``send``.
        self._closing: "asyncio.Task[None] | None" = None
        self._send: "Send" = socket.watch(self._wrap_receive, self._wrap_send)
        # Whose task it is that sends has to be known.
        socket.steppable = False

    def _wrap_receive(self, receive: "Receive") -> "Receive":
        return Wrapped(receive, self.receive)

    def _wrap_send(self, send: "Send") -> "Send":
        return Wrapped(send, self.send)

    def watch_for(self, limits: "Limits") -> None:
        """Begin to measure, from now on by these limits."""
        self.discard_timers()
        self._limits = limits
        self._bucket = self._idle = self._stalled = None
        if limits.MESSAGE_RATE is not None:
            self._bucket = Bucket(limits.MESSAGE_RATE[0], limits.MESSAGE_RATE[1], get_running_loop().time())
        if limits.IDLE_TIMEOUT is not None:
            self._idle = Stopwatch(limits.IDLE_TIMEOUT, self._is_idle)
            self._idle.start()
        if limits.SEND_TIMEOUT is not None:
            self._stalled = Stopwatch(limits.SEND_TIMEOUT, self._is_stalled)

    # What passes

    async def receive(self, receive: "Receive") -> "Event":
        """Return what the server's ``receive`` does, or the end of the socket where a limit ends it."""
        loop = get_running_loop()
        if self._bucket is not None:
            self._bucket.wait(loop.time())
        event = await self._received(receive)
        if event["type"] == "websocket.receive":
            if self._idle is not None:
                self._idle.start()
            if self._bucket is not None and not self._bucket.take(loop.time()):
                self._has_sent_too_much()
                return self._last_event()
        return event

    async def _received(self, receive: "Receive") -> "Event":
        task: Any = current_task()
        self._receiving.add(task)
        try:
            return await receive()
        except asyncio.CancelledError:
            if not self._was_cut(task):
                raise
            return self._last_event()
        finally:
            self._receiving.discard(task)

    async def send(self, send: "Send", event: "Event") -> None:
        """Send by the server's ``send``; raise ConnectionError where a limit ends the socket meanwhile."""
        task: Any = current_task()
        self._sending.add(task)
        if self._stalled is not None and len(self._sending) == 1:
            self._stalled.start()
        try:
            await send(event)
        except asyncio.CancelledError:
            if not self._was_cut(task):
                raise
            raise ConnectionAbortedError("the socket is over a limit") from None
        finally:
            self._sending.discard(task)
            self._has_sent()

    def _has_sent(self) -> None:
        if self._idle is not None:
            self._idle.start()
        if self._stalled is not None:
            if self._sending:
                # There was some progress; others may have waited behind this one.
                self._stalled.start()
            else:
                self._stalled.stop()

    def _was_cut(self, task: "asyncio.Task[Any]") -> bool:
        """Return whether a task was cancelled from here, and let it be so no longer."""
        if task not in self._cut:
            return False
        self._cut.discard(task)
        uncancel(task, 1)
        return True

    # The end

    def _last_event(self) -> "Event":
        socket = self._socket
        return {"type": "websocket.disconnect", "code": socket.close_code, "reason": socket.close_reason}

    def _has_sent_too_much(self) -> None:
        assert self._limits.MESSAGE_RATE is not None
        self._end(POLICY_VIOLATION, "expected at most {} messages in {} s".format(*self._limits.MESSAGE_RATE))

    def _is_idle(self) -> None:
        if self._socket.application is State.CONNECTED:
            self._end(GOING_AWAY, "expected a message within {} s".format(self._limits.IDLE_TIMEOUT))
        elif self._idle is not None and not self._socket.over:
            # It is not open yet.
            self._idle.start()

    def _is_stalled(self) -> None:
        if self._socket.over:
            # Not even the view's own close passes.
            abort(self._send)
        reason = "expected what is sent to be read within {} s".format(self._limits.SEND_TIMEOUT)
        self._end(POLICY_VIOLATION, reason, stalled=True)

    def _end(self, code: int, reason: str, stalled: bool = False) -> None:
        """Close the socket; whoever waits for something to pass learns of it now.

        ``stalled`` is True for a client that does not read, and so may never read the close frame either.
        """
        socket = self._socket
        if not socket.over:
            logger.info("%s is closed with %s: %s", self._name, code, reason)
            socket.received({"type": "websocket.disconnect", "code": code, "reason": reason})
            if socket.observer is not None:
                socket.observer.closed_by_limit = True
            self._closing = get_running_loop().create_task(self._close(socket.closing(code, reason), stalled))
        for task in self._sending | self._receiving:
            # No message is lost by that which anybody would read; and Granian does not close while somebody receives.
            self._cut.add(task)
            task.cancel()
        socket.nothing_more()

    async def _close(self, event: "Event", stalled: bool) -> None:
        try:
            await asyncio.wait_for(self._send(event), CLOSE_SECONDS)
        except asyncio.CancelledError:
            raise
        except Exception:
            # Time is up, or there is nobody any more. (Where nobody is stuck, a server's own closing handshake goes on.)
            if stalled:
                abort(self._send)

    async def closed(self) -> None:
        """Wait until the server has closed a socket that was over a limit."""
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def discard(self) -> None:
        """Leave nothing behind."""
        self.discard_timers()
        if self._closing is not None:
            self._closing.cancel()

    def discard_timers(self) -> None:
        """Measure no time any more."""
        for stopwatch in (self._idle, self._stalled):
            if stopwatch is not None:
                stopwatch.discard()


def abort(send: "Send") -> None:
    """Hang up on a client, where the server lets anybody do it: Uvicorn does.

    It would wait for ever for such a client to read what was sent, at its own shutdown too.
    """
    while isinstance(send, Wrapped):
        send = send.func
    hang_up = getattr(getattr(getattr(send, "__self__", None), "transport", None), "abort", None)
    if hang_up is not None:
        hang_up()
