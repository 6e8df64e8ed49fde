"""HTTP, WebSocket and lifespan in one application."""
import asyncio
import os
import subprocess
import sys

import django.core.asgi
import pytest
from django.http import HttpResponse

from pistoke.asgi import Application, get_asgi_application, lifespan
from pistoke.handler import WebsocketHandler

from .asgi import Server, urls


async def page_and_socket(request):
    if request.method == "Websocket":
        return await request.send("x")
    return HttpResponse("page")


@pytest.fixture
def application(monkeypatch):
    # Django is set up already, and setting it up again would reset the logging of the tests.
    monkeypatch.setattr(django, "setup", lambda **kwargs: None)
    return get_asgi_application()


async def test_a_socket_is_answered(application):
    server = Server("/view/")
    with urls(view=page_and_socket):
        await server.run(application)
    assert server.messages == ["x"]


# The thread of a page may have a connection that a test before it has made there, and closes it.
@pytest.mark.django_db
async def test_a_page_is_answered(application):
    events = [{"type": "http.request", "body": b""}]
    sent = []

    async def receive():
        if not events:
            await asyncio.Event().wait()
        return events.pop()

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "method": "GET", "path": "/view/", "headers": [(b"host", b"testserver")], "query_string": b""}
    with urls(view=page_and_socket):
        await application(scope, receive, send)
    assert sent[0]["status"] == 200 and sent[1]["body"] == b"page"


def test_pages_are_djangos_own_business(application):
    assert type(application.applications["http"]) is type(django.core.asgi.get_asgi_application())
    assert type(application.applications["websocket"]) is WebsocketHandler


async def test_the_life_of_a_server_is_answered(application):
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return events.pop(0)

    async def send(event):
        sent.append(event["type"])

    await asyncio.wait_for(application({"type": "lifespan"}, receive, send), 10)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_an_unknown_scope_is_named(application):
    with pytest.raises(ValueError, match="expected an ASGI scope of type 'http' or 'websocket' or 'lifespan', got 'mqtt'"):
        await application({"type": "mqtt"}, None, None)


async def test_a_key_error_of_an_application_is_its_own():
    async def fails(scope, receive, send):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await Application({"http": fails})({"type": "http"}, None, None)


async def test_a_server_that_stops_before_it_has_started_is_answered():
    sent = []

    async def receive():
        return {"type": "lifespan.shutdown"}

    async def send(event):
        sent.append(event)

    await lifespan({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.shutdown.complete"}]


def test_it_sets_django_up():
    environment = dict(os.environ, DJANGO_SETTINGS_MODULE="tests.settings", PYTHONPATH=os.pathsep.join(sys.path))
    code = "import pistoke.asgi, django.apps; pistoke.asgi.get_asgi_application(); assert django.apps.apps.ready"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
