"""The threads that run the synchronous code of sockets, and their database connections."""
import asyncio
import contextlib
import copy
import fcntl
import gc
import os
import socket
import threading
import time
import types
import weakref
from concurrent.futures import CancelledError

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.utils import InterfaceError, OperationalError
from django.test import override_settings

from pistoke import database as database_module
from pistoke import threads
from pistoke._compat import (
    HAS_LOCALS_IN_CONTEXT,
    HAS_THREAD_SENSITIVE_CONTEXT,
    copy_context,
    thread_sensitive_context,
)
from pistoke.database import THREAD_NAME
from pistoke.handler import WebsocketHandler
from pistoke.threads import Lane, Pool, Worker

from .asgi import Server, urls
from .reliability.crowd import allow_files
from .test_chain import until

ALIAS = "threads"
SECONDS = 10

with_pool = pytest.mark.skipif(not HAS_THREAD_SENSITIVE_CONTEXT, reason="there is one thread on Python 3.6")


@pytest.fixture
def pool(monkeypatch):
    """Return a pool of this test alone, which sockets use too."""
    pool = Pool()
    monkeypatch.setattr(threads, "_pool", pool)
    if HAS_THREAD_SENSITIVE_CONTEXT:
        monkeypatch.setattr(threads, "_pool_context", thread_sensitive_context(pool))
    return pool


@pytest.fixture
def database(tmp_path, django_db_blocker):
    """Make an SQLite database in a file, with a table; return its settings."""
    settings = copy.deepcopy(connections.databases["default"])
    settings.update(NAME=str(tmp_path / "database"), CONN_MAX_AGE=None)
    connections.databases[ALIAS] = settings
    with django_db_blocker.unblock():
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(ContentType)
        yield settings
        drop_connection()
    del connections.databases[ALIAS]


def drop_connection():
    with contextlib.suppress(AttributeError):
        connections[ALIAS].close()
        del connections[ALIAS]


def submit(pool, lane, function, *args):
    """Submit a call of a lane; return its future."""
    context = copy_context()
    context.run(threads._lane.set, lane)
    return context.run(pool.submit, function, *args)


def call(pool, lane, function, *args):
    """Return what a call of a lane comes to."""
    future = submit(pool, lane, function, *args)
    return future.result() if future.done() else future.result(SECONDS)


def name():
    """Return the name of the thread."""
    return threading.current_thread().name


def insert(model="a"):
    ContentType.objects.using(ALIAS).create(app_label="test", model=model)


def count():
    return ContentType.objects.using(ALIAS).count()


def begin():
    """Begin a transaction that somebody else ends; return it."""
    atomic = transaction.atomic(using=ALIAS)
    atomic.__enter__()
    return atomic


def end(atomic):
    atomic.__exit__(None, None, None)


def is_open():
    """Return whether this thread has a connection, and open."""
    return connections[ALIAS].connection is not None


# Threads and lanes


@with_pool
def test_no_more_threads_are_made_than_the_setting_says(pool):
    barrier = threading.Barrier(3)
    lanes = [Lane() for _ in range(12)]
    with override_settings(PISTOKE_DATABASE_THREADS=3):
        calls = [submit(pool, lane, lambda: (barrier.wait(SECONDS), name())[1]) for lane in lanes]
        assert len({item.result(SECONDS) for item in calls}) == 3
    assert pool._count == 3


@with_pool
@pytest.mark.parametrize("number", [0, -1, 1])
def test_there_is_one_thread_at_least(pool, number):
    with override_settings(PISTOKE_DATABASE_THREADS=number):
        assert call(pool, Lane(), name) == call(pool, Lane(), name) == THREAD_NAME + "1"


@with_pool
def test_threads_are_made_as_they_are_needed(pool):
    for _ in range(5):
        call(pool, Lane(), name)
        idle(pool)
    assert pool._count == 1


def idle(pool):
    """Wait until no worker has a call."""
    while len(pool._idle) < pool._count:
        threading.Event().wait(0.001)


@with_pool
def test_no_thread_keeps_the_process_from_ending(pool):
    assert call(pool, Lane(), lambda: threading.current_thread().daemon)


