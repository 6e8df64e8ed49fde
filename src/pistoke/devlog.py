"""What the development server prints: Uvicorn's lines in the dress of Django's, and sockets like requests."""

import logging
import re
import time
import typing
import urllib.parse
from copy import copy
from typing import Any

from django.utils.log import ServerFormatter

from .connection import ABNORMAL, INTERNAL_ERROR, NORMAL, NO_STATUS
from .inbound import Wrapped

if typing.TYPE_CHECKING:
    from ._types import Event, Receive, Scope, Send

#: Where Uvicorn logs requests, and where all else, its own lines about sockets too.
access: logging.Logger = logging.getLogger("uvicorn.access")
errors: logging.Logger = logging.getLogger("uvicorn.error")

#: What Uvicorn and its libraries say of sockets by themselves: in words of each, and nothing of how one ended.
REPEATED: "re.Pattern[str]" = re.compile(r'connection (open|closed|rejected)|%s - "WebSocket %s" ')


class Formatter(ServerFormatter):
    """Uvicorn's lines in the dress of Django's own server: the time in front, colours by status, loud levels named."""

    #: How a line about a request ends: with its status; one about a socket, in the end, with its close code and seconds.
    outcome: "re.Pattern[str]" = re.compile(r'" (?P<status>\d{3,4})(?: \d+\.\ds)?$')

    def __init__(self) -> None:
        super().__init__("[{server_time}] {message}", datefmt=self.default_time_format, style="{")

    def format(self, record: logging.LogRecord) -> str:
        # Other handlers see the same record.
        record = copy(record)
        outcome = self.outcome.search(record.getMessage())
        if outcome:
            record.status_code = status_like(int(outcome.group("status")))
        elif record.levelno != logging.INFO:
            record.msg = self.colour(record)("{}: {}".format(record.levelname, record.msg))
        return str(super().format(record))

    def colour(self, record: logging.LogRecord) -> "typing.Callable[[str], str]":
        """Return Django's style for a level."""
        if record.levelno >= logging.ERROR:
            return self.style.ERROR
        return self.style.WARNING if record.levelno >= logging.WARNING else str


def status_like(code: int) -> int:
    """Return the HTTP status whose colour a close code gets; a status itself as it is."""
    if code < 1000:
        return code
    if 4400 <= code < 4600:
        return code - 4000
    if code == INTERNAL_ERROR:
        return 500
    # Normal, going away, without a code, a restart; what applications call their own.
    return 200 if code in (NORMAL, 1001, NO_STATUS, 1012) or code >= 3000 else 400


def is_no_repetition(record: logging.LogRecord) -> bool:
    """Tell whether a record says something that our own lines about sockets do not."""
    return record.levelno != logging.INFO or not REPEATED.match(str(record.msg))


def configure_logging(style: Any = None) -> None:
    """Give Uvicorn's loggers a handler like that of Django's own server, unless the project has given them one.

    This in place of Uvicorn's ``log_config``, which goes through ``dictConfig`` and so closes the project's handlers.
    """
    errors.addFilter(is_no_repetition)
    names = ("uvicorn", "uvicorn.error", "uvicorn.access")
    if any(logging.getLogger(name).handlers for name in names):
        return
    handler = logging.StreamHandler()
    formatter = Formatter()
    formatter.style = style or formatter.style
    handler.setFormatter(formatter)
    logging.getLogger("uvicorn").addHandler(handler)
    logging.getLogger("uvicorn").propagate = False


# Sockets like requests ------------------------------------------------------------------------------------------------


class Line:
    """What is printed of one socket: a line when it is opened or refused, another when it is over."""

    def __init__(self, scope: "Scope") -> None:
        self._scope = scope
        # When it was opened; None until then.
        self._opened: "float | None" = None
        # How it has ended: a close code, or the status of a refusal.
        self._outcome: "int | None" = None

    def _log(self, outcome: str) -> None:
        client = ":".join(map(str, self._scope.get("client") or ()))
        access.info('%s - "WEBSOCKET %s" %s', client, full_path(self._scope), outcome)

    async def receive(self, receive: "Receive") -> "Event":
        """Look at what comes from the client."""
        event = await receive()
        if event["type"] == "websocket.disconnect" and self._outcome is None:
            code = event.get("code")
            self._outcome = NO_STATUS if code is None else code
        return event

    async def send(self, send: "Send", event: "Event") -> None:
        """Look at what goes to the client."""
        if event["type"] == "websocket.accept":
            self._opened = time.monotonic()
            self._log("101")
        elif self._outcome is None:
            if event["type"] == "websocket.close":
                self._outcome = 403 if self._opened is None else event.get("code", NORMAL)
            elif event["type"] == "websocket.http.response.start":
                self._outcome = event["status"]
        await send(event)

    def over(self, failed: bool) -> None:
        """Print the end; ``failed`` is True where the application has raised, which the server answers in its stead."""
        if self._opened is None:
            self._log(str(self._outcome or (500 if failed else ABNORMAL)))
        else:
            code = self._outcome or (INTERNAL_ERROR if failed else ABNORMAL)
            self._log("{} {:.1f}s".format(code, time.monotonic() - self._opened))


def full_path(scope: "Scope") -> str:
    """Return the path and query of a socket, quoted, as they stand in lines about requests."""
    path = urllib.parse.quote(scope["path"].encode("utf-8", "surrogatepass"))
    query = scope.get("query_string", b"").decode("ascii", "backslashreplace")
    return "{}?{}".format(path, query) if query else path


def log_sockets(application: Any) -> Any:
    """Return an application that logs its sockets as its requests are."""

    async def logged(scope: "Scope", receive: "Receive", send: "Send") -> Any:
        if scope["type"] != "websocket":
            return await application(scope, receive, send)
        line, failed = Line(scope), True
        try:
            await application(scope, Wrapped(receive, line.receive), Wrapped(send, line.send))
            failed = False
        finally:
            line.over(failed)
        return None

    return logged
