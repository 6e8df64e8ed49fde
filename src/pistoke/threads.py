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
import weakref
from concurrent.futures import Executor, Future

from django.db import connections
from django.db.backends.signals import connection_created

from ._compat import (
    HAS_THREAD_SENSITIVE_CONTEXT,
    ContextVar,
    enter_thread_sensitive_context,
    thread_connections,
    thread_sensitive_context,
)
from .conf import conf

logger = logging.getLogger("pistoke")

#: How long a connection is trusted after it was used, and the shortest time it is kept, in seconds.
IDLE_SECOND = 1

THREAD_NAME = "pistoke-"

_lane = ContextVar("pistoke_lane")


class Lane:
    """The calls of one socket: one at a time, in the order they were made."""

    __slots__ = ("busy", "calls", "worker")

    def __init__(self):
        # Whether a call is under way, and those that wait for it.
        self.busy = False
        self.calls = collections.deque()
        # The worker that must run the next call, because a transaction of this lane is open on it.
        self.worker = None


class Pool(Executor):
    """Workers shared by all lanes of the process."""

    def __init__(self):
        # Guards all of the below and the lanes' attributes.
        self._lock = threading.Lock()
        # Workers without a call; the one that was busy last is taken first, so that the others' connections can go.
        self._idle = []
        # Lanes with a call, in the order they became ready.
        self._ready = collections.deque()
        self._count = 0
        # Raised whenever a worker has seen a connection fail: the others look at theirs before they use it.
        self.failures = 0

    def submit(self, fn, *args, **kwargs):
        """Run a call of the current context's socket, after the calls before it; return its future."""
        lane = _lane.get(None) or Lane()
        call = Call(fn, args, kwargs)
        with self._lock:
            lane.calls.append(call)
            if not lane.busy:
                self._dispatch(lane)
        return call.future

    def _dispatch(self, lane):
        """Give the next call of a lane to a worker; called with the lock held."""
        lane.busy = True
        if lane.worker is not None:
            lane.worker.inbox.put(lane)
        elif self._idle:
            self._idle.pop().inbox.put(lane)
        elif self._count < max(1, conf.DATABASE_THREADS):
            self._count += 1
            Worker(self, self._count).inbox.put(lane)
        else:
            self._ready.append(lane)

    def done(self, worker, lane, keeps_worker):
        """Note that a call has ended; return the lane whose call the worker runs next, None where there is none."""
        with self._lock:
            lane.worker = worker if keeps_worker else None
            lane.busy = False
            if lane.calls:
                if keeps_worker:
                    lane.busy = True
                    return lane
                self._ready.append(lane)
                lane.busy = True
            if keeps_worker:
                return None
            if self._ready:
                return self._ready.popleft()
            self._idle.append(worker)
            return None

    def leave(self, lane):
        """Take back what a socket that has ended left open: a transaction is rolled back."""
        with self._lock:
            if lane.worker is not None or lane.busy:
                lane.calls.append(Call(drop_open_work, (), {}))
                if not lane.busy:
                    self._dispatch(lane)