@with_pool
def test_calls_of_a_socket_run_one_at_a_time_and_in_their_order(pool):
    active, most, order = [], [], []

    def step(number):
        active.append(number)
        most.append(len(active))
        threading.Event().wait(0.0005)
        order.append(number)
        active.remove(number)

    lane = Lane()
    for item in [submit(pool, lane, step, number) for number in range(50)]:
        item.result(SECONDS)
    assert order == list(range(50)) and max(most) == 1


@with_pool
def test_two_sockets_run_in_parallel(pool):
    barrier = threading.Barrier(2)
    first, second = [submit(pool, lane, barrier.wait, SECONDS) for lane in (Lane(), Lane())]
    assert {first.result(SECONDS), second.result(SECONDS)} == {0, 1}


@with_pool
def test_a_socket_with_many_calls_lets_others_in_between(pool):
    gate, order = threading.Event(), []
    busy, other = Lane(), Lane()
    with override_settings(PISTOKE_DATABASE_THREADS=1):
        submit(pool, busy, gate.wait, SECONDS)
        calls = [submit(pool, busy, order.append, "busy {}".format(number)) for number in range(3)]
        calls.append(submit(pool, other, order.append, "other"))
        gate.set()
        for item in calls:
            item.result(SECONDS)
    assert order == ["other", "busy 0", "busy 1", "busy 2"]


@with_pool
def test_calls_from_nowhere_are_run_too(pool):
    barrier = threading.Barrier(2)
    calls = [pool.submit(barrier.wait, SECONDS) for _ in range(2)]
    assert {item.result(SECONDS) for item in calls} == {0, 1}


@with_pool
def test_many_sockets_and_threads_at_once_lose_no_call(pool):
    done = []
    lanes = [Lane() for _ in range(40)]

    def submitter(lanes):
        for number in range(25):
            for lane in lanes:
                submit(pool, lane, done.append, (lane, number))

    with override_settings(PISTOKE_DATABASE_THREADS=4):
        submitters = [threading.Thread(target=submitter, args=(lanes[start::4],)) for start in range(4)]
        for thread in submitters:
            thread.start()
        for thread in submitters:
            thread.join(SECONDS)
        for lane in lanes:
            call(pool, lane, int)
    assert len(done) == 1000
    for lane in lanes:
        assert [number for owner, number in done if owner is lane] == list(range(25))
    idle(pool)
    assert not pool._ready and pool._count <= 4


@with_pool
def test_a_cancelled_call_is_not_run_and_holds_nobody_up(pool):
    gate, ran = threading.Event(), []
    lane = Lane()
    submit(pool, lane, gate.wait, SECONDS)
    cancelled = submit(pool, lane, ran.append, "cancelled")
    after = submit(pool, lane, ran.append, "after")
    assert cancelled.cancel()
    gate.set()
    after.result(SECONDS)
    assert ran == ["after"]
    with pytest.raises(CancelledError):
        cancelled.result()


@with_pool
def test_a_call_under_way_cannot_be_cancelled_and_the_next_waits_for_it(pool):
    gate, begun = threading.Event(), threading.Event()
    lane = Lane()
    slow = submit(pool, lane, lambda: (begun.set(), gate.wait(SECONDS)))
    begun.wait(SECONDS)
    after = submit(pool, lane, gate.is_set)
    assert not slow.cancel()
    gate.set()
    assert after.result(SECONDS)


@with_pool
@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_whatever_a_call_raises_is_its_result_and_the_thread_goes_on(pool, exception):
    def fails():
        raise exception("oops")

    lane = Lane()
    with pytest.raises(exception, match="oops"):
        call(pool, lane, fails)
    with override_settings(PISTOKE_DATABASE_THREADS=1):
        assert call(pool, lane, name) == THREAD_NAME + "1"


@with_pool
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_refers_to_a_call_that_is_over(pool, fails):
    class Thing:
        pass

    def function(thing):
        if fails:
            raise ValueError
        return thing

    gc.collect()
    gc.disable()
    try:
        thing, lane = Thing(), Lane()
        reference = weakref.ref(thing)
        future = submit(pool, lane, function, thing)
        # (On Python 3.7 it is ``result()`` that makes a cycle.)
        assert (future.exception(SECONDS) is None) is not fails
        idle(pool)
        del future, thing
        assert reference() is None
    finally:
        gc.enable()


