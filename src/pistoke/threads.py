"""The threads that run the synchronous code of sockets: their database queries, above all.

A socket is open for hours and queries now and then. So it does not own a thread, and a thread's database connection does
not own it: a call borrows one worker of a small pool, at most one call of a socket at a time, and the connections that the
workers hold are shared by all sockets, one after the other. A worker stays with a socket only while a transaction or a
server-side cursor of its is open.

asgiref asks for an executor each time ``sync_to_async`` is called; the pool finds out from the context whose call it is.
"""

import collections
import logging
import queue
import threading
import time
import typing
from concurrent.futures import Executor, Future, TimeoutError
from typing import Any

from django.db.backends.signals import connection_created

from ._compat import (
    HAS_THREAD_SENSITIVE_CONTEXT,
    ContextVar,
    SimpleQueue,
    enter_thread_sensitive_context,
    run_all_thread_sensitive_code_in,
    running_loop_or_none,
    thread_sensitive_context,
    thread_time,
)
from .conf import conf
from .database import (
    IDLE_SECOND,
    THREAD_NAME,
    connected,
    drop_open_work,
    has_news,
    has_open_work,
    is_pooled,
    seconds_to_idle,
)

if typing.TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    T = typing.TypeVar("T")

logger: logging.Logger = logging.getLogger("pistoke")

#: How long the event loop stands still for a call, in seconds; after calls that took longer, how many it lets go their way.
SHORT = 0.002
CALLS_AFTER_LONG = 256
#: After how many calls of a socket in a row that were short the event loop gets a turn all the same.
AT_ONCE = 4

# The lane whose calls those of a context are; in a thread its worker, the lane whose call it is running, and whether the
# connections are doubtful.
_lane: "ContextVar[Lane]" = ContextVar("pistoke_lane")
_running = threading.local()


class Lane:
    """The calls of one socket: one at a time, in the order they were made."""

    __slots__ = ("at_once", "busy", "calls", "worker")

    def __init__(self) -> None:
        # Whether a call is under way, and those that wait for it.
        self.busy: bool = False
        self.calls: "collections.deque[Call]" = collections.deque()
        # The worker that must run the next call, because a transaction of this lane is open on it.
        self.worker: "Worker | None" = None
        # How many calls since the event loop has had a turn.
        self.at_once: int = 0


class Pool(Executor):
    """Workers shared by all lanes of the process."""

    def __init__(self) -> None:
        # Guards all of the below and the lanes' attributes.
        self._lock = threading.Lock()
        # Workers without a call; the one that was busy last is taken first, so that the others' connections can go.
        self._idle: "list[Worker]" = []
        # Lanes with a call, in the order they became ready.
        self._ready: "collections.deque[Lane]" = collections.deque()
        self._count = 0
        self._patience = Patience()
        # Raised whenever a worker has seen a connection fail: the others look at theirs before they use it.
        self.failures: int = 0

    def submit(  # type: ignore[override]  # there is no way to say on Python 3.6 that the function has no name
        self, fn: "typing.Callable[..., T]", *args: Any, **kwargs: Any
    ) -> "Future[T]":
        """Run a call of the current context's socket, after the calls before it; return its future.

        Raises RuntimeError where it would wait for itself.
        """
        lane = _lane.get(None) or _lane_of_all or Lane()
        if getattr(_running, "lane", None) is lane:
            raise RuntimeError(
                "expected async_to_sync() in synchronous code of a socket, got an event loop of its own: what it "
                "hands to a thread would wait for the call that waits for it"
            )
        call = Call(fn, args, kwargs)
        with self._lock:
            lane.calls.append(call)
            at_once = not lane.busy and self._dispatch(lane)
        return self._patience.future(call, lane) if at_once else call.future

    def _dispatch(self, lane: Lane) -> bool:
        """Give the next call of a lane to a worker, and return whether there was one; called with the lock held."""
        worker = lane.worker or (self._idle.pop() if self._idle else self._hire())
        if worker is None:
            self._ready.append(lane)
        else:
            worker.inbox.put(lane)
        lane.busy = True
        return worker is not None

    def _hire(self) -> "Worker | None":
        """Return a new worker, None where those there are must do."""
        if self._count >= max(1, conf.DATABASE_THREADS):
            return None
        try:
            worker = Worker(self, self._count + 1)
        except RuntimeError:
            # The system has no more threads to give.
            if not self._count:
                raise
            return None
        self._count += 1
        return worker

    def done(self, worker: "Worker", lane: Lane, keeps_worker: bool) -> "Lane | None":
        """Note that a call has ended; return the lane whose call the worker runs next, None where there is none."""
        with self._lock:
            lane.worker = worker if keeps_worker else None
            lane.busy = bool(lane.calls)
            if keeps_worker:
                return lane if lane.busy else None
            if lane.busy:
                self._ready.append(lane)
            return self._next_for(worker)

    def let_go(self, worker: "Worker", lane: Lane) -> "Lane | None":
        """Take a worker from a lane that keeps it for nothing; return the lane whose call it runs next, or None."""
        with self._lock:
            if lane.busy:
                # Its next call is on its way to this very worker.
                return None
            lane.worker = None
            return self._next_for(worker)

    def _next_for(self, worker: "Worker") -> "Lane | None":
        """Return the lane that has waited longest, None where the worker has to wait; called with the lock held."""
        if self._ready:
            return self._ready.popleft()
        self._idle.append(worker)
        return None

    def note_failure(self) -> None:
        """Let all workers look at their connections before they use them."""
        with self._lock:
            self.failures += 1

    def leave(self, lane: Lane) -> None:
        """Take back what a socket that has ended left open: a transaction is rolled back."""
        with self._lock:
            if lane.worker is not None or lane.busy:
                lane.calls.append(Call(drop_open_work, (), {}))
                if not lane.busy:
                    self._dispatch(lane)