class Call:
    """A function to call, and the future of its result."""

    __slots__ = ("args", "fn", "future", "kwargs")

    def __init__(self, fn, args, kwargs):
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.future = Future()

    def run(self):
        """Call the function, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.fn(*self.args, **self.kwargs)
        except BaseException as exc:
            self.future.set_exception(exc)
        else:
            self.future.set_result(result)


class Worker:
    """A thread and the database connections it has made."""

    def __init__(self, pool, number):
        self.pool = pool
        # Lanes whose next call this worker is to run.
        self.inbox = queue.Queue()
        # When its connections were used last, and how many failures of connections it knows of.
        self._used = time.monotonic()
        self._failures = pool.failures
        # No call may keep the process from ending: a query can hang for as long as it likes.
        threading.Thread(target=self._run, name=THREAD_NAME + str(number), daemon=True).start()

    def _run(self):
        while True:
            try:
                lane = self.inbox.get(timeout=self._seconds_to_keep())
            except queue.Empty:
                self._guarded(self._close_idle)
                continue
            while lane is not None:
                if lane.worker is None:
                    self._guarded(self._check)
                lane.calls.popleft().run()
                lane = self.pool.done(self, lane, self._guarded(self._after_call))

    def _guarded(self, housekeeping):
        """Keep the thread alive whatever a database driver does."""
        try:
            return housekeeping()
        except Exception:
            logger.exception("a database connection could not be looked after")
            return False

    def _check(self):
        """Look whether the connections still work, if there is reason to doubt it."""
        if self._failures == self.pool.failures and time.monotonic() - self._used < IDLE_SECOND:
            return
        self._failures = self.pool.failures
        for connection in connected():
            if not connection.is_usable():
                connection.close()

    def _after_call(self):
        """Look what a call has left; return whether the next call of its lane must be run here."""
        self._used = time.monotonic()
        busy = False
        for connection in connected():
            if has_open_work(connection):
                busy = True
            elif connection.errors_occurred:
                connection.errors_occurred = False
                if not connection.is_usable():
                    connection.close()
                    self.pool.failures += 1
        return busy

    def _seconds_to_keep(self):
        """Return how long from now the connections are kept, None for ever."""
        ages = [seconds_to_idle(connection) for connection in connected() if not has_open_work(connection)]
        ages = [age for age in ages if age is not None]
        return max(0, self._used + min(ages) - time.monotonic()) if ages else None

    def _close_idle(self):
        idle = time.monotonic() - self._used
        for connection in connected():
            age = seconds_to_idle(connection)
            if age is not None and idle >= age and not has_open_work(connection):
                connection.close()


def connected():
    """Return the database connections of this thread that are open."""
    return [connection for connection in thread_connections() if connection.connection is not None]


def seconds_to_idle(connection):
    """Return how long a connection is kept without being used, None for ever: ``CONN_MAX_AGE``, but a second at least."""
    age = connection.settings_dict["CONN_MAX_AGE"]
    return None if age is None else max(age, IDLE_SECOND)


def has_open_work(connection):
    """Return whether the next query of a socket must meet the same connection."""
    return (
        connection.in_atomic_block
        or (not connection.autocommit and connection.settings_dict["AUTOCOMMIT"])
        or any(not getattr(cursor, "closed", False) for cursor in getattr(connection, "_pistoke_cursors", ()))
    )


def watch_cursors(connection, **kwargs):
    """Remember the server-side cursors of a connection of one of our threads."""
    if not threading.current_thread().name.startswith(THREAD_NAME) or "chunked_cursor" in vars(connection):
        return
    make = connection.chunked_cursor
    cursors = connection._pistoke_cursors = weakref.WeakSet()

    def chunked_cursor(*args, **kwargs):
        cursor = make(*args, **kwargs)
        cursors.add(cursor)
        return cursor

    connection.chunked_cursor = chunked_cursor


connection_created.connect(watch_cursors, dispatch_uid="pistoke.threads")


def drop_open_work():
    """Roll back and close whatever connection of this thread has something open."""
    for connection in connected():
        if has_open_work(connection):
            connection.close()
            # A connection closed inside of ``atomic`` remembers that it was.
            del connections[connection.alias]


_pool = Pool()
_pool_context = thread_sensitive_context(_pool) if HAS_THREAD_SENSITIVE_CONTEXT else None


def enter(lane):
    """Run the synchronous code of this context as calls of ``lane``.

    Where asgiref knows no contexts (on Python 3.6) all synchronous code of the process shares its one thread.
    """
    if HAS_THREAD_SENSITIVE_CONTEXT:
        _lane.set(lane)
        enter_thread_sensitive_context(_pool_context)


def leave(lane):
    """Take back what the calls of ``lane`` left open."""
    _pool.leave(lane)
