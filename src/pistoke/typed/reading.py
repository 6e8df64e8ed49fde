"""Messages of a socket as they are read: the good ones to the view, the bad ones answered."""

import inspect
import json
import logging
import typing
from contextlib import suppress
from typing import Any

from .._compat import JSON_LIMITS
from ..connection import BAD_DATA
from ..exceptions import ConnectionClosed
from ..refusal import printable
from ..socket import RawSocket
from .models import union_of
from .problems import BadMessage, bad, cut

if typing.TYPE_CHECKING:
    from ..request import WebsocketRequest

    #: What to do about a bad message: one of :data:`ANSWERS`, or a function that returns what to send, None for nothing.
    OnError = typing.Union[str, typing.Callable[[BadMessage], Any]]
    AtEnd = typing.Optional[typing.Type[BaseException]]

T_co = typing.TypeVar("T_co", covariant=True)

logger: logging.Logger = logging.getLogger("pistoke")

ANSWERS = ("reply", "close", "raise")


class Messages(typing.AsyncIterator[T_co]):
    """The messages of a request as instances of classes: iterate over it, or ``await`` :meth:`receive`.

    ``expected`` are the classes, and unions of them. Raises TypeError where they cannot be told apart.
    """

    def __init__(
        self, request: "WebsocketRequest", expected: "tuple[Any, ...]", on_error: "OnError" = "reply"
    ) -> None:
        if isinstance(request._socket, RawSocket):
            raise TypeError(
                "expected a protocol with messages, got RawWebsocketProtocol, whose view exchanges ASGI events; "
                "use another protocol, or none"
            )
        self._request = request
        self._union = union_of(expected)
        self._on_error = check_on_error(on_error)
        # How many messages were bad.
        self.bad: int = 0

    def __aiter__(self) -> "Messages[T_co]":
        return self

    async def __anext__(self) -> "T_co":
        message: T_co = await self._next(StopAsyncIteration)
        return message

    async def receive(self) -> "T_co":
        """Return the next message; raise :class:`~pistoke.exceptions.ClientDisconnected` when there is none any more.

        Bad ones before it are answered, or raised as :class:`BadMessage`, as the iteration does.
        """
        message: T_co = await self._next(None)
        return message

    async def _next(self, at_end: "AtEnd") -> Any:
        socket = self._request._socket
        while True:
            text = await socket.receive(at_end, True)
            try:
                return self._read(text)
            except BadMessage as exc:
                self._log(exc)
                if self._on_error == "raise":
                    raise
                # One who has left may have said more before that.
                with suppress(ConnectionClosed):
                    await self._answer(exc)

    def _read(self, message: "str | bytes") -> Any:
        try:
            value, text = self._decode(message)
            return self._union.read(value, text)
        except RecursionError:
            raise bad("expected less depth") from None

    def _decode(self, message: "str | bytes") -> "tuple[Any, str | None]":
        """Return a message as a JSON value, and as the text of it; None where only its protocol can read that."""
        decode = self._request._socket.decode
        try:
            if decode is not None:
                return decode(message), None
            text = message if isinstance(message, str) else message.decode()
            return decode_json(text), text
        except ValueError as exc:
            raise bad("expected JSON") from exc

    async def _answer(self, exc: BadMessage) -> None:
        """Do what is to be done about a bad message."""
        if self._on_error == "close":
            return await self._request.close(BAD_DATA, str(exc))
        reply: Any = exc.reply
        if callable(self._on_error):
            reply = self._on_error(exc)
            if inspect.isawaitable(reply):
                reply = await reply
        if isinstance(reply, (dict, list)) and self._request._socket.encode is None:
            reply = json.dumps(reply)
        if reply is not None:
            await self._request.send(reply)
        return None

    def _log(self, exc: BadMessage) -> None:
        """Note a bad message: where it is bad, not what it says, and no more than one for each loop of a view at INFO."""
        self.bad += 1
        places = ", ".join(".".join(map(str, error["loc"])) or "the whole of it" for error in exc.errors[:3])
        level = logging.INFO if self.bad == 1 else logging.DEBUG
        logger.log(level, "bad message to %s: %s", printable(self._request.path), printable(cut(places, 120)))


def check_on_error(on_error: "OnError") -> "OnError":
    """Return what to do about a bad message; raise ValueError where nobody knows how."""
    if on_error not in ANSWERS and not callable(on_error):
        raise ValueError("expected on_error to be 'reply', 'close', 'raise' or a function, got {!r}".format(on_error))
    return on_error


def decode_json(text: str) -> Any:
    """Return a JSON value; raise ValueError where the text is none, or has half of a character that no UTF-8 can say."""
    value = json.loads(text, parse_constant=refuse, **JSON_LIMITS)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def refuse(constant: str) -> None:
    """Refuse ``NaN`` and ``Infinity``, which Python takes for JSON."""
    raise ValueError("expected JSON, got {}".format(constant))
