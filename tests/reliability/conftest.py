"""A server with a database, and a crowd of sockets to it."""

import pytest

from tests.parts import importable, require
from tests.servers.kinds import SERVERS

from .crowd import SIZE, Crowd, allow_files
from .databases import DATABASES

#: The server of the tests whose matter is the database.
UVICORN = next(kind for kind in SERVERS if kind.name == "uvicorn-websockets")


@pytest.fixture(scope="module", params=DATABASES, ids=repr)
def database(request, tmp_path_factory):
    """Return a database, empty but for its accounts."""
    database = request.param
    require("what it needs of Django", True, "", exists=database.exists)
    database.open(tmp_path_factory.mktemp(database.name), request)
    return database


@pytest.fixture(scope="module")
def server(database):
    """Return a running server of the project with that database."""
    require("a server", UVICORN.present() and importable("websockets"), "pip install {}".format(UVICORN.package))
    server = UVICORN(database.directory)
    server.application = "tests.reliability.project.asgi:application"
    allow_files(4 * SIZE)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def crowd(server):
    """Return sockets that stay open through all tests of a database."""
    with Crowd(server.address, ["/orders/"] * SIZE) as crowd:
        yield crowd


@pytest.fixture
def connections(database, server):
    """Return a function that counts the connections of the server to its database."""
    with database.counter(server) as count:
        yield count
