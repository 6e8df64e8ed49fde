"""Driving a view: its steps, its end when the client has gone, and who cancelled it."""
import asyncio
import contextlib
import logging

import pytest
from django.test import override_settings

from pistoke.driver import Driver, run_in
from pistoke.socket import Socket

from .asgi import Server
from .faults import turns

try:
    import contextvars
except ImportError:
    contextvars = None


async def driven(grace=None):
    """Return a server, an open socket and a driver of its view."""
    server = Server()
    server._inbound.get_nowait()
    socket = Socket(server.receive, server.send)
    await socket.accept()
    driver = Driver(socket, grace)
    driver.name = "tests.view"
    return server, socket, driver


@contextlib.contextmanager
def driving(driver, view, **kwargs):
    """Drive a view in a task; see that it ends."""

    async def application():
        return await driver.run(view, **kwargs)

    task = asyncio.ensure_future(application())
    yield task
    assert task.done()


async def end_of(task):
    """Wait for the end of a task, whatever it is; return whether it was cancelled."""
    await asyncio.wait([task], timeout=10)
    return task.cancelled()


async def wait_for_ever():
    await asyncio.sleep(60)


# Steps


async def test_the_result_of_the_view_is_returned():
    server, socket, driver = await driven()

    async def view():
        await asyncio.sleep(0)
        return 17

    assert await driver.run(view()) == 17
    await socket.stop_reading()


async def test_the_exception_of_the_view_is_passed_on():
    server, socket, driver = await driven()

    async def view():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await driver.run(view())
    assert not driver.interrupted and not driver.ended_view


async def test_exceptions_of_what_the_view_awaits_reach_it():
    server, socket, driver = await driven()

    async def fail():
        await asyncio.sleep(0)
        raise KeyError("x")

    async def view():
        with pytest.raises(KeyError):
            await asyncio.ensure_future(fail())
        return "caught"

    assert await driver.run(view()) == "caught"
    await socket.stop_reading()


async def test_the_view_runs_in_the_servers_own_task():
    server, socket, driver = await driven()
    current_task = getattr(asyncio, "current_task", None) or asyncio.Task.current_task

    async def view():
        return current_task()

    assert await driver.run(view()) is current_task()


@pytest.mark.skipif(contextvars is None, reason="contexts came with Python 3.7")
async def test_the_view_runs_in_the_context_it_is_given():
    server, socket, driver = await driven()
    variable = contextvars.ContextVar("variable", default="outside")
    driver.context = contextvars.copy_context()
    driver.context.run(variable.set, "inside")
    seen = []

    async def view():
        seen.append(variable.get())
        await asyncio.sleep(0)
        seen.append(variable.get())
        with pytest.raises(KeyError):
            await asyncio.ensure_future(fail())
        seen.append(variable.get())

    async def fail():
        raise KeyError

    await driver.run(view())
    assert seen == ["inside"] * 3 and variable.get() == "outside"
    await socket.stop_reading()


def test_a_function_is_run_in_a_context_or_here():
    assert run_in(None, int, "7") == 7
    if contextvars is not None:
        assert run_in(contextvars.copy_context(), int, "7") == 7


async def test_the_socket_knows_when_the_view_itself_is_running():
    server, socket, driver = await driven()
    seen = []

    async def other():
        seen.append(socket.stepping)

    async def view():
        seen.append(socket.stepping)
        await asyncio.ensure_future(other())
        seen.append(socket.stepping)

    await driver.run(view())
    assert seen == [True, False, True] and not socket.stepping
    await socket.stop_reading()


async def test_somebody_reads_when_the_view_waits_for_something_else():
    server, socket, driver = await driven()

    async def view():
        await turns(4)
        return socket.attended

    assert await driver.run(view()) is True
    await socket.stop_reading()


async def test_nobody_reads_when_the_view_itself_does():
    server, socket, driver = await driven()
    server.say("x")
    with driving(driver, socket.receive()) as task:
        await end_of(task)
    assert task.result() == "x" and socket._reader is None


async def test_what_comes_before_the_view_is_let_alone():
    server, socket, driver = await driven()
    server.leave()
    assert await driver.run(asyncio.sleep(0.01, "done"), attended=True) == "done"
    assert server.receives == 0


async def test_a_view_that_is_closed_is_closed_within():
    server, socket, driver = await driven()
    ended = []

    async def view():
        try:
            await wait_for_ever()
        finally:
            ended.append(True)

    running = driver.run(view())
    running.send(None)
    running.close()
    assert ended
    await turns(2)


# The client leaves


async def test_a_view_that_has_read_nothing_is_cancelled_at_once():
    server, socket, driver = await driven(grace=60)
    with driving(driver, wait_for_ever()) as task:
        await turns(3)
        server.leave()
        assert await end_of(task)
    assert driver.ended_view and not driver.interrupted


async def test_a_view_that_reads_has_a_grace():
    server, socket, driver = await driven(grace=0.05)
    socket.has_read = True
    with driving(driver, wait_for_ever()) as task:
        await turns(3)
        server.leave()
        await turns(10)
        assert not task.done()
        assert await end_of(task)


