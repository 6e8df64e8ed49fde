"""A server that runs for as many tests as need it, and is looked after between them."""

import re
import uuid

import pytest

from tests.parts import require

from . import harness, kinds


def pytest_configure(config):
    """Register the marks of these tests."""
    config.addinivalue_line("markers", "logs(pattern, …): what the server or Django may log during the test")
    # What docs/servers.md is made of, by table.py.
    config.addinivalue_line("markers", "behaviour(sentence): what a test asks of each server, in the words of the table")
    config.addinivalue_line("markers", "limit(server, …, reason, remedy): servers that cannot do this, and are not asked to")
    config.addinivalue_line("markers", "differs(server, …, reason, remedy): servers that do this in a way of their own")
    config.addinivalue_line("markers", "workaround(server, …, reason, remedy): servers that need our help for this")


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """Return a directory with the database of the project."""
    directory = tmp_path_factory.mktemp("project")
    harness.prepare(directory)
    return directory


def required(kind):
    """Skip or fail where a server is missing."""
    require(kind.name, kind.present(), "pip install {}".format(kind.package), exists=kind.exists)
    require("a client", harness.importable("websockets"), "pip install websockets")


def directory_of(kind, database, tmp_path_factory):
    """Return a directory for a server, with its own copy of the database."""
    directory = tmp_path_factory.mktemp(kind.name)
    (directory / "db.sqlite3").write_bytes((database / "db.sqlite3").read_bytes())
    return directory


@pytest.fixture(scope="session", params=kinds.SERVERS, ids=lambda kind: kind.name)
def running(request, database, tmp_path_factory):
    """Return a running server; it is started once for all the tests that it serves."""
    required(request.param)
    server = request.param(directory_of(request.param, database, tmp_path_factory))
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()


@pytest.fixture
def server(request, running):
    """Return a running server, after whose test nothing is logged that was not expected, and which still answers."""
    skip_limited(request, running)
    yield running
    answers = running.answers()
    if not answers:
        # The others need not wait for its time-outs.
        running.kill()
        running.start()
    assert unexpected(request, running) == []
    assert answers, "expected a server that still answers, got one that hangs or has ended"


@pytest.fixture(params=kinds.SERVERS, ids=lambda kind: kind.name)
def own_server(request, database, tmp_path_factory):
    """Return a server that the test may start and stop itself."""
    required(request.param)
    skip_limited(request, request.param)
    server = request.param(directory_of(request.param, database, tmp_path_factory))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def key():
    """Return a key under which a view makes its notes."""
    return uuid.uuid4().hex


def skip_limited(request, server):
    """Skip the test where the server cannot do what it is about."""
    for mark in request.node.iter_markers("limit"):
        if server.is_one_of(mark.args):
            pytest.skip("{}: {}".format(server.name, mark.kwargs["reason"]))


def unexpected(request, server):
    """Return what was logged since the last test and not expected in this one.

    A record may come a moment after the close of its socket: what the test before expected is expected still.
    """
    expected = [pattern for mark in request.node.iter_markers("logs") for pattern in mark.args]
    patterns = [re.compile(pattern) for pattern in expected + server.expected]
    server.expected = expected
    lines = server.alarms() + ["{level} {logger}: {message} {error}".format(**record) for record in server.records()]
    return [line for line in lines if not any(pattern.search(line) for pattern in patterns)]
