"""Every step can fail: each call of the server's in turn, and each turn of the event loop.

A scenario is run again and again, with a fault at the first, second, third … call that the application makes of its server,
until a run has fewer calls than that; then with the fault at each turn of the event loop. Whatever happens, the same things
hold afterwards: no task is left, the view's ``finally`` ran once, a view that reads got all that was handed out, in order,
the server was told how it ends, in an order that ASGI allows, and the log is silent but for the view's own error.
"""
import asyncio
import gc
import itertools
import os
import threading

import pytest
from asgiref.sync import sync_to_async

from pistoke.connection import Connection, State
from pistoke.handler import WebsocketHandler

from .conftest import pending_tasks
from .faults import FAULTS, FAULTS_OF_ANY_MOMENT, FaultyServer, Granian, turns
from .scenarios import SCENARIOS, Journal

#: More calls, or turns, than any scenario makes: a sweep that gets here goes round in circles.
TOO_MANY = 400


class Handler(WebsocketHandler):
    enforce_csrf_checks = False
    # One thread: what is still under way in it when a run has ended can be waited for.
    use_database_threads = False


# Running one


async def run_once(scenario, fault=None, at=0, pace=0, turn=None, granian=False, handler=Handler):
    """Run a scenario once, with a fault at a call or at a turn of the event loop; return server and journal."""
    server = FaultyServer("/view/", fault, at, pace, **scenario.scope)
    server.others = pending_tasks(asyncio.get_event_loop())
    server.say(*scenario.says)
    if scenario.leaves:
        server.leave(1001)
    journal, handler = Journal(), handler()
    handler.disconnect_grace = scenario.grace
    receive = Granian(server).receive if granian else server.receive
    with scenario.routes(journal):
        server.task = asyncio.ensure_future(handler(server.scope, receive, server.send))
        if turn is not None:
            await turns(turn)
            if not server.task.done():
                server.at = -1
                await fault(server, "turn")
        done, _ = await asyncio.wait([server.task], timeout=5)
        assert done, "the application hangs: sent {}, read {}".format(server.types, journal.read)
    if scenario.logs:
        await sync_to_async(int)()
    await turns(10)
    return server, journal


def check(scenario, server, journal, records):
    """Look whether everything holds that always does."""
    left = [task for task in pending_tasks(asyncio.get_event_loop()) if task not in server.others]
    assert not left, "tasks left: {}".format(left)
    assert journal.entered == journal.left <= 1
    check_outcome(server)
    check_reading(server, journal, scenario)
    check_events(server)
    check_log(scenario, server, records)


def check_outcome(server):
    """The application ends as it was asked to, and raises nothing."""
    if server.task.cancelled():
        assert server.cancelled, "the application cancelled itself"
    else:
        error = server.task.exception()
        assert error is None or server.calls == 1, repr(error)


def check_reading(server, journal, scenario):
    """What was read is what was handed out, from its beginning; all of it where the view read to the end."""
    handed = [message for message in server.handed if message != "{}"]
    assert journal.read == handed[:len(journal.read)]
    if journal.to_end and scenario.code is None:
        assert journal.read == handed


def check_events(server):
    """What was sent is what ASGI allows, and the client is not left without an answer."""
    model = Connection()
    for event in server.attempted:
        model.sending(event)
    if not server.gone and server.send_failure is None and server.calls > 1:
        assert model.application is State.DISCONNECTED, "left hanging: {}".format(server.types)


def check_log(scenario, server, records):
    """Only the view's own error is logged, and once."""
    messages = [record.getMessage() for record in records]
    assert len(messages) <= scenario.logs, messages


def check_untouched(scenario, server, journal, records):
    """Look whether a run without a fault ends as it should."""
    assert server.closed == scenario.code or (server.types[0] != "accept" and scenario.code is None)
    assert len(records) == scenario.logs
    if scenario.whole:
        assert len(journal.read) == len([message for message in scenario.says if message != "{}"])
    assert not server.task.cancelled()


def check_cancelled(scenario, server, journal):
    """A client that is still there is told of a restart, unless the view had ended already."""
    codes = {1012, scenario.code}
    assert server.told in codes or "accept" not in server.types or server.gone, server.types


async def run_sweep(scenario, fault, caplog, pace=0, granian=False):
    """Inject a fault at every call in turn."""
    for at in itertools.count(1):
        assert at < TOO_MANY
        caplog.clear()
        server, journal = await run_once(scenario, fault, at, pace, granian=granian)
        try:
            check(scenario, server, journal, caplog.records)
            if server.calls < at:
                check_untouched(scenario, server, journal, caplog.records)
                break
            if server.cancelled:
                check_cancelled(scenario, server, journal)
        except AssertionError as error:
            raise AssertionError(
                "at call {} of {}: {}\nsent {} {}\nhanded {} read {}".format(
                    at, server.calls, error, server.types, server.closed, server.handed, journal.read
                )
            ) from error


async def run_sweep_of_turns(scenario, fault, caplog, pace=0, granian=False):
    """Inject a fault at every turn of the event loop."""
    for turn in range(60):
        caplog.clear()
        server, journal = await run_once(scenario, fault, 0, pace, turn, granian)
        try:
            check(scenario, server, journal, caplog.records)
            if server.at == 0:
                check_untouched(scenario, server, journal, caplog.records)
                break
            if server.cancelled:
                check_cancelled(scenario, server, journal)
        except AssertionError as error:
            raise AssertionError(
                "at turn {}: {}\nsent {} {}\nhanded {} read {}".format(
                    turn, error, server.types, server.closed, server.handed, journal.read
                )
            ) from error


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind():
    """Collect what was forgotten while the warnings about it are still errors; count threads and open files."""
    files, others = open_files(), threading.active_count()
    yield
    gc.collect()
    # The one thread in which all synchronous code runs may be new.
    assert threading.active_count() <= others + 1
    assert open_files() <= files


def open_files():
    """Return how many files this process has open, zero where the system does not say."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.mark.parametrize("pace", [0, 2])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_every_call_can_fail(name, fault, pace, caplog):
    await run_sweep(SCENARIOS[name], fault, caplog, pace)


@pytest.mark.parametrize("fault", FAULTS_OF_ANY_MOMENT, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_every_turn_can_be_the_last(name, fault, caplog):
    await run_sweep_of_turns(SCENARIOS[name], fault, caplog, pace=1)


# Granian itself cancels nobody; once is what a time-out around the application may do.
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if "twice" not in fault.__name__], ids=lambda fault: fault.__name__
)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
async def test_every_call_can_fail_where_only_one_task_may_read(name, fault, caplog):
    await run_sweep(SCENARIOS[name], fault, caplog, pace=1, granian=True)
