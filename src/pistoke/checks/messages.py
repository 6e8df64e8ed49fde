"""What the checks say: each message with an id, what to do, and where to read on."""

import copy
from typing import Any, Callable, Optional

from django.core.checks import CheckMessage, Error, Info, Warning

#: The page of the documentation that has a section for each id.
PAGE: str = "docs/reference/checks.md"


def hint_of(id: str, hint: Optional[str]) -> str:
    """Return what to do, and where to read on."""
    return "{}See {}#{}.".format(hint + " " if hint else "", PAGE, id.lower().replace(".", "-"))


def message(kind: Callable[..., CheckMessage], id: str, msg: str, hint: Optional[str] = None) -> CheckMessage:
    """Make a message of the kind, without an object yet."""
    return kind(msg, hint=hint_of("pistoke." + id, hint), id="pistoke." + id)


def about(message: CheckMessage, obj: str, **changes: Any) -> CheckMessage:
    """Return the message as said of this object, with other attributes changed."""
    message = copy.copy(message)
    if "hint" in changes:
        changes["hint"] = hint_of(str(message.id), changes["hint"])
    vars(message).update(changes, obj=obj)
    return message


E001: CheckMessage = message(
    Error,
    "E001",
    "The method 'websocket' of this view is a plain 'def', or has a 'yield' in it.",
    hint="Write 'async def websocket(self, request, ...)', and send with 'await request.send(...)'. Synchronous code in it "
    "goes through sync_to_async().",
)
E002: CheckMessage = message(
    Error,
    "E002",
    "This view has a method 'websocket', but WebSocket requests are not among those it allows.",
    hint="Inherit from pistoke.views.WebsocketView, or add 'websocket' to a list http_method_names of the class.",
)
E003: CheckMessage = message(
    Error,
    "E003",
    "This view is decorated with a WebSocket protocol, but it is a plain 'def'.",
    hint="Write 'async def', or leave the protocol out of a view that answers HTTP requests only.",
)
E004: CheckMessage = message(
    Error,
    "E004",
    "The setting has a value of a wrong type.",
)
E005: CheckMessage = message(
    Error,
    "E005",
    "The broker cannot be made.",
    hint="PISTOKE_PUBSUB is like CACHES: each broker is a dictionary of BACKEND, LOCATION, OPTIONS and HISTORY, and one is "
    "called 'default'.",
)
E006: CheckMessage = message(
    Error,
    "E006",
    "This is an ASGI application (a consumer of Django Channels), and no view.",
    hint="Write 'asgi_view(Consumer.as_asgi())'; asgi_view is in pistoke.bridge.",
)
W001: CheckMessage = message(
    Warning,
    "W001",
    "This application comes before 'pistoke.Pistoke' in INSTALLED_APPS and has a 'runserver' command of its own, so "
    "that 'manage.py runserver' serves no WebSockets.",
    hint="Move 'pistoke.Pistoke' before it. Its 'runserver' is then built upon, and keeps its flags.",
)
W002: CheckMessage = message(
    Warning,
    "W002",
    "'pistoke.middleware.WebsocketMiddleware' is not in MIDDLEWARE, so that 'request.websocket' is not set for HTTP "
    "requests.",
    hint="Add it (or 'pistoke.ohjain.WebsocketOhjain', which is the same) to MIDDLEWARE.",
)
W003: CheckMessage = message(
    Warning,
    "W003",
    "This view inherits from WebsocketView, but has no method 'websocket'.",
    hint="Add 'async def websocket(self, request, ...)', or inherit from django.views.View.",
)
W004: CheckMessage = message(
    Warning,
    "W004",
    "There is no such setting.",
)
W005: CheckMessage = message(
    Warning,
    "W005",
    "ALLOWED_HOSTS contains '*', so that a page of any site may open a WebSocket to this one. Where the browser sends "
    "cookies along (SESSION_COOKIE_SAMESITE = 'None', or a page on a neighbouring subdomain), it opens with its "
    "visitor's session.",
    hint="List the host names of this site in ALLOWED_HOSTS.",
)
W006: CheckMessage = message(
    Warning,
    "W006",
    "The broker 'default' of PISTOKE_PUBSUB reaches this process only. Where there are several, users who sign out keep the "
    "WebSockets that they have open with the others until those look whether they are still logged in.",
    hint="Let PISTOKE_PUBSUB name Redis, PostgreSQL or a Channels layer. PISTOKE_SESSION_CHECK says how often they look. "
    "With a single process, add 'pistoke.W006' to SILENCED_SYSTEM_CHECKS.",
)
W007: CheckMessage = message(
    Warning,
    "W007",
    "This ASGI application is Django's own, which answers no WebSockets.",
    hint="Take get_asgi_application from pistoke.asgi instead of django.core.asgi. If the server runs another application, "
    "let ASGI_APPLICATION name that.",
)
W008: CheckMessage = message(
    Warning,
    "W008",
    "This Python takes seconds to read a cookie of many backslashes (CVE-2024-7592), and everybody else waits meanwhile.",
    hint="Use Python 3.9.20, 3.10.15, 3.11.10, 3.12.6 or later.",
)
I001: CheckMessage = message(
    Info,
    "I001",
    "This middleware may block, so that each WebSocket handshake goes through a thread.",
    hint="Make it async-capable, or add it to PISTOKE_SKIP_MIDDLEWARE if sockets can do without it.",
)
