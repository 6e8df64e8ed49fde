"""Where the synchronous code of a view runs in a test: on the test's own thread.

A test case holds its transaction in a connection of its own thread, so the queries of a view have to be made there. In an
asynchronous test Django itself sees to it: its runner wraps the test in ``async_to_sync``, which idles in the test's thread
and runs there what ``sync_to_async`` is given. asgiref before 3.7 does not extend that to the tasks that a test starts,
and a view is one: :func:`borrow_test_thread` does.

In a synchronous test there is nobody who idles, so :class:`Portal` does: the event loop has a thread of its own, and
whenever the test waits for a socket, it runs what the loop's tasks have for it.
"""

import asyncio
import collections
import concurrent.futures
import functools
import queue
import threading
from concurrent.futures import Future
from typing import Any, Callable, Counter, Dict, Optional, Tuple

from asgiref.sync import AsyncToSync

from .._compat import (
    HAS_THREAD_SENSITIVE_CONTEXT,
    copy_context,
    current_task,
    enter_thread_sensitive_context,
    get_running_loop,
    rehome_context,
    thread_sensitive_context,
)
from .places import shorten

# pytest shows the line of the test, and what the view has raised; nothing of what is between.
__tracebackhide__ = True

#: The test's thread for each of the tasks that ``async_to_sync`` has started; newer asgiref asks the context instead.
launch_map: Any = getattr(AsyncToSync, "launch_map", None)

#: How often the test's thread was borrowed for an event loop, and the task factory that was there before.
_borrowed: "Counter[asyncio.AbstractEventLoop]" = collections.Counter()
_former_factories: "Dict[asyncio.AbstractEventLoop, Any]" = {}


def borrow_test_thread(
    loop: asyncio.AbstractEventLoop, thread: Optional[threading.Thread] = None
) -> Callable[[], None]:
    """Let the tasks of ``loop`` run their synchronous code on ``thread``, or the one that ``async_to_sync`` idles in.

    Returns a function that ends it.
    """
    if launch_map is None:
        return _nothing
    thread = thread or _launching_thread(loop)
    if thread is None:
        return _nothing
    if not _borrowed[loop]:
        _former_factories[loop] = loop.get_task_factory()
        loop.set_task_factory(functools.partial(_create_task, thread, _former_factories[loop]))
    _borrowed[loop] += 1
    return functools.partial(_return_thread, loop)


def _nothing() -> None:
    """Give nothing back."""


def _launching_thread(loop: asyncio.AbstractEventLoop) -> Optional[threading.Thread]:
    """Return the thread that waits for ``loop``, None where none does."""
    task = current_task()
    # One of the test's own tasks is of the same loop, and so of the same thread, as those that are known.
    threads = (thread for other, thread in list(launch_map.items()) if other is not None and other._loop is loop)
    found: Optional[threading.Thread] = launch_map.get(task) or next(threads, None)
    return found


def _return_thread(loop: asyncio.AbstractEventLoop) -> None:
    _borrowed[loop] -= 1
    if not _borrowed[loop]:
        del _borrowed[loop]
        loop.set_task_factory(_former_factories.pop(loop))


def _create_task(
    thread: threading.Thread, former: Any, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any
) -> Any:
    task = former(loop, coroutine, **kwargs) if former else asyncio.Task(coroutine, loop=loop, **kwargs)
    launch_map[task] = thread
    task.add_done_callback(_forget_task)
    return task


def _forget_task(task: Any) -> None:
    launch_map.pop(task, None)


