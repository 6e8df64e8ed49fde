"""Every step can fail in a view that is busy with its database, in the threads of a pool.

As in ``test_faults.py``; and afterwards no transaction is open and none was torn, no thread belongs to the socket that has
ended, and there are no more threads, connections and files than before.
"""
import itertools
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from pistoke.database import connected, has_open_work
from pistoke.handler import WebsocketHandler
from pistoke.threads import Lane

from .faults import FAULTS
from .scenarios import Scenario
from .test_chain import until
from .test_faults import TOO_MANY, check, open_files, run_once
from .test_threads import ALIAS, begin, call, count, database, end, insert, pool, with_pool  # noqa: F401

pytestmark = with_pool


class Handler(WebsocketHandler):
    enforce_csrf_checks = False


numbers = itertools.count()


def insert_one():
    insert(str(next(numbers)))


def insert_two():
    with transaction.atomic(using=ALIAS):
        insert_one()
        insert_one()


async def in_one_call(request, journal):
    """Have a transaction in each call of a thread."""
    async for message in request:
        journal.read.append(message)
        await sync_to_async(insert_two)()
        await request.send(message)
    journal.to_end = True


async def over_calls(request, journal):
    """Have one transaction over several calls, and wait for messages meanwhile."""
    atomic = await sync_to_async(begin)()
    try:
        async for message in request:
            journal.read.append(message)
            await sync_to_async(insert_one)()
            await request.send(message)
            await sync_to_async(insert_one)()
        journal.to_end = True
    except BaseException as exc:
        await sync_to_async(atomic.__exit__)(type(exc), exc, None)
        raise
    await sync_to_async(end)(atomic)


async def left_open(request, journal):
    """Leave a transaction open."""
    await sync_to_async(begin)()
    await sync_to_async(insert_one)()
    async for message in request:
        journal.read.append(message)


SCENARIOS = {
    "in one call": Scenario(in_one_call),
    "over calls": Scenario(over_calls, whole=False),
    "left open": Scenario(left_open, whole=False),
}


def idle(pool):  # noqa: F811
    """Return whether no thread has anything to do."""
    return len(pool._idle) == pool._count and not pool._ready


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_every_call_can_fail(name, fault, caplog, pool, database, monkeypatch):  # noqa: F811
    scenario, before = SCENARIOS[name], threading.active_count()
    files = open_files()
    for at in itertools.count(1):
        assert at < TOO_MANY
        caplog.clear()
        server, journal = await run_once(scenario, fault, at, handler=Handler)
        await until(lambda: idle(pool))
        check(scenario, server, journal, caplog.records)
        assert call(pool, Lane(), count) % 2 == 0, "a transaction was torn"
        assert not call(pool, Lane(), lambda: any(has_open_work(item) for item in connected()))
        if server.calls < at:
            break
    # A socket has one call at a time.
    assert pool._count <= 2
    assert threading.active_count() <= before + pool._count
    # Each thread has a connection: a database in a file is one file, and one more for a transaction.
    assert open_files() <= files + 2 * pool._count