class Patience:
    """How the event loop stands still for calls that are short, as the queries of a session and a user are.

    Python runs one thread at a time, and a query lets go of the interpreter at each of its steps. An event loop that goes
    on meanwhile takes it from the query, and waits to get it back, a dozen times, and each time the other processor has to
    load what both work on. To open a logged-in socket took 1.94 ms of processor time, and takes 1.43.

    A call that waits more than it computes, for a database that is far away, is none to stand still for: others can go on
    meanwhile. Of such calls fewer and fewer are waited for, until one is short.
    """

    __slots__ = ("_after_long", "_unawaited")

    def __init__(self) -> None:
        # How many of the next calls are not waited for, and how many after the next one that is not short.
        self._unawaited = 0
        self._after_long = 1

    def future(self, call: "Call", lane: Lane) -> "Future[Any]":
        """Return the future of a call: one of the event loop that is done, where the call was short and went well.

        ``loop.run_in_executor`` takes that as it is, and its caller goes on without another turn of the loop.
        """
        if self._unawaited:
            self._unawaited -= 1
            return call.future
        try:
            failed = call.future.exception(SHORT)
        except TimeoutError:
            short = False
        else:
            short = call.computed >= call.waited
        if not short:
            self._unawaited = self._after_long
            self._after_long = min(2 * self._after_long, CALLS_AFTER_LONG)
            return call.future
        self._after_long = 1
        loop = running_loop_or_none()
        if failed is not None or loop is None or lane.at_once >= AT_ONCE:
            lane.at_once = 0
            return call.future
        lane.at_once += 1
        future = loop.create_future()
        future.set_result(call.future.result())
        return future  # type: ignore[return-value]  # see above