@with_pool
def test_others_do_the_work_where_the_system_has_no_more_threads(pool, monkeypatch):
    gate = threading.Event()
    slow = submit(pool, Lane(), gate.wait, SECONDS)
    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    waiting = submit(pool, Lane(), name)
    gate.set()
    assert slow.result(SECONDS) and waiting.result(SECONDS) == THREAD_NAME + "1"


def no_more_threads(thread):
    raise RuntimeError("can't start new thread")


@with_pool
def test_a_system_without_threads_is_an_error(pool, monkeypatch):
    lane = Lane()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError, match="can't start"):
            submit(pool, lane, name)
    assert call(pool, lane, name) == THREAD_NAME + "1"


@with_pool
def test_a_larger_setting_lets_the_pool_grow(pool):
    gate = threading.Event()
    with override_settings(PISTOKE_DATABASE_THREADS=1):
        slow = submit(pool, Lane(), gate.wait, SECONDS)
    with override_settings(PISTOKE_DATABASE_THREADS=2):
        assert call(pool, Lane(), name) == THREAD_NAME + "2"
    gate.set()
    slow.result(SECONDS)


# Transactions


@with_pool
def test_a_transaction_keeps_its_thread(pool, database):
    lane = Lane()
    atomic = call(pool, lane, begin)
    mine = call(pool, lane, name)
    others = {call(pool, Lane(), name) for _ in range(5)}
    assert {call(pool, lane, name) for _ in range(5)} == {mine}
    assert mine not in others
    call(pool, lane, end, atomic)
    idle(pool)
    assert lane.worker is None and call(pool, Lane(), name) == mine


@with_pool
def test_what_a_transaction_has_done_others_see_when_it_has_ended(pool, database):
    lane = Lane()
    atomic = call(pool, lane, begin)
    call(pool, lane, insert)
    assert call(pool, lane, count) == 1
    assert call(pool, Lane(), count) == 0
    call(pool, lane, end, atomic)
    assert call(pool, Lane(), count) == 1


@with_pool
def test_a_nested_transaction_keeps_the_thread_of_the_outer(pool, database):
    lane = Lane()
    outer = call(pool, lane, begin)
    inner = call(pool, lane, begin)
    call(pool, lane, end, inner)
    assert lane.worker is not None
    call(pool, lane, end, outer)
    idle(pool)
    assert lane.worker is None


@with_pool
def test_a_connection_without_autocommit_keeps_its_thread(pool, database):
    lane = Lane()
    call(pool, lane, transaction.set_autocommit, False, ALIAS)
    assert lane.worker is not None
    call(pool, lane, transaction.set_autocommit, True, ALIAS)
    idle(pool)
    assert lane.worker is None


@with_pool
def test_a_database_that_never_commits_by_itself_keeps_no_thread(pool, database):
    database["AUTOCOMMIT"] = False
    lane = Lane()
    call(pool, lane, count)
    idle(pool)
    assert lane.worker is None


@with_pool
def test_others_wait_where_a_transaction_has_the_only_thread(pool, database):
    lane = Lane()
    with override_settings(PISTOKE_DATABASE_THREADS=1):
        atomic = call(pool, lane, begin)
        waiting = submit(pool, Lane(), count)
        call(pool, lane, insert)
        assert not waiting.done()
        call(pool, lane, end, atomic)
        assert waiting.result(SECONDS) == 1


@with_pool
def test_calls_made_at_once_in_a_transaction_all_keep_its_thread(pool, database):
    lane, names = Lane(), []
    atomic = call(pool, lane, begin)
    calls = [submit(pool, lane, lambda: names.append(name())) for _ in range(20)]
    calls.append(submit(pool, lane, end, atomic))
    for item in calls:
        item.result(SECONDS)
    assert len(set(names)) == 1


@with_pool
def test_the_end_of_a_socket_rolls_back_what_it_left(pool, database):
    lane = Lane()
    call(pool, lane, begin)
    call(pool, lane, insert)
    pool.leave(lane)
    idle(pool)
    assert lane.worker is None
    assert call(pool, Lane(), count) == 0
    assert not call(pool, Lane(), lambda: connections[ALIAS].in_atomic_block)