async def test_a_view_that_ends_within_its_grace_is_not_cancelled():
    server, socket, driver = await driven(grace=60)
    socket.has_read = True

    async def view():
        await turns(10)
        return "finished"

    with driving(driver, view()) as task:
        await turns(2)
        server.leave()
        await end_of(task)
    assert task.result() == "finished" and not driver.ended_view


async def test_a_view_that_has_closed_has_a_grace():
    server, socket, driver = await driven(grace=0.01)

    async def view():
        await socket.close(4000)
        await wait_for_ever()

    with driving(driver, view()) as task:
        assert await end_of(task)
    assert driver.ended_view and server.closed == 4000


async def test_a_view_ends_that_waits_for_a_client_that_does_not_answer_its_close():
    server, socket, driver = await driven(grace=0.01)
    with driving(driver, socket.receive()) as task:
        await turns(3)
        await socket.close(4000)
        assert await end_of(task)


async def test_a_view_that_swallows_its_cancellation_is_cancelled_once_more():
    server, socket, driver = await driven(grace=0.01)
    cancelled = []

    async def view():
        for _ in range(2):
            try:
                await wait_for_ever()
            except asyncio.CancelledError:
                cancelled.append(True)
        return "at last"

    with driving(driver, view()) as task:
        await turns(3)
        server.leave()
        await end_of(task)
    assert task.result() == "at last" and len(cancelled) == 2


async def test_a_view_that_still_runs_then_is_named_in_the_log(caplog):
    server, socket, driver = await driven(grace=0.01)

    async def view():
        while not caplog.records:
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                pass

    with driving(driver, view()) as task:
        await turns(3)
        server.leave()
        await end_of(task)
    record, = caplog.records
    assert (record.name, record.levelno) == ("pistoke", logging.ERROR)
    message = record.getMessage()
    assert message.startswith("tests.view still runs although its client has left and it was cancelled twice, 0.1 s")


@pytest.mark.parametrize(
    ("code", "seconds"), [(1001, 0.5), (1006, 0.5), (1012, 0.25)]
)
async def test_the_grace_is_in_the_settings(code, seconds):
    server, socket, driver = await driven()
    socket.received({"type": "websocket.disconnect", "code": code})
    with override_settings(PISTOKE_DISCONNECT_GRACE=0.5, PISTOKE_SHUTDOWN_GRACE=0.25):
        assert driver._seconds() == seconds


async def test_the_timer_ends_with_the_view():
    server, socket, driver = await driven(grace=60)
    socket.has_read = True
    with driving(driver, turns(10)) as task:
        await turns(2)
        server.leave()
        await end_of(task)
    assert driver._timer is not None
    assert getattr(driver._timer, "_cancelled", True)


# Who cancelled it


async def test_a_cancellation_of_the_servers_is_told_from_ours():
    server, socket, driver = await driven()
    with driving(driver, wait_for_ever()) as task:
        await turns(3)
        task.cancel()
        assert await end_of(task)
    assert driver.interrupted and not driver.ended_view
    await socket.stop_reading()


async def test_a_view_that_cancels_itself_was_not_cancelled():
    server, socket, driver = await driven()

    async def view():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await driver.run(view())
    assert not driver.interrupted and not driver.ended_view


async def test_a_swallowed_cancellation_of_the_servers_did_not_end_the_view():
    server, socket, driver = await driven()

    async def view():
        try:
            await wait_for_ever()
        except asyncio.CancelledError:
            return "swallowed"

    with driving(driver, view()) as task:
        await turns(3)
        task.cancel()
        await end_of(task)
    assert task.result() == "swallowed" and not driver.interrupted
    await socket.stop_reading()


async def test_the_end_of_a_reading_task_of_the_views_is_no_cancellation_of_the_servers():
    server, socket, driver = await driven(grace=60)

    async def view():
        await asyncio.ensure_future(socket.receive())

    with driving(driver, view()) as task:
        await turns(3)
        server.leave()
        await end_of(task)
    assert not driver.interrupted


@pytest.mark.skipif(not hasattr(asyncio.Task, "uncancel"), reason="tasks count cancellations from Python 3.11 on")
async def test_our_cancellations_are_taken_back():
    server, socket, driver = await driven()

    async def application():
        with pytest.raises(asyncio.CancelledError):
            await driver.run(wait_for_ever())
        return asyncio.current_task().cancelling()

    task = asyncio.ensure_future(application())
    await turns(3)
    server.leave()
    assert await asyncio.wait_for(task, 10) == 0


@pytest.mark.skipif(not hasattr(asyncio, "timeout"), reason="time-outs of blocks came with Python 3.11")
async def test_a_time_out_of_the_views_own_is_no_cancellation():
    server, socket, driver = await driven()

    async def view():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await socket.receive()
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await driver.run(view())
    assert not driver.interrupted
    await socket.stop_reading()
