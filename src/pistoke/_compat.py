"""Every difference between the versions of Python, Django and asgiref that are supported, and nothing else."""

import asyncio
import builtins
import contextlib
import functools
import inspect
import logging
import queue
import sys
import time
import typing

import django
from asgiref import local, sync
from asgiref.sync import SyncToAsync
from django.core import exceptions
from django.core.cache import caches
from django.db import connections

if typing.TYPE_CHECKING:
    from concurrent.futures import Executor

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.dispatch import Signal

    Function = typing.TypeVar("Function", bound=typing.Callable[..., object])

# asyncio -------------------------------------------------------------------------------------------------------------

if sys.version_info >= (3, 7):
    current_task = asyncio.current_task
    get_running_loop = asyncio.get_running_loop
else:
    current_task = asyncio.Task.current_task
    # Returns the running loop inside of a coroutine or a callback, the only places where it is called here.
    get_running_loop = asyncio.get_event_loop

#: The running loop, or None where there is none.
running_loop_or_none = asyncio._get_running_loop

if sys.version_info >= (3, 11):

    def cancelling(task: "asyncio.Task[object]", own: int, doubtful: bool) -> bool:
        """Return whether more than ``own`` cancellations of ``task`` were asked for."""
        return task.cancelling() > own

    def uncancel(task: "asyncio.Task[object]", times: int) -> None:
        """Take back ``times`` cancellations of ``task``."""
        for _ in range(times):
            task.uncancel()

else:

    def cancelling(task: "asyncio.Task[object]", own: int, doubtful: bool) -> bool:
        """Return whether somebody else asked to cancel ``task``, which counts nothing yet.

        So only where nobody here did, and where it is not ``doubtful``: what a task that was awaited ended with looks the
        same.
        """
        return not (own or doubtful)

    def uncancel(task: "asyncio.Task[object]", times: int) -> None:
        """Do nothing: a task does not count its cancellations yet."""


#: What a task group raises where one of its tasks raised something that is no Exception: a disconnect, say.
BaseExceptionGroup = getattr(builtins, "BaseExceptionGroup", Exception)

#: The processor time of the current thread, in seconds.
if sys.version_info >= (3, 7):
    thread_time = time.thread_time
elif hasattr(time, "clock_gettime"):
    thread_time = functools.partial(time.clock_gettime, time.CLOCK_THREAD_CPUTIME_ID)
else:

    def thread_time() -> float:
        """Return nothing to go by: Windows tells it from Python 3.7 on."""
        return 0

# Coroutine functions -------------------------------------------------------------------------------------------------

if sys.version_info >= (3, 12):
    markcoroutinefunction = inspect.markcoroutinefunction
else:

    def markcoroutinefunction(func: "Function") -> "Function":
        """Mark a callable as returning a coroutine."""
        func._is_coroutine = asyncio.coroutines._is_coroutine
        return func


if sys.version_info >= (3, 12):
    iscoroutinefunction = inspect.iscoroutinefunction
else:
    iscoroutinefunction = asyncio.iscoroutinefunction

#: The attributes in which a coroutine mark is kept.
COROUTINE_MARKS = ("_is_coroutine", "_is_coroutine_marker")