@with_pool
def test_a_socket_that_ends_during_its_call_is_rolled_back_after_it(pool, database):
    gate, begun = threading.Event(), threading.Event()
    lane = Lane()
    call(pool, lane, begin)
    slow = submit(pool, lane, lambda: (begun.set(), gate.wait(SECONDS), insert()))
    begun.wait(SECONDS)
    pool.leave(lane)
    gate.set()
    slow.result(SECONDS)
    idle(pool)
    assert call(pool, Lane(), count) == 0


@with_pool
def test_the_end_of_a_socket_with_nothing_open_takes_no_thread(pool):
    lane = Lane()
    pool.leave(lane)
    assert pool._count == 0
    call(pool, lane, name)
    idle(pool)
    pool.leave(lane)
    assert not lane.calls


@with_pool
def test_a_connection_that_cannot_be_closed_keeps_no_thread(pool, database, caplog):
    def cannot_close():
        raise InterfaceError("cannot close")

    lane = Lane()
    call(pool, lane, begin)
    connection = call(pool, lane, lambda: connections[ALIAS])
    close = connection.close
    connection.close = cannot_close
    pool.leave(lane)
    idle(pool)
    assert lane.worker is None and "cannot close" in caplog.text
    assert call(pool, Lane(), lambda: connections[ALIAS]) is not connection
    connection.inc_thread_sharing()
    close()


# Server-side iterators


@with_pool
def test_an_open_iterator_keeps_its_thread(pool, database):
    lane = Lane()
    for model in "abc":
        call(pool, lane, insert, model)
    iterator = call(pool, lane, lambda: ContentType.objects.using(ALIAS).order_by("pk").iterator(chunk_size=1))
    assert call(pool, lane, next, iterator).model == "a"
    mine = call(pool, lane, name)
    assert mine not in {call(pool, Lane(), name) for _ in range(3)}
    assert [call(pool, lane, next, iterator).model for _ in range(2)] == ["b", "c"]
    assert call(pool, lane, name) == mine
    call(pool, lane, list, iterator)
    del iterator
    call(pool, lane, name)
    idle(pool)
    assert lane.worker is None


@with_pool
def test_an_iterator_that_is_dropped_gives_its_thread_back(pool, database, monkeypatch):
    for module in (database_module, threads):
        monkeypatch.setattr(module, "IDLE_SECOND", 0.01)
    lane = Lane()
    for model in "abc":
        call(pool, lane, insert, model)
    iterator = call(pool, lane, lambda: ContentType.objects.using(ALIAS).iterator(chunk_size=1))
    call(pool, lane, next, iterator)
    assert lane.worker is not None
    with override_settings(PISTOKE_DATABASE_THREADS=1):
        waiting = submit(pool, Lane(), count)
        threading.Event().wait(0.05)
        assert not waiting.done()
        del iterator
        gc.collect()
        assert waiting.result(SECONDS) == 3
    idle(pool)
    assert lane.worker is None and call(pool, lane, count) == 3


def test_a_worker_that_was_just_given_a_call_does_not_let_go():
    pool, lane = Pool(), Lane()
    worker = lane.worker = object()
    lane.busy = True
    assert pool.let_go(worker, lane) is None
    assert lane.worker is worker and not pool._idle


@with_pool
def test_the_end_of_a_socket_drops_its_iterator(pool, database):
    lane = Lane()
    call(pool, lane, insert)
    iterator = call(pool, lane, lambda: ContentType.objects.using(ALIAS).iterator(chunk_size=1))
    call(pool, lane, next, iterator)
    raw = call(pool, lane, lambda: connections[ALIAS].connection)
    pool.leave(lane)
    idle(pool)
    assert lane.worker is None
    assert call(pool, Lane(), lambda: connections[ALIAS].connection) is raw


@with_pool
def test_cursors_are_watched_once_however_often_a_connection_is_made(pool, database):
    def reconnect():
        connections[ALIAS].ensure_connection()
        watched = connections[ALIAS].chunked_cursor
        connections[ALIAS].close()
        connections[ALIAS].ensure_connection()
        return watched is connections[ALIAS].chunked_cursor

    assert call(pool, Lane(), reconnect)


def test_cursors_of_other_threads_are_not_watched(database):
    connections[ALIAS].ensure_connection()
    assert "chunked_cursor" not in vars(connections[ALIAS])


# Connections


class Clock:
    """A clock that stands still."""

    def __init__(self):
        self.now = 1000

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(threads, "time", clock)
    return clock


