"""What a client may ask of a view, beyond what is always bounded: how often, for how long, and by how many at once.

Most sockets have none of these limits, and then nothing here is in their way. The handler looks for them when it has found
the view, before it calls it: so a socket too many is refused with HTTP, whatever protocol there is.
"""

import hashlib
import logging
import threading
import typing
from typing import Any

from django.http import HttpResponse

from .conf import conf
from .refusal import printable
from .socket import RawSocket
from .watch import Watch

if typing.TYPE_CHECKING:
    from ._types import View
    from .decorators import limits
    from .request import WebsocketRequest
    from .socket import Socket

    Kind = typing.Tuple[str, typing.Callable[[Any], bool]]

logger: logging.Logger = logging.getLogger("django.request")

#: When a client that was refused may come back, in seconds.
RETRY_AFTER = 10


def is_count(value: object) -> bool:
    """Tell whether the value is a number of things, one at least."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_time(value: object) -> bool:
    """Tell whether the value is a number of seconds, and not none at all."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def is_rate(value: object) -> bool:
    """Tell whether the value is a number of messages and a number of seconds."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and is_count(value[0]) and is_time(value[1])


#: What a limit may be, in words, and what tells whether a value is that.
COUNT: "Kind" = ("a whole number above zero", is_count)
COUNT_OR_NONE: "Kind" = ("a whole number above zero, or None", lambda value: value is None or is_count(value))
TIME_OR_NONE: "Kind" = ("a number of seconds above zero, or None", lambda value: value is None or is_time(value))
RATE_OR_NONE: "Kind" = (
    "a pair (messages, seconds), both above zero, or None",
    lambda value: value is None or is_rate(value),
)

#: Every limit by its name (as an argument of the decorator; a setting is called ``PISTOKE_…``, in capitals): what it may be
#: in words, and a function that tells whether a value is that.
LIMITS: "dict[str, Kind]" = {
    "max_message_size": COUNT_OR_NONE,
    "inbound_messages": COUNT,
    "inbound_bytes": COUNT,
    "message_rate": RATE_OR_NONE,
    "send_timeout": TIME_OR_NONE,
    "idle_timeout": TIME_OR_NONE,
    "max_sockets": COUNT_OR_NONE,
    "max_sockets_per_session": COUNT_OR_NONE,
}


def check_limits(values: "dict[str, Any]") -> None:
    """Raise TypeError for a limit that there is none of, ValueError for one that makes no sense."""
    for name, value in values.items():
        if name not in LIMITS:
            raise TypeError("expected one of the limits {}, got {!r}".format(", ".join(LIMITS), name))
        expected, accepts = LIMITS[name]
        if not accepts(value):
            raise ValueError("expected {} as {}, got {!r}".format(name, expected, value))


# Counting open sockets -----------------------------------------------------------------------------------------------


class Census:
    """How many sockets are open in this process, in all and of each session, by what they are counted for."""

    def __init__(self) -> None:
        # A server may run an event loop in each of several threads.
        self._lock = threading.Lock()
        # Those that are not zero.
        self.open: "dict[object, int]" = {}

    def enter(self, places: "dict[object, int | None]") -> bool:
        """Count a socket in all ``places``, unless one of them is full; return whether it was counted.

        ``places`` gives the most sockets for each key, None where they are only counted.
        """
        with self._lock:
            for key, most in places.items():
                if most is not None and self.open.get(key, 0) >= most:
                    return False
            for key in places:
                self.open[key] = self.open.get(key, 0) + 1
            return True

    def leave(self, places: "typing.Iterable[object]") -> None:
        """Count a socket no longer."""
        with self._lock:
            for key in places:
                self.open[key] -= 1
                if not self.open[key]:
                    del self.open[key]


census: Census = Census()


def session_of(request: "WebsocketRequest") -> "bytes | None":
    """Return what stands for the session of a request, None where there is none.

    Its key would open the session to whoever reads it in a dump of the memory.
    """
    key = getattr(getattr(request, "session", None), "session_key", None)
    return None if key is None else hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


# One socket ----------------------------------------------------------------------------------------------------------


class Limits:
    """The limits in force for one socket: those of its view's decorators, and the settings for the rest."""

    MAX_MESSAGE_SIZE: "int | None"
    INBOUND_MESSAGES: int
    INBOUND_BYTES: int
    MESSAGE_RATE: "tuple[int, float] | None"
    SEND_TIMEOUT: "float | None"
    IDLE_TIMEOUT: "float | None"
    MAX_SOCKETS: "int | None"
    MAX_SOCKETS_PER_SESSION: "int | None"

    def __init__(self, socket: "Socket") -> None:
        self._socket = socket
        # The decorators that are in force, and what they say.
        self.decorators: "tuple[limits, ...]" = ()
        self._given: "dict[str, Any]" = {}
        # Where the socket is counted.
        self._places: "list[object]" = []
        # Who watches over what passes, where that is limited.
        self._watch: "Watch | None" = None

    def impose(self, request: "WebsocketRequest", decorators: "tuple[limits, ...]") -> bool:
        """Put into force what these decorators say; return whether there is room for the socket."""
        self.decorators += decorators
        given: "dict[str, Any]" = {}
        for decorator in decorators:
            given.update(decorator.values)
        # What comes to light only when the view is called is inside of what was seen before.
        self._given = dict(given, **self._given)
        for name in LIMITS:
            setattr(self, name.upper(), self._given.get(name, getattr(conf, name.upper())))
        if not self._count(request):
            return False
        self._socket.limit(self)
        if (self.MESSAGE_RATE or self.SEND_TIMEOUT or self.IDLE_TIMEOUT) is not None:
            self._watch = self._watch or Watch(self._socket, printable(request.path))
        if self._watch is not None:
            self._watch.watch_for(self)
        return True

    def _count(self, request: "WebsocketRequest") -> bool:
        """Count the socket where it is not counted yet; return whether there was room."""
        places: "dict[object, int | None]" = {}
        # The URLconf keeps the view for as long as the socket is open.
        view = id(request.resolver_match.func)
        self._add_places(places, "max_sockets", ("all",), ("all", view))
        session = session_of(request)
        if session is not None:
            self._add_places(places, "max_sockets_per_session", (session,), (session, view))
        if not census.enter(places):
            return False
        self._places.extend(places)
        return True

    def _add_places(self, places: "dict[object, int | None]", name: str, of_all: object, of_view: object) -> None:
        """Add where the limit ``name`` makes a socket count, and how many there may be.

        A view with a limit of its own is not bound by the setting. To the sockets of other views its own count all the
        same: they are there.
        """
        setting, own = getattr(conf, name.upper()), self._given.get(name)
        if setting is not None and of_all not in self._places:
            places[of_all] = None if name in self._given else setting
        if own is not None and of_view not in self._places:
            places[of_view] = own

    async def closed(self) -> None:
        """Wait until the server has closed a socket that was over a limit."""
        if self._watch is not None:
            await self._watch.closed()

    def lift(self) -> None:
        """Give back what the socket took; it is over."""
        census.leave(self._places)
        self._places = []
        if self._watch is not None:
            self._watch.discard()