def is_async_def(func: object) -> bool:
    """Return whether calling ``func`` runs no code but makes a coroutine.

    Marks are not asked: ``functools.wraps`` copies them to any plain ``def`` around an ``async def``.
    """
    while isinstance(func, functools.partial):
        func = func.func
    code = getattr(getattr(func, "__func__", func), "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE)


# Contexts ------------------------------------------------------------------------------------------------------------

#: Whether asgiref keeps a ``Local`` (language, time zone, URLconf) in context variables; before 3.8 it ties it to the task.
HAS_LOCALS_IN_CONTEXT = hasattr(local, "_CVar")


class Moment:
    """The language and time zone of a moment."""

    def __init__(self) -> None:
        from django.utils import timezone, translation

        self.language = translation.get_language()
        self.timezone = timezone.get_current_timezone()

    def activate(self) -> None:
        """Bring them back."""
        from django.utils import timezone, translation

        timezone.activate(self.timezone)
        if self.language is None:
            translation.deactivate_all()
        else:
            translation.activate(self.language)


if sys.version_info >= (3, 7):
    import contextvars

    Context = contextvars.Context
    ContextVar = contextvars.ContextVar

    _moment = contextvars.ContextVar("pistoke_moment")  # type: contextvars.ContextVar[Moment]
    _deadlock = getattr(SyncToAsync, "deadlock_context", None)  # type: contextvars.ContextVar[bool] | None

    def copy_context() -> Context:
        """Return a copy of the current context that is not changed with it.

        Up to version 3.8 asgiref changes the values of a ``Local`` in a dict that copies share.
        """
        context = contextvars.copy_context()
        if not HAS_LOCALS_IN_CONTEXT:
            context.run(_moment.set, Moment())
        if _deadlock is not None and context.get(_deadlock):
            # asgiref notes here that a call of its is under way in a thread: that of the middleware, which copies this.
            context.run(_deadlock.set, False)
        for variable, value in list(context.items()):
            if variable.name == "asgiref.local" and type(value) is dict:
                context.run(variable.set, value.copy())
        return context

    def rehome_context(context: Context) -> Context:
        """Return a context that holds in this thread what ``context`` held in the one it was copied in.

        asgiref ties what its ``Local`` keeps (language, time zone, URLconf) to a thread, and moves it by this function
        at each of its own hops. Versions without it do not tie.
        """
        here = contextvars.copy_context()
        here.run(sync._restore_context, context)
        if not HAS_LOCALS_IN_CONTEXT:
            context[_moment].activate()
        return here

else:

    class ContextVar:
        """A variable with one value: without contexts there is one thread for all sockets, and nothing to tell apart."""

        def __init__(self, name: str, default: typing.Any = None) -> None:
            self.default = default

        def get(self, default: typing.Any = None) -> typing.Any:
            return self.default if default is None else default

        def set(self, value: object) -> None:
            pass

    class Context(Moment):
        """The language and time zone of the moment, in the place of a context."""

        entered = False

        def run(self, func: typing.Callable[..., typing.Any], *args: object, **kwargs: object) -> typing.Any:
            if not self.entered:
                self.entered = True
                self.activate()
            return func(*args, **kwargs)

    copy_context = Context

    def rehome_context(context: Context) -> Context:
        """Return the context as it is."""
        return context


if sys.version_info >= (3, 11):

    def create_task_in(
        context: Context, coroutine: "typing.Coroutine[typing.Any, typing.Any, None]"
    ) -> "asyncio.Task[None]":
        """Return a task that runs in a context."""
        return get_running_loop().create_task(coroutine, context=context)

else:

    def create_task_in(
        context: Context, coroutine: "typing.Coroutine[typing.Any, typing.Any, None]"
    ) -> "asyncio.Task[None]":
        """Return a task that runs in a copy of a context: there is no way into itself."""
        task: "asyncio.Task[None]" = context.run(get_running_loop().create_task, coroutine)
        return task


# Threads -------------------------------------------------------------------------------------------------------------

#: A queue between threads; the one written in C came with Python 3.7.
SimpleQueue: "type[queue.Queue[typing.Any]]" = getattr(queue, "SimpleQueue", queue.Queue)

#: Whether thread-sensitive code can be given an executor of ours: asgiref has the means from Python 3.7 on.
HAS_THREAD_SENSITIVE_CONTEXT = SyncToAsync.thread_sensitive_context is not None


def thread_sensitive_context(executor: "Executor") -> sync.ThreadSensitiveContext:
    """Return a context whose thread-sensitive code runs in ``executor``.

    The context manager of asgiref 3.13 that takes an executor is entered once for each socket and refuses the tasks that
    outlive it; what is under it, the same in all versions, costs a socket nothing.
    """
    context = sync.ThreadSensitiveContext()
    SyncToAsync.context_to_thread_executor[context] = executor
    return context


def enter_thread_sensitive_context(context: sync.ThreadSensitiveContext) -> None:
    """Run the thread-sensitive code of this context in the executor of ``context``."""
    SyncToAsync.thread_sensitive_context.set(context)


def run_all_thread_sensitive_code_in(executor: "Executor") -> None:
    """Run the thread-sensitive code of the whole process in ``executor``, where there are no contexts."""
    SyncToAsync.single_thread_executor = executor  # type: ignore[assignment]  # any executor will do


def calling_loop() -> "asyncio.AbstractEventLoop | None":
    """Return the event loop that waits for the synchronous code of this thread, or runs in it; None where none does."""
    return running_loop_or_none() or getattr(SyncToAsync.threadlocal, "main_event_loop", None)


# JSON ----------------------------------------------------------------------------------------------------------------

#: How many digits a whole number may have, as in the versions of Python that look themselves.
MAX_DIGITS = 4300

if hasattr(sys, "get_int_max_str_digits"):
    #: Arguments of ``json.loads`` for what a stranger sends.
    JSON_LIMITS: "dict[str, typing.Any]" = {}
else:

    def _int(digits: str) -> int:
        """Return a number: four million digits took Python 3.6 minutes, in which nothing else happened."""
        if len(digits) > MAX_DIGITS:
            raise ValueError("expected at most {} digits, got {}".format(MAX_DIGITS, len(digits)))
        return int(digits)

    JSON_LIMITS = {"parse_int": _int}

# Django --------------------------------------------------------------------------------------------------------------

if django.VERSION >= (4, 1):

    def thread_connections() -> "typing.Sequence[BaseDatabaseWrapper]":
        """Return the database connections that this thread has made."""
        return connections.all(initialized_only=True)

else:

    def thread_connections() -> "typing.Sequence[BaseDatabaseWrapper]":
        """Return a database connection of this thread for each alias, connected or not."""
        return connections.all()


if django.VERSION >= (3, 2):

    def forget_cache_clients() -> None:
        """Drop the cache clients of this context."""
        for alias in caches:
            with contextlib.suppress(AttributeError):
                del caches[alias]

else:

    def forget_cache_clients() -> None:
        """Drop the cache clients of this context."""
        with contextlib.suppress(AttributeError):
            del caches._caches.caches  # type: ignore[attr-defined]  # 3.1 has it


#: Django 3.1 answers 400 to nothing else.
BadRequest: "type[Exception]" = getattr(exceptions, "BadRequest", exceptions.SuspiciousOperation)


if django.VERSION >= (5, 0):

    def send_signal(signal: "Signal", **arguments: typing.Any) -> typing.Awaitable[object]:
        """Return an awaitable that sends a signal, its sync receivers in a thread."""
        return signal.asend(**arguments)

else:

    def send_signal(signal: "Signal", **arguments: typing.Any) -> typing.Awaitable[object]:
        """Return an awaitable that sends a signal, its receivers in a thread."""
        return sync.sync_to_async(signal.send)(**arguments)

if django.VERSION >= (3, 2):

    def send_robust(signal: "Signal", sender: object, **arguments: typing.Any) -> None:
        """Send a signal; log a receiver that raises."""
        signal.send_robust(sender, **arguments)

else:

    def send_robust(signal: "Signal", sender: object, **arguments: typing.Any) -> None:
        """Send a signal; log a receiver that raises, which Django 3.1 does not by itself."""
        for receiver, outcome in signal.send_robust(sender, **arguments):
            if isinstance(outcome, Exception):
                logger = logging.getLogger("django.dispatch")
                logger.error("Error calling %r in Signal.send_robust()", receiver, exc_info=outcome)