@pytest.fixture
def worker(monkeypatch, clock):
    """Return a worker whose work a test does itself, in its own thread."""
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
    return Worker(Pool(), 1)


@pytest.fixture
def connection(database):
    """Return an open connection of this thread."""
    connections[ALIAS].ensure_connection()
    return connections[ALIAS]


@pytest.mark.parametrize(("age", "seconds"), [(0, 1), (0.5, 1), (1, 1), (60, 60), (None, None)])
def test_a_connection_is_kept_as_long_as_the_setting_says_but_a_second_at_least(age, seconds, database):
    database["CONN_MAX_AGE"] = age
    assert database_module.seconds_to_idle(connections[ALIAS]) == seconds


@pytest.mark.parametrize("age", [0, 60])
def test_a_connection_is_closed_after_idling(age, database, connection, worker, clock):
    connection.settings_dict["CONN_MAX_AGE"] = age
    worker._after_call()
    clock.now += max(age, 1) - 0.01
    assert 0 < worker._seconds_to_wait() < 0.02
    worker._close_idle()
    assert is_open()
    clock.now += 0.01
    assert worker._seconds_to_wait() == 0
    worker._close_idle()
    assert not is_open()
    assert worker._seconds_to_wait() is None


def test_a_database_in_memory_is_kept(connection, worker, clock, monkeypatch):
    connection.settings_dict["CONN_MAX_AGE"] = 0
    monkeypatch.setattr(connection, "is_in_memory_db", lambda: True)
    clock.now += 10
    assert worker._seconds_to_wait() is None
    worker._close_idle()
    assert is_open()


def test_a_connection_that_is_kept_for_ever_is(connection, worker, clock):
    clock.now += 10 ** 6
    assert worker._seconds_to_wait() is None
    worker._close_idle()
    assert is_open()


def test_a_connection_in_a_transaction_does_not_idle(connection, worker, clock):
    connection.settings_dict["CONN_MAX_AGE"] = 0
    atomic = begin()
    clock.now += 10
    assert worker._seconds_to_wait() is None
    worker._close_idle()
    assert is_open()
    end(atomic)


@pytest.mark.parametrize(("idle", "asked"), [(0.9, 0), (1, 1)])
def test_a_connection_is_looked_at_after_an_idle_second(idle, asked, connection, worker, clock, monkeypatch):
    looks = []
    monkeypatch.setattr(connection, "is_usable", lambda: looks.append(True) or True)
    worker._after_call()
    clock.now += idle
    worker._check()
    assert len(looks) == asked and is_open()


def test_a_connection_is_looked_at_once_after_a_failure_elsewhere(connection, worker, monkeypatch):
    looks = []
    monkeypatch.setattr(connection, "is_usable", lambda: looks.append(True) or True)
    worker.pool.note_failure()
    worker._check()
    worker._check()
    assert len(looks) == 1


class Raw:
    """What a driver has of a connection: one end of a socket, whose other end is the database's."""

    def __init__(self):
        self.socket, self.database = socket.socketpair()
        self.fileno = self.socket.fileno

    def close(self):
        self.socket.close()
        self.database.close()


@pytest.fixture
def raw(connection, monkeypatch):
    """Return the driver's side of the connection."""
    monkeypatch.setattr(connection, "connection", Raw())
    yield connection.connection
    connection.connection.close()


@pytest.mark.parametrize("event", [socket.socket.close, lambda database: database.send(b"FATAL")])
def test_a_connection_is_looked_at_when_the_database_has_said_something_unasked(event, raw, connection, worker, monkeypatch):
    looks = []
    monkeypatch.setattr(connection, "is_usable", lambda: looks.append(True) or True)
    worker._check()
    assert len(looks) == 0
    event(raw.database)
    worker._check()
    assert len(looks) == 1


def test_a_connection_that_the_driver_knows_to_be_lost_is_looked_at(raw, connection):
    def fileno():
        raise InterfaceError("connection already closed")

    assert not database_module.has_news(connection)
    raw.fileno = fileno
    assert database_module.has_news(connection)


def test_a_file_descriptor_may_be_large(raw, connection):
    allow_files(2000)
    large = fcntl.fcntl(raw.socket, fcntl.F_DUPFD, 1500)
    raw.fileno = lambda: large
    try:
        assert not database_module.has_news(connection)
        raw.database.send(b"x")
        assert database_module.has_news(connection)
    finally:
        os.close(large)


