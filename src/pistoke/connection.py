"""The rules of a WebSocket: who may say what and when, and what a close means.

Nothing here knows of asyncio or Django. The events are those of the ASGI WebSocket specification, the close codes those of
RFC 6455 section 7.4 and its registry.
"""

import enum
from typing import Sequence

from ._types import Event

#: Close codes with a meaning of their own here.
NORMAL = 1000
GOING_AWAY = 1001
NO_STATUS = 1005
ABNORMAL = 1006
BAD_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012

#: What a server would say of a client that vanished. Some raise an exception of their own instead, or a RuntimeError.
LOST: Event = {"type": "websocket.disconnect", "code": ABNORMAL}

#: «The code MUST be followed by a UTF-8 encoded reason»; a control frame holds 125 bytes (RFC 6455 section 5.5), two are
#: the code's.
MAX_REASON_BYTES = 123


class State(enum.Enum):
    """Where one side of a connection is."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RESPONSE = "sending an HTTP response"
    DISCONNECTED = "disconnected"


class InvalidEvent(RuntimeError):
    """An event that is not allowed in the state the connection is in."""

    def __init__(self, event: object, state: State, allowed: "tuple[str, ...]") -> None:
        super().__init__(event, state, allowed)
        self.event = event
        self.state = state
        self.allowed = allowed

    def __str__(self) -> str:
        return "expected {} while {}, got {!r}".format(
            " or ".join(repr(type) for type in self.allowed) or "nothing more", self.state.value, self.event
        )


#: What the application may send, and the state that follows.
TRANSITIONS: "dict[State, dict[str, State]]" = {
    State.CONNECTING: {
        "websocket.accept": State.CONNECTED,
        "websocket.close": State.DISCONNECTED,
        "websocket.http.response.start": State.RESPONSE,
    },
    State.CONNECTED: {
        "websocket.send": State.CONNECTED,
        "websocket.close": State.DISCONNECTED,
    },
    State.RESPONSE: {
        "websocket.http.response.body": State.DISCONNECTED,
    },
    State.DISCONNECTED: {},
}


class Connection:
    """Both sides of one connection.

    Only :meth:`received` changes the client's state, only :meth:`sending` the application's.
    """

    __slots__ = ("client", "application", "close_code", "close_reason")

    def __init__(self) -> None:
        # The client has asked for a connection before the application hears of it.
        self.client: State = State.CONNECTED
        self.application: State = State.CONNECTING
        # What ended the connection, whichever side did: None until then.
        self.close_code: "int | None" = None
        self.close_reason: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing can pass any more."""
        return self.client is State.DISCONNECTED or self.application is State.DISCONNECTED

    def received(self, event: Event) -> bool:
        """Note an event from the client; return whether it was its last."""
        if event["type"] != "websocket.disconnect":
            return False
        self.client = State.DISCONNECTED
        if self.close_code is None:
            # ASGI: «code … Optional; if missing or None default is 1005».
            code = event.get("code")
            self.close_code = NO_STATUS if code is None else int(code)
            self.close_reason = event.get("reason") or ""
        return True

    def lost(self) -> None:
        """Note that the client has gone without a word."""
        self.received(LOST)

    def sending(self, event: Event) -> None:
        """Note an event that the application is about to send.

        Raises :class:`InvalidEvent` where the ASGI specification does not allow it.
        """
        following = TRANSITIONS[self.application]
        try:
            state = following[event["type"]]
        except KeyError:
            raise InvalidEvent(event.get("type"), self.application, tuple(following)) from None
        if self.application is State.RESPONSE and event.get("more_body"):
            # ASGI: «more_body … Optional; if missing defaults to False».
            state = State.RESPONSE
        if state is State.DISCONNECTED and self.close_code is None:
            self.close_code = event.get("code", NORMAL)
            self.close_reason = event.get("reason") or ""
        self.application = state


def payload(event: Event) -> "str | bytes":
    """Return the message of a ``websocket.receive`` event.

    ASGI: «At least one of bytes or text must be non-None»; a server may send both keys, one of them None.
    """
    text = event.get("text")
    return text if text is not None else event.get("bytes") or b""


def size(message: "str | bytes") -> int:
    """Return the size of a message on the wire in bytes, without its frame."""
    return len(message) if isinstance(message, bytes) else len(message.encode("utf-8", "surrogatepass"))


def close_event(code: int, reason: object) -> Event:
    """Return the event that closes a connection.

    Raises ValueError for a code that RFC 6455 section 7.4 or its registry does not let an endpoint send, TypeError for a
    code that is no integer.
    """
    if not isinstance(code, int):
        raise TypeError("expected a close code as an integer, got {!r}".format(code))
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError("expected a close code in 1000–1003, 1007–1014 or 3000–4999, got {}".format(code))
    return {"type": "websocket.close", "code": int(code), "reason": cut_reason(str(reason))}


def cut_reason(reason: str) -> str:
    """Return as much of ``reason`` as a close frame holds, cut between two characters."""
    encoded = reason.encode("utf-8", "replace")
    return encoded[:MAX_REASON_BYTES].decode("utf-8", "ignore")


def close_code_for_status(status: int) -> int:
    """Return the close code that says what an HTTP status would have said.

    An error keeps its number (4403 for 403); a redirect is a 403, because a browser does not follow it for a socket.
    """
    if status >= 400:
        return 4000 + status
    return 4403 if 300 <= status < 400 else NORMAL


def choose_subprotocol(offered: Sequence[str], supported: Sequence[str]) -> "str | None":
    """Return the first subprotocol of the client's that is supported, None where neither side names one.

    RFC 6455 section 4.1: «ordered by preference» of the client. Raises LookupError where the two have none in common, and
    where the client offers some and none is supported: a browser would fail such a connection.
    """
    for subprotocol in offered:
        if subprotocol in supported:
            return subprotocol
    if offered or supported:
        raise LookupError("no common subprotocol")
    return None
