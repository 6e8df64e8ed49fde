"""Run a case against the handler itself, and look at what a stranger is told and what is logged."""
import asyncio
import logging
import re
import time
from urllib.parse import unquote_to_bytes

import django

from pistoke.connection import Connection, State

from .. import virtual
from ..asgi import Server
from ..plans import Records
from .project import project
from .secret import SECRET

#: How long a case may take, in seconds; most take a thousandth, but the machine may be busy.
PATIENCE = 15

#: What no answer may hold: a trace, a path of ours, a setting.
LEAKS = re.compile(r"Traceback|site-packages|File \"|nobody-may-ever|SECRET_KEY|ROOT_URLCONF|pistoke[./]\w+\.py")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x80-\x9f\u2028\u2029]")

#: Django escapes what it logs of a path from these versions on.
LOGS_ARE_ESCAPED = django.VERSION >= (5, 2, 3)


class Failure(AssertionError):
    """Something that a stranger should not be able to do."""


def expect(condition, sentence, *details):
    if not condition:
        raise Failure(" ".join([sentence] + [repr(detail) for detail in details]))


def scope(case):
    """Return what a server makes of a case."""
    target = case["target"]
    path, _, query = target.partition(b"?")
    return dict(
        {
            "scheme": "wss" if case["project"] == "strict" else "ws",
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in case["headers"]],
            "subprotocols": case["subprotocols"],
        },
        **case["scope"]
    )


async def play(case, handler):
    """Run a case; return the server."""
    server = Server()
    server.scope.update(scope(case))
    server.start(handler)
    server.say(*case["messages"])
    await asyncio.sleep(1)
    server.leave(case["end"])
    await asyncio.wait([server.task], timeout=100)
    return server


def run(case):
    """Run a case; raise :class:`Failure` where a stranger can do what it should not."""
    began = time.monotonic()
    with project(case["project"]) as handler, Records() as records:
        server = virtual.run(play(case, handler))
    expect(time.monotonic() - began < PATIENCE, "it took too long", time.monotonic() - began)
    check_end(server)
    check_answer(server)
    check_log(records.records)


def check_end(server):
    """The application ends, raises nothing, and leaves nobody without an answer."""
    expect(server.task.done(), "the application hangs", server.types)
    expect(not server.task.cancelled(), "the application cancelled itself")
    if server.task.exception() is not None:
        raise Failure("an exception came out of the application") from server.task.exception()
    model = Connection()
    for event in server.sent:
        model.sending(event)
    expect(model.application is not State.CONNECTING, "the handshake was not answered", server.types)
    expect(model.application is not State.RESPONSE, "an answer was begun and not ended", server.types)


def check_answer(server):
    """The answer is a defined one, and tells nothing that is none of a stranger's business."""
    expect(server.status is None or 400 <= server.status < 500, "a stranger sees status", server.status)
    expect(server.closed not in (1011, 4500) and (server.closed or 1000) < 4600, "a stranger sees code", server.closed)
    for event in server.sent:
        for name, value in list(event.get("headers") or ()):
            expect(not re.search(rb"[\r\n\0]", name + value), "a header is injected", name, value)
            expect(re.match(rb"[!#$%&'*+.^_`|~0-9a-z-]+\Z", name), "expected the name of a header, got", name)
        expect(not CONTROL.search(str(event.get("reason") or "")), "a reason has control characters", event)
        if event["type"] != "websocket.send":
            expect(not LEAKS.search(repr(event)), "an answer tells too much", event)
        elif event.get("text"):
            event["text"].encode()
            expect(SECRET not in event["text"], "a message tells too much", event)
    first = server.sent[0]
    supported = first["type"] != "websocket.accept" or first["subprotocol"] in (None, "alpha", "beta")
    expect(supported, "a subprotocol is made up", first)


def check_log(records):
    """Nothing is logged as an error of ours, and no line is made up by a stranger."""
    for record in records:
        message = record.getMessage()
        # Django's class of suspicious operations is logged as an error of theirs by Django itself, over HTTP too.
        theirs = record.name.startswith("django.security.")
        expect(record.levelno < logging.ERROR or theirs, "an error is logged", record.name, message, record.exc_info)
        ours = record.pathname.endswith("handler.py") and "pistoke" in record.pathname
        expect(not CONTROL.search(message) or not (ours or LOGS_ARE_ESCAPED), "a line of the log is forged", message)