class Call:
    """A function to call, and the future of its result."""

    __slots__ = ("args", "computed", "fn", "future", "kwargs", "waited")

    def __init__(self, fn: typing.Callable[..., Any], args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> None:
        self.fn: typing.Callable[..., Any] = fn
        self.args: "tuple[Any, ...]" = args
        self.kwargs: "dict[str, Any]" = kwargs
        self.future: "Future[Any]" = Future()
        # How long it took, in seconds.
        self.computed = self.waited = 0.0

    def run(self) -> None:
        """Call the function, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        began, computed_before = time.perf_counter(), thread_time()
        try:
            result = self.fn(*self.args, **self.kwargs)
        except BaseException as exc:
            self.future.set_exception(exc)
            # The traceback of the exception refers to this frame: without a cycle both go as soon as they can.
            del self
        else:
            self.computed = thread_time() - computed_before
            self.waited = time.perf_counter() - began - self.computed
            self.future.set_result(result)


class Worker:
    """A thread and the database connections it has made."""

    def __init__(self, pool: Pool, number: int) -> None:
        self.pool = pool
        # Lanes whose next call this worker is to run.
        self.inbox: "queue.Queue[Lane]" = SimpleQueue()
        # When its connections were used last, and how many failures of connections it knows of.
        self._used = time.monotonic()
        self._failures = pool.failures
        # The lane that keeps this worker although it has no call.
        self._kept: "Lane | None" = None
        # No call may keep the process from ending: a query can hang for as long as it likes.
        threading.Thread(target=self._run, name=THREAD_NAME + str(number), daemon=True).start()

    def _run(self) -> None:
        # A worker that has just had a call soon has another: how long its connections may idle is asked only when none
        # has come for a second.
        seconds: "float | None" = None
        _running.worker = self
        while True:
            try:
                lane: "Lane | None" = self.inbox.get(timeout=seconds)
                seconds = IDLE_SECOND
            except queue.Empty:
                self._guarded(self._close_idle)
                lane = self._let_go()
                seconds = IDLE_SECOND if lane else self._seconds_to_wait()
            while lane is not None:
                lane = self._run_call(lane)

    def _run_call(self, lane: Lane) -> "Lane | None":
        """Run the next call of a lane; return the lane whose call is next, None where none is."""
        if lane.worker is None:
            self._guarded(self._check)
        _running.lane = lane
        lane.calls.popleft().run()
        _running.lane = None
        keeps = self._guarded(self._after_call)
        self._kept = lane if keeps else None
        return self.pool.done(self, lane, keeps)

    def _let_go(self) -> "Lane | None":
        """Leave a lane that has nothing open any more; return the lane whose call is next, None where none is.

        A transaction ends in a call, but a server-side cursor ends wherever the last reference to it does.
        """
        lane = self._kept
        if lane is None or any(has_open_work(connection) for connection in connected()):
            return None
        self._kept = None
        return self.pool.let_go(self, lane)

    def _guarded(self, housekeeping: "typing.Callable[[], T]") -> "T | bool":
        """Keep the thread alive whatever a database driver does."""
        try:
            return housekeeping()
        except Exception:
            logger.exception("a database connection could not be looked after")
            return False

    def _check(self) -> None:
        """Look whether the connections still work, if there is reason to doubt it."""
        doubtful = self._failures != self.pool.failures or time.monotonic() - self._used >= IDLE_SECOND
        self._failures = self.pool.failures
        # What Django's own pool has to give is looked at when it does.
        _running.doubtful = doubtful
        for connection in connected():
            if doubtful or has_news(connection):
                self.close_if_broken(connection)

    def close_if_broken(self, connection: "BaseDatabaseWrapper") -> None:
        """Close a connection that does not work, and let the others doubt theirs."""
        connection.errors_occurred = False
        if not connection.is_usable():
            self.pool.note_failure()
            connection.close()

    def _after_call(self) -> bool:
        """Look what a call has left; return whether the next call of its lane must be run here."""
        self._used = time.monotonic()
        busy = False
        for connection in connected():
            if has_open_work(connection):
                busy = True
                continue
            if connection.errors_occurred:
                self.close_if_broken(connection)
            if is_pooled(connection):
                # There may be fewer of them than workers, and it costs next to nothing to get one again.
                connection.close()
        return busy

    def _seconds_to_wait(self) -> "float | None":
        """Return how long to wait for a call before there is something else to do, None for ever."""
        if self._kept is not None:
            return IDLE_SECOND
        ages = [seconds_to_idle(connection) for connection in connected() if not has_open_work(connection)]
        limits = [age for age in ages if age is not None]
        return max(0, self._used + min(limits) - time.monotonic()) if limits else None

    def _close_idle(self) -> None:
        idle = time.monotonic() - self._used
        for connection in connected():
            age = seconds_to_idle(connection)
            if age is not None and idle >= age and not has_open_work(connection):
                connection.close()


def look_at_pooled(connection: "BaseDatabaseWrapper", **kwargs: object) -> None:
    """Have a connection that Django's pool has lent exchanged, if it does not work any more.

    The pool gives back what it was given without looking, unless ``CONN_HEALTH_CHECKS`` lets it ask the database each time.
    """
    worker: "Worker | None" = getattr(_running, "worker", None)
    if worker is None or not is_pooled(connection):
        return
    if _running.doubtful or has_news(connection):
        worker.close_if_broken(connection)
        if connection.connection is None:
            connection.connect()


connection_created.connect(look_at_pooled, dispatch_uid="pistoke.threads.pooled")


_pool = Pool()
_pool_context = thread_sensitive_context(_pool) if HAS_THREAD_SENSITIVE_CONTEXT else None
_lane_of_all = None if HAS_THREAD_SENSITIVE_CONTEXT else Lane()


def enter(lane: Lane) -> None:
    """Run the synchronous code of this context as calls of ``lane``.

    Where asgiref knows no contexts (on Python 3.6) all synchronous code of the process is one lane, and so runs in one
    thread; its connections are looked after all the same.
    """
    if _pool_context is None:
        run_all_thread_sensitive_code_in(_pool)
    else:
        _lane.set(lane)
        enter_thread_sensitive_context(_pool_context)


def entered() -> bool:
    """Return whether the synchronous code of this context is that of a lane."""
    return _lane.get(None) is not None


def leave(lane: Lane) -> None:
    """Take back what the calls of ``lane`` left open."""
    _pool.leave(lane)
