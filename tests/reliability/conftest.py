"""A server with databases, and a crowd of sockets to it."""

import functools

import pytest

from tests.parts import importable, require
from tests.servers.kinds import SERVERS

from .crowd import SIZE, Crowd, allow_files
from .databases import DATABASES, PostgreSQL, write_settings


class Uvicorn(next(kind for kind in SERVERS if kind.name == "uvicorn-websockets")):
    """The server of the tests whose matter is the database; it does not mind that clients leave its pings unread."""

    def command(self):
        return super().command() + ["--ws-ping-interval", "600"]



@pytest.fixture(scope="session")
def directory(request, tmp_path_factory):
    """Return a directory with the settings of all databases that there are, in which there is nothing but accounts."""
    directory = str(tmp_path_factory.mktemp("accounts"))
    service = request.getfixturevalue("postgresql") if PostgreSQL.present() else None
    there = [database for database in DATABASES if database.present()]
    for database in there:
        database.open(directory, service)
    # One of them has to be the default.
    settings = {database.name: database.settings() for database in there}
    settings["default"] = there[-1].settings()
    write_settings(directory, settings)
    return directory


@pytest.fixture(scope="module")
def server(directory):
    """Return a running server of the project."""
    require("a server", Uvicorn.present() and importable("websockets"), "pip install {}".format(Uvicorn.package))
    server = Uvicorn(directory, "asgi")
    server.application = "tests.reliability.project.asgi:application"
    allow_files(4 * SIZE)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def crowd(server):
    """Return sockets that stay open through all tests of a module."""
    with Crowd(server.address, ["/orders/"] * SIZE) as crowd:
        yield crowd


@pytest.fixture(params=DATABASES, ids=repr)
def database(request, directory):
    """Return a database."""
    request.param.require()
    return request.param


@pytest.fixture
def connections(database, server):
    """Return a function that counts the connections of the server to the database."""
    with database.counter(server) as count:
        yield count


@pytest.fixture
def ask(crowd, database):
    """Return a function that asks each socket what there is in the database."""
    return functools.partial(crowd.ask, using=database.name)
