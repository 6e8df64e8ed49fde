"""What the integrations share: what they listen to, and labels of few values, whatever clients send."""

import http
import typing
from typing import Any

from .. import signals

if typing.TYPE_CHECKING:
    from ..request import WebsocketRequest

#: Close codes that have a name of their own whoever chose them: those of the registry, those that say an HTTP status, and
#: that of a client that is too slow.
KNOWN_CODES: "frozenset[int]" = frozenset(
    [*range(1000, 1016), *(4000 + status for status in http.HTTPStatus if status >= 400), 4008]
)

#: A handshake whose client had gone before it was answered.
GONE: str = "gone"

#: Upper bounds of histograms: seconds of a handshake, seconds that a socket is open, bytes of a message.
HANDSHAKE_SECONDS: "tuple[float, ...]" = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SOCKET_SECONDS: "tuple[float, ...]" = (0.1, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
MESSAGE_BYTES: "tuple[float, ...]" = (64, 256, 1024, 4096, 16384, 65536, 2 ** 18, 2 ** 20, 2 ** 22)


def listen(receiver: Any, messages: bool = True) -> None:
    """Connect the methods of a receiver to the signals, those about messages too if they are wanted."""
    signals.websocket_opened.connect(receiver._opened)
    signals.websocket_refused.connect(receiver._refused)
    signals.websocket_closed.connect(receiver._closed)
    if messages:
        signals.message_received.connect(receiver._received)
        signals.message_sent.connect(receiver._sent)


def route_of(request: "WebsocketRequest | None") -> str:
    """Return the URL pattern of a request, empty where there is none. Never the path, of which there may be any number."""
    match = getattr(request, "resolver_match", None)
    return "" if match is None else match.route or ""


def code_of(code: int, by_client: bool) -> str:
    """Return what stands for a close code: the code, but for those that a client may choose by the thousand."""
    if not by_client or code in KNOWN_CODES:
        return str(code)
    return "{}xxx".format(str(code)[:1])
