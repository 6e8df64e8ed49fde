"""A server with a thousand open sockets is told to end: its views clean up, its clients are told, and it is gone."""

import collections
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.parts import importable, require
from tests.servers.harness import eventually
from tests.servers.kinds import SERVERS

from .crowd import THOROUGH, Crowd, allow_files
from .databases import PostgreSQL, write_settings

#: What a view can be doing. The last goes on after its first cancellation.
VIEWS = ["reads", "ticks", "sleeps", "sleeps-after-reading", "queries", "stubborn"]

#: Servers that get a thousand sockets; the others get fewer in the ordinary run, for the sake of its length.
MANY = ("uvicorn-websockets-sansio", "hypercorn")

#: After how many seconds it must be gone, on a busy machine. Kubernetes waits for 30 s before it kills, systemd for 90 s.
GRACE = 20


@pytest.fixture(params=SERVERS, ids=lambda kind: kind.name)
def server(request, tmp_path):
    """Return a server of the project."""
    kind = request.param
    require(kind.name, kind.present(), "pip install {}".format(kind.package), exists=kind.exists)
    require("a client", importable("websockets"), "pip install websockets")
    if kind.is_one_of(["patient-hypercorn"]):
        pytest.skip("hypercorn waits until all clients have left by themselves")
    if PostgreSQL.present():
        settings = request.getfixturevalue("postgresql").settings(OPTIONS={"application_name": kind.name})
    else:
        settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    write_settings(tmp_path, {"default": settings})
    server = kind(tmp_path)
    server.application = "tests.reliability.project.asgi:application"
    allow_files(4000)
    try:
        yield server.start()
    finally:
        server.kill()


def paths(number):
    """Return so many paths, as many to each view; the key of each is its own."""
    return ["/{}/?key={}".format(VIEWS[key * len(VIEWS) // number], key) for key in range(number)]


def test_every_view_cleans_up_every_client_is_told_and_the_process_ends(server):
    number = 1020 if THOROUGH or server.name in MANY else 60
    with Crowd(server.address, paths(number)) as crowd:
        crowd.say("hello")
        assert eventually(lambda: len(server.journal(event="began")) == number)
        time.sleep(server.housekeeping)
        seconds, codes = stop(server, crowd)
    print("{}: {} sockets, {:.1f} s, {}".format(server.name, number, seconds, dict(codes)))
    assert seconds < GRACE
    assert set(codes) <= expected_codes(server)
    ended = collections.Counter(event["key"] for event in server.journal(event="ended"))
    assert max(ended.values(), default=1) == 1
    assert {key for key in range(number) if str(key) not in ended} <= set(may_be_left(server, number))
    # The threads of Granian outlive the interpreter.
    assert server.name == "granian" or server.alarms() == []


def stop(server, crowd):
    """End a server; return how long that took, and how many clients saw which code."""
    with ThreadPoolExecutor(1) as executor:
        stopping = executor.submit(server.stop)
        codes = collections.Counter(crowd.codes())
        return stopping.result(), codes


def expected_codes(server):
    """Return the codes that clients may see."""
    if server.name == "daphne":
        # It does not wait until what it has to say has been sent.
        return {server.seen(1012), 1006}
    return {1006} if server.is_one_of(["granian", "old-uvicorn-websockets"]) else {1012}


def may_be_left(server, number):
    """Return the keys of views that need not have ended."""
    if server.name == "granian":
        # Its process ends without ending them.
        return range(number)
    # It cancels each once, and ends at once: those that go on after their first cancellation, the last sixth, are lost.
    return range(number - number // len(VIEWS), number) if server.name == "daphne" else ()