class Pooled:
    """A connection to a database whose connections Django's own pool lends."""

    in_atomic_block = errors_occurred = False
    autocommit = True

    def __init__(self, *lends):
        self.settings_dict = {"OPTIONS": {"pool": True}, "AUTOCOMMIT": True, "CONN_MAX_AGE": 0}
        self.lends = list(lends)
        self.connection = self.lends.pop(0)

    def is_usable(self):
        return self.connection != "broken"

    def close(self):
        self.connection = None

    def connect(self):
        self.connection = self.lends.pop(0)
        threads.look_at_pooled(self)


def test_a_connection_of_a_pool_is_given_back_after_each_call(worker, monkeypatch):
    connection = Pooled("good")
    monkeypatch.setattr("pistoke.database.thread_connections", lambda: [connection])
    connection.in_atomic_block = True
    assert worker._after_call() is True and connection.connection == "good"
    connection.in_atomic_block = False
    assert worker._after_call() is False and connection.connection is None


def test_a_connection_of_a_pool_that_has_failed_is_given_back_too(worker, monkeypatch):
    connection = Pooled("broken")
    monkeypatch.setattr("pistoke.database.thread_connections", lambda: [connection])
    connection.errors_occurred = True
    assert worker._after_call() is False and connection.connection is None and worker.pool.failures == 1


@pytest.mark.parametrize(("doubtful", "gets"), [(True, "good"), (False, "broken")])
def test_what_a_pool_lends_is_looked_at_where_there_is_reason(doubtful, gets, worker, monkeypatch):
    monkeypatch.setattr(threads, "_running", types.SimpleNamespace(worker=worker, doubtful=doubtful))
    connection = Pooled("broken", "broken", "good")
    threads.look_at_pooled(connection)
    assert connection.connection == gets


def test_what_a_pool_lends_to_others_is_none_of_our_business(monkeypatch):
    connection = Pooled("broken", "good")
    threads.look_at_pooled(connection)
    assert connection.connection == "broken"


def test_a_connection_that_does_not_work_is_closed(connection, worker, clock, monkeypatch):
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    clock.now += 1
    worker._check()
    assert not is_open() and worker.pool.failures == 1


def test_an_error_is_looked_into(connection, worker, monkeypatch):
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    connection.errors_occurred = True
    assert worker._after_call() is False
    assert not is_open() and worker.pool.failures == 1


def test_an_error_that_is_only_one_of_a_query_closes_nothing(connection, worker):
    connection.errors_occurred = True
    assert worker._after_call() is False
    assert is_open() and worker.pool.failures == 0 and not connection.errors_occurred


def test_an_error_in_a_transaction_is_left_to_it(connection, worker, monkeypatch):
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    atomic = begin()
    connection.errors_occurred = True
    assert worker._after_call() is True
    assert is_open() and worker.pool.failures == 0
    end(atomic)


def test_a_driver_that_fails_is_logged_and_survived(connection, worker, clock, monkeypatch, caplog):
    def fails():
        raise InterfaceError("oops")

    monkeypatch.setattr(connection, "is_usable", fails)
    clock.now += 1
    assert worker._guarded(worker._check) is False
    assert "could not be looked after" in caplog.text and "oops" in caplog.text


@with_pool
def test_an_idle_connection_is_closed_in_its_own_thread(pool, database, monkeypatch):
    for module in (database_module, threads):
        monkeypatch.setattr(module, "IDLE_SECOND", 0.01)
    database["CONN_MAX_AGE"] = 0
    closed = threading.Event()

    def watch():
        connection = connections[ALIAS]
        connection.ensure_connection()
        close = connection.close
        connection.close = lambda: (close(), closed.set())
        return connection

    connection = call(pool, Lane(), watch)
    assert closed.wait(SECONDS)
    assert connection.connection is None


@with_pool
def test_a_connection_is_shared_by_sockets_and_not_closed_after_each_call(pool, database):
    def raw():
        connections[ALIAS].ensure_connection()
        return connections[ALIAS].connection

    assert call(pool, Lane(), raw) is call(pool, Lane(), raw) is not None