# What the handler and the decorator ask ------------------------------------------------------------------------------


def limits_of(view: "View") -> "tuple[limits, ...]":
    """Return the decorators of a view that set limits, the innermost first, as far as they can be seen."""
    websocket = getattr(getattr(view, "view_class", None), "websocket", None)
    return getattr(websocket, "websocket_limits", ()) + getattr(view, "websocket_limits", ())


def nothing_is_set() -> bool:
    """Return whether the settings leave everything off that is off by default."""
    return (
        conf.MAX_SOCKETS is None
        and conf.MAX_SOCKETS_PER_SESSION is None
        and conf.MESSAGE_RATE is None
        and conf.IDLE_TIMEOUT is None
        and conf.SEND_TIMEOUT is None
    )


def impose(request: "WebsocketRequest", decorators: "tuple[limits, ...]") -> "HttpResponse | None":
    """Put limits into force, as far as they are not; return the refusal of a socket that there is no room for.

    ``decorators`` are those of the view, innermost first: of two that name the same limit the outermost has its way.
    """
    socket = request._socket
    if isinstance(socket, RawSocket):
        socket = socket._socket
    imposed = socket.limits
    if imposed is None:
        if not decorators and nothing_is_set():
            return None
        # From here on whoever finishes the socket lifts them.
        imposed = socket.limits = Limits(socket)
    elif all(decorator in imposed.decorators for decorator in decorators):
        return None
    return None if imposed.impose(request, decorators) else refusal(request)


def refusal(request: "WebsocketRequest") -> HttpResponse:
    """Return the answer to a client for whose socket there is no room; log it, and not as an error of ours."""
    response = HttpResponse("too many open sockets", status=503, content_type="text/plain")
    response["Retry-After"] = str(RETRY_AFTER)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
    logger.warning(
        "Service Unavailable (too many open sockets): %s",
        printable(request.path),
        extra={"status_code": 503, "request": request},
    )
    return response