class IdleThread(concurrent.futures.Executor):
    """An executor whose work is done by the thread that made it, while that waits for something."""

    def __init__(self) -> None:
        self._work: "queue.Queue[Optional[Tuple[Any, Callable[[], Any]]]]" = queue.Queue()

    def submit(self, fn: Any, *args: Any, **kwargs: Any) -> "Future[Any]":  # type: ignore[override]
        """Let the thread call ``fn`` when it waits the next time; return a future of the result."""
        future: "Future[Any]" = concurrent.futures.Future()
        self._work.put((future, functools.partial(fn, *args, **kwargs)))
        return future

    def wait_for(self, future: "Future[Any]") -> Any:
        """Work until ``future`` is done; return its result."""
        future.add_done_callback(lambda future: self._work.put(None))
        while not future.done():
            self._do(self._work.get())
        if not future.cancelled() and future.exception() is not None:
            # Not by result(), whose frames would stand between the test and what it is told.
            raise shorten(future.exception())
        return future.result()

    def _do(self, work: Optional[Tuple[Any, Callable[[], Any]]]) -> None:
        # None only says that something has changed.
        if work is None or not work[0].set_running_or_notify_cancel():
            return
        future, call = work
        try:
            result = call()
        except BaseException as exc:
            future.set_exception(exc)
        else:
            future.set_result(result)


class Portal:
    """An event loop in a thread of its own, beside a synchronous test."""

    #: The portal of each thread, and how many sockets use it.
    _here = threading.local()

    @classmethod
    def enter(cls) -> "Portal":
        """Return the portal of this thread, to be left by :meth:`leave`."""
        portal = getattr(cls._here, "portal", None)
        if portal is None:
            portal = cls._here.portal = cls()
        portal._users += 1
        return portal

    def leave(self) -> None:
        """End the event loop with the last socket."""
        self._users -= 1
        if not self._users:
            del self._here.portal
            self._stop()

    def __init__(self) -> None:
        self._users = 0
        self._idle_thread = IdleThread()
        self._loop = asyncio.new_event_loop()
        self._context: Any = None
        if HAS_THREAD_SENSITIVE_CONTEXT:
            self._context = thread_sensitive_context(self._idle_thread)
        self._thread = threading.Thread(target=self._run, name="pistoke-test-loop", daemon=True)
        self._undo = self._lend_thread()
        self._thread.start()

    def _lend_thread(self) -> Callable[[], None]:
        """Make the test's thread known to an asgiref without contexts; return the function that undoes it."""
        if HAS_THREAD_SENSITIVE_CONTEXT or launch_map is None:
            return _nothing
        give_back = borrow_test_thread(self._loop, threading.current_thread())
        former = getattr(AsyncToSync.executors, "current", None)
        AsyncToSync.executors.current = self._idle_thread

        def undo() -> None:
            give_back()
            del AsyncToSync.executors.current
            if former is not None:
                AsyncToSync.executors.current = former

        return undo

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function in the loop and return its result; meanwhile do the work of this thread."""
        coroutine = self._call(copy_context(), functools.partial(function, *args, **kwargs))
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return self._idle_thread.wait_for(future)
        except BaseException:
            # Ctrl-C in the test's thread, most likely.
            future.cancel()
            raise

    async def _call(self, context: Any, function: Callable[[], Any]) -> Any:
        if not HAS_THREAD_SENSITIVE_CONTEXT:
            return await function()
        return await rehome_context(context).run(self._begin, function)

    def _begin(self, function: Callable[[], Any]) -> Any:
        """Start a task whose synchronous code runs in the test's thread."""
        if getattr(AsyncToSync.executors, "current", None) is not None:
            # An ``async_to_sync`` further up is waiting for this thread, too: it would be asked first, and in vain.
            del AsyncToSync.executors.current
        enter_thread_sensitive_context(self._context)
        return self._loop.create_task(function())

    def _stop(self) -> None:
        try:
            # Not through call(), whose own task would be among those that are ended.
            self._idle_thread.wait_for(asyncio.run_coroutine_threadsafe(end_tasks(), self._loop))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._undo()
            self._loop.close()


async def end_tasks() -> None:
    """Cancel the tasks that views have left, as asyncio.run() does at its end."""
    loop = get_running_loop()
    all_tasks = getattr(asyncio, "all_tasks", None) or getattr(asyncio.Task, "all_tasks")  # noqa: B009
    own = current_task()
    tasks = [task for task in all_tasks(loop) if task is not own and not task.done()]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)
    await loop.shutdown_asyncgens()