@with_pool
def test_a_lost_connection_costs_the_call_that_meets_it_and_no_other(pool, database):
    """Each of three threads has a connection, and the database is restarted."""
    barrier = threading.Barrier(3)
    alive = [threading.Event() for _ in range(3)]

    def connect():
        connections[ALIAS].ensure_connection()
        alive_here = alive[barrier.wait(SECONDS)]
        alive_here.set()
        connections[ALIAS].is_usable = alive_here.is_set

    def query():
        if not connections[ALIAS].is_usable():
            connections[ALIAS].errors_occurred = connections[ALIAS].connection is not None
            if connections[ALIAS].errors_occurred:
                raise OperationalError("server closed the connection unexpectedly")
            connections[ALIAS].ensure_connection()
            connections[ALIAS].is_usable = lambda: True
        return "result"

    with override_settings(PISTOKE_DATABASE_THREADS=3):
        for item in [submit(pool, Lane(), connect) for _ in range(3)]:
            item.result(SECONDS)
        idle(pool)
        for item in alive:
            item.clear()
        with pytest.raises(OperationalError):
            call(pool, Lane(), query)
        idle(pool)
        gate = threading.Barrier(3)
        calls = [submit(pool, Lane(), lambda: (gate.wait(SECONDS), query())[1]) for _ in range(3)]
        assert [item.result(SECONDS) for item in calls] == ["result"] * 3


# Sockets


async def run(view):
    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.closed == 1000, server.sent


@with_pool
async def test_the_synchronous_code_of_a_socket_runs_in_the_pool(pool):
    async def view(request):
        assert (await sync_to_async(name)()).startswith(THREAD_NAME)
        assert (await asyncio.ensure_future(sync_to_async(name)())).startswith(THREAD_NAME)

    await run(view)


@with_pool
async def test_it_does_not_where_tests_say_so():
    async def view(request):
        assert not (await sync_to_async(name)()).startswith(THREAD_NAME)

    handler = WebsocketHandler()
    handler.use_database_threads = False
    server = Server("/view/")
    with urls(view=view):
        await server.run(handler)
    assert server.closed == 1000


@with_pool
async def test_a_transaction_of_a_view_keeps_its_thread(pool, database):
    async def view(request):
        atomic = await sync_to_async(begin)()
        await sync_to_async(insert)()
        names = {await sync_to_async(name)() for _ in range(3)}
        assert len(names) == 1
        await sync_to_async(end)(atomic)

    await run(view)
    assert call(pool, Lane(), count) == 1


@with_pool
async def test_a_view_that_leaves_a_transaction_is_rolled_back(pool, database):
    async def view(request):
        await sync_to_async(begin)()
        await sync_to_async(insert)()

    await run(view)
    idle(pool)
    assert call(pool, Lane(), count) == 0


@with_pool
async def test_calls_of_two_sockets_run_in_parallel(pool):
    barrier = threading.Barrier(2)

    async def view(request):
        await sync_to_async(barrier.wait)(SECONDS)

    await asyncio.gather(run_many(view, 2))


async def run_many(view, number):
    handler = WebsocketHandler()
    servers = [Server("/view/") for _ in range(number)]
    with urls(view=view):
        await asyncio.gather(*[server.run(handler) for server in servers])
    assert {server.closed for server in servers} == {1000}


@with_pool
async def test_many_sockets_share_few_threads(pool):
    names = set()

    async def view(request):
        for _ in range(5):
            names.add(await sync_to_async(name)())
            await asyncio.sleep(0)

    with override_settings(PISTOKE_DATABASE_THREADS=2):
        await run_many(view, 30)
    assert len(names) <= 2 and pool._count <= 2


@with_pool
async def test_async_code_called_from_a_thread_may_call_sync_code(pool):
    async def inner():
        # Before version 3.8 asgiref forgets in another task which thread waits for it.
        number = 2 if HAS_LOCALS_IN_CONTEXT else 0
        return await sync_to_async(name)(), await asyncio.gather(*[sync_to_async(name)() for _ in range(number)])

    def outer():
        return name(), async_to_sync(inner)()

    async def view(request):
        outside, (inside, both) = await sync_to_async(outer)()
        assert {inside, *both} == {outside}

    with override_settings(PISTOKE_DATABASE_THREADS=1):
        await asyncio.wait_for(run(view), SECONDS)


