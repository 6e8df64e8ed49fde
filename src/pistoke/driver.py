"""Running a view while its client is there, and ending it when the client has gone.

The view runs in the very task in which the server calls the application. Its coroutine is stepped by hand: that costs next
to nothing, runs each step in the view's own context, and shows each suspension, which is when the socket may need somebody
to read from it (see ``inbound.py``).
"""

import asyncio
import functools
import logging
import types
import typing
from typing import Any

from ._compat import cancelling, current_task, get_running_loop, uncancel
from .conf import conf
from .connection import SERVICE_RESTART, State

if typing.TYPE_CHECKING:
    from ._compat import Context
    from .socket import Socket

    T = typing.TypeVar("T")

logger: logging.Logger = logging.getLogger("pistoke")

#: The least that a view gets to end once it was cancelled, in seconds: one with tasks of its own needs a few turns of the
#: event loop, also where there is no grace (in tests, say).
LEAST_TO_END = 0.1


def run_in(context: "Context | None", function: "typing.Callable[..., T]", *args: Any) -> "T":
    """Call a function in a context, or in that of the task where it is None."""
    return function(*args) if context is None else context.run(function, *args)


class Driver:
    """One run of a view.

    A view that has read nothing is cancelled as soon as its client has gone; one that reads has a grace to finish with its
    last message. One that swallows its cancellation is cancelled again after another grace, and then logged.
    """

    __slots__ = ("_cancelled", "_grace", "_socket", "_task", "_thrown", "_timer", "context", "interrupted", "name")

    def __init__(self, socket: "Socket", grace: "float | None" = None) -> None:
        # What the view talks to.
        self._socket = socket
        # How long a view may go on without its client, in seconds; None leaves it to the settings.
        self._grace = grace
        # What the view is called in the log, and the context that it runs in; None is that of the task.
        self.name: "str | None" = None
        self.context: "Context | None" = None
        # The task that the view runs in, while it does.
        self._task: Any = None
        # How many times the view was cancelled from here, and the timer of what comes next.
        self._cancelled = 0
        self._timer: "asyncio.TimerHandle | None" = None
        # Whether a cancellation was thrown into the view; whether one ended it that did not come from here: the server's,
        # at its shutdown.
        self._thrown = False
        self.interrupted: bool = False

    @property
    def ended_view(self) -> bool:
        """Whether the view was cancelled from here, because its client had gone."""
        return self._cancelled > 0

    @types.coroutine
    def run(
        self, view: "typing.Coroutine[Any, Any, T] | typing.Generator[Any, Any, T]", attended: bool = False
    ) -> "typing.Generator[Any, Any, T]":
        """Run the coroutine ``view`` and return its result.

        ``attended`` is True for what comes before the view proper: it is let alone.
        """
        socket = self._socket
        send: "typing.Callable[..., Any]" = view.send
        throw: "typing.Callable[..., Any]" = view.throw
        if self.context is not None:
            send, throw = functools.partial(self.context.run, send), functools.partial(self.context.run, throw)
        exc: "BaseException | None" = None
        self._task = current_task()
        socket.attended = attended
        socket.on_over = self._client_gone
        try:
            while True:
                socket.stepping = True
                awaited = send(None) if exc is None else throw(exc)
                socket.stepping = False
                if not socket.attended:
                    socket.attend_soon()
                exc = None
                try:
                    yield awaited
                except GeneratorExit:
                    view.close()
                    raise
                except BaseException as thrown:
                    self._thrown = self._thrown or isinstance(thrown, asyncio.CancelledError)
                    exc = thrown
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # no StopIteration says of what
        except asyncio.CancelledError:
            self.interrupted = self._thrown and cancelling(self._task, self._cancelled, socket.over)
            raise
        finally:
            socket.stepping = False
            socket.on_over = None
            uncancel(self._task, self._cancelled)
            if self._timer is not None:
                self._timer.cancel()

    def _client_gone(self) -> None:
        """End the view, at once or after its grace."""
        if self._timer is not None or self._cancelled:
            return
        if self._socket.has_read or self._socket.application is State.DISCONNECTED:
            self._later(self._seconds(), self._cancel)
        else:
            self._cancel()

    def _later(self, seconds: float, callback: "typing.Callable[[], None]") -> None:
        self._timer = get_running_loop().call_later(seconds, callback)

    def _seconds(self) -> float:
        if self._grace is not None:
            return self._grace
        return conf.SHUTDOWN_GRACE if self._socket.close_code == SERVICE_RESTART else conf.DISCONNECT_GRACE

    def _cancel(self) -> None:
        self._cancelled += 1
        self._task.cancel()
        self._later(self._seconds_to_end(), self._cancel if self._cancelled < 2 else self._warn)

    def _seconds_to_end(self) -> float:
        return max(self._seconds(), LEAST_TO_END)

    def _warn(self) -> None:
        logger.error(
            "%s still runs although its client has left and it was cancelled twice, %s s apart; expected it to end where "
            "asyncio.CancelledError is raised, and to clean up in finally",
            self.name,
            self._seconds_to_end(),
        )
