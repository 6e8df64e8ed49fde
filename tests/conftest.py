"""What all tests share: coroutine tests, each in an event loop of its own that must be left as it was found."""
import asyncio
import inspect

import pytest

from tests import services

try:
    import contextvars
except ImportError:
    # Python 3.6 has none.
    contextvars = None
#: Where tests start processes (servers, browsers) and wait for them. On a busy machine one now and then is too slow.
WITH_PROCESSES = (
    "servers", "browser", "dependents", "readme", "runserver", "live", "benchmarks", "broker", "reliability", "fuzz",
    "plugin", "deployment", "tutorial", "howto",
)

#: What depends on the Python so little that one run of it is enough: the matrix leaves it out.
ONCE = (
    "browser", "deployment", "test_benchmarks", "test_packaging", "test_bridge_others", "test_from_channels",
    "test_page_on_testing", "test_docs_site", "test_howto", "test_monitoring",
    "test_tutorial", "test_redis_broker_access", "test_broker_losses",
)


def pytest_collection_modifyitems(items):
    """Give a test of other processes a second chance; the summary says how many have taken it."""
    for item in items:
        path = item.nodeid.partition("::")[0]
        if any(name in path for name in ONCE):
            item.add_marker(pytest.mark.once)
        if any(name in path for name in WITH_PROCESSES):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


@pytest.fixture(scope="session")
def postgresql():
    """Return a PostgreSQL of this test session."""
    yield from services.running(services.PostgreSQL)


@pytest.fixture(scope="session")
def redis():
    """Return a Redis of this test session."""
    yield from services.running(services.Redis)


def pytest_pyfunc_call(pyfuncitem):
    """Run an ``async def`` test function."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if contextvars is None or pyfuncitem.get_closest_marker("django_db"):
        run(test)
    else:
        # An older asgiref lets what one context sets (a language, say) be seen in that which it was copied from.
        contextvars.Context().run(run, test)
    return True


def run(test, seconds=60):
    """Run a coroutine to its end, in a loop of its own."""
    run_in(asyncio.new_event_loop(), asyncio.wait_for(test, seconds))


def run_in(loop, coroutine):
    """Run a coroutine to its end, and close the loop; return its result.

    Fails where it leaves tasks or reports to the loop's exception handler behind.
    """
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    asyncio.set_event_loop(loop)
    try:
        result = loop.run_until_complete(coroutine)
        left = pending_tasks(loop)
    finally:
        for task in pending_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
    assert not left, "tasks left behind: {}".format(left)
    assert not reports, "reported to the event loop: {}".format(reports)
    return result


def pending_tasks(loop):
    """Return the tasks of a loop that have not ended."""
    all_tasks = getattr(asyncio, "all_tasks", None) or asyncio.Task.all_tasks
    return [task for task in all_tasks(loop) if not task.done()]
