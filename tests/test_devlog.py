"""What the development server prints of a socket, whatever happens to it."""
import asyncio
import importlib
import logging

import pytest

from tests.parts import importable, require

from .asgi import Server

require("Uvicorn", importable("uvicorn"), "pip install -e .[runserver]")
devlog = importlib.import_module("pistoke.devlog")


@pytest.fixture
def printed(caplog):
    """Return a function that gives the lines, without the address of the client."""
    caplog.set_level(logging.INFO, "uvicorn.access")
    access = logging.getLogger("uvicorn.access")
    propagating, access.propagate = access.propagate, False
    access.addHandler(caplog.handler)
    yield lambda: [record.getMessage().replace('127.0.0.1:4711 - "WEBSOCKET ', "") for record in caplog.records]
    access.removeHandler(caplog.handler)
    access.propagate = propagating


async def run(*events, **scope):
    """Let an application send events, or raise."""
    async def application(scope, receive, send):
        await receive()
        for event in events:
            if isinstance(event, BaseException):
                raise event
            if event == "receive":
                await receive()
            else:
                await send(event)

    server = Server("/path/", **scope)
    server.leave(4001)
    try:
        await server.run(devlog.log_sockets(application))
    except (ValueError, asyncio.CancelledError):
        pass
    return server


ACCEPT = {"type": "websocket.accept"}


@pytest.mark.parametrize(
    "events, lines",
    [
        ([ACCEPT, "receive"], ['/path/" 101', '/path/" 4001 0.0s']),
        ([ACCEPT, {"type": "websocket.close"}], ['/path/" 101', '/path/" 1000 0.0s']),
        ([ACCEPT, {"type": "websocket.close", "code": 4403}, "receive"], ['/path/" 101', '/path/" 4403 0.0s']),
        ([ACCEPT, ValueError()], ['/path/" 101', '/path/" 1011 0.0s']),
        ([ACCEPT], ['/path/" 101', '/path/" 1006 0.0s']),
        ([{"type": "websocket.close", "code": 1000}], ['/path/" 403']),
        ([{"type": "websocket.http.response.start", "status": 404}], ['/path/" 404']),
        ([ValueError()], ['/path/" 500']),
        (["receive"], ['/path/" 4001']),
    ],
)
async def test_line_for_each_way_to_end(printed, events, lines):
    await run(*events)
    assert printed() == lines


async def test_path_is_quoted_with_its_query(printed):
    await run(ACCEPT, path_info=None, query_string=b"a=1&b=%20")
    assert printed()[0] == '/path/?a=1&b=%20" 101'
    assert devlog.full_path({"path": "/\u00e4\n/"}) == "/%C3%A4%0A/"


async def test_other_types_pass_as_they_are(printed):
    async def application(*arguments):
        return arguments

    arguments = {"type": "http"}, object(), object()
    assert await devlog.log_sockets(application)(*arguments) == arguments
    assert printed() == []


async def test_server_is_still_known_under_the_log():
    async def application(scope, receive, send):
        from pistoke.inbound import is_of

        found.extend([is_of(receive, "tests.asgi"), is_of(send, "tests.asgi")])

    found = []
    await Server().run(devlog.log_sockets(application))
    assert found == [True, True]