@with_pool
async def test_an_event_loop_of_its_own_in_a_thread_does_not_hang(pool):
    def outer():
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(sync_to_async(name)())
        finally:
            loop.close()

    async def view(request):
        with pytest.raises(RuntimeError, match=r"expected async_to_sync\(\) in synchronous code of a socket"):
            await sync_to_async(outer)()
        assert await sync_to_async(name)()

    await asyncio.wait_for(run(view), SECONDS)


@with_pool
async def test_a_cancelled_view_may_clean_up_in_its_thread(pool, database):
    begun, gate = threading.Event(), threading.Event()
    order = []

    async def view(request):
        try:
            await sync_to_async(lambda: (begun.set(), gate.wait(SECONDS), order.append("call")))()
        finally:
            await sync_to_async(order.append)("clean-up")

    server = Server("/view/")
    with urls(view=view):
        task = server.start(WebsocketHandler())
        await until(begun.is_set)
        server.leave()
        await asyncio.sleep(0.01)
        gate.set()
        await asyncio.wait_for(task, SECONDS)
    assert order == ["call", "clean-up"]


def compute():
    """Keep a thread busy for longer than it takes to begin."""
    return sum(range(20000))


class TestStandStill:
    """The event loop waits for short calls, and only for those."""

    @pytest.fixture(autouse=True)
    def patience(self, monkeypatch):
        """Take no call for a long one because the machine has other work."""
        monkeypatch.setattr(threads, "SHORT", SECONDS)

    def test_short_call_has_ended_when_it_was_submitted(self, pool):
        assert pool.submit(compute).done()

    def test_nobody_waits_for_a_long_call(self, pool, monkeypatch):
        monkeypatch.setattr(threads, "SHORT", 0.002)
        gate = threading.Event()
        long = pool.submit(gate.wait, SECONDS)
        assert not long.done()
        gate.set()
        assert long.result(SECONDS)

    @with_pool
    def test_after_long_calls_fewer_and_fewer_are_waited_for(self, pool, monkeypatch):
        monkeypatch.setattr(threads, "SHORT", 0.002)
        gate = threading.Event()
        long = [pool.submit(gate.wait, SECONDS) for _ in range(3)]  # the first and the third are waited for
        monkeypatch.setattr(threads, "SHORT", SECONDS)
        later = [pool.submit(gate.wait, SECONDS) for _ in range(2)]
        assert not any(future.done() for future in long + later)
        gate.set()
        assert pool.submit(compute).done()
        assert pool.submit(compute).done()

    @with_pool
    def test_after_so_many_long_calls_one_is_waited_for_all_the_same(self, pool, monkeypatch):
        monkeypatch.setattr(threads, "CALLS_AFTER_LONG", 2)
        for _ in range(1 + 1 + 1 + 2 + 1 + 2):
            pool.submit(time.sleep, 0.001)
        patience = pool._patience
        assert (patience._unawaited, patience._after_long) == (0, 2)

    @with_pool
    def test_a_call_that_mostly_waits_is_none_to_wait_for(self, pool):
        assert pool.submit(time.sleep, 0.01).done()
        gate = threading.Event()
        far = pool.submit(gate.wait, SECONDS)
        assert not far.done()
        gate.set()

    def test_call_that_raises_is_waited_for_too(self, pool):
        future = pool.submit(lambda: 1 / 0)
        assert future.done()
        with pytest.raises(ZeroDivisionError):
            future.result()

    @with_pool
    async def test_what_is_done_is_gone_on_with_at_once(self, pool):
        threads.enter(Lane())
        ticks = []
        asyncio.get_event_loop().call_soon(ticks.append, "turn")
        assert await sync_to_async(compute)() and not ticks

    @with_pool
    async def test_a_view_of_short_calls_lets_the_event_loop_have_its_turns(self, pool):
        threads.enter(Lane())
        ticks = []
        asyncio.get_event_loop().call_soon(ticks.append, "turn")
        for _ in range(threads.AT_ONCE + 1):
            assert await sync_to_async(compute)()
        assert ticks


@pytest.mark.skipif(HAS_THREAD_SENSITIVE_CONTEXT, reason="this is for Python 3.6")
async def test_there_is_one_thread_for_all_sockets_without_contexts(pool):
    names = set()

    async def view(request):
        names.add(await sync_to_async(name)())

    await run_many(view, 3)
    assert names == {THREAD_NAME + "1"}
