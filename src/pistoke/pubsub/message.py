"""What is published: a message, its position, and how it travels."""

import base64
import json
import re
import typing
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

if typing.TYPE_CHECKING:
    from .._types import Encode, Event

#: How the names of topics begin that the processes use among themselves: nobody else publishes to them or follows them.
RESERVED = "pistoke:"

#: Of how many kinds of clients a message keeps what is sent to them: a protocol that is made anew for each socket is a kind
#: of its own, and a history keeps the message.
MOST_KINDS = 4

#: The most characters in the name of a topic, and what they may be: what every engine can carry as it is.
MAX_TOPIC = 200
TOPIC = re.compile(r"(?!%s)[A-Za-z0-9_.:@/+=~-]{1,%d}" % (RESERVED, MAX_TOPIC))


def check_topic(topic: object) -> str:
    """Return the name of a topic; raise TypeError where it is no ``str``, ValueError where it is no name."""
    if not isinstance(topic, str):
        raise TypeError("expected the name of a topic as str, got {!r}".format(topic))
    if not TOPIC.fullmatch(topic):
        raise ValueError(
            "expected the name of a topic of 1–{} letters, digits and characters of '_.:@/+=~-', and no {!r} at its "
            "beginning, got {!r}".format(MAX_TOPIC, RESERVED, topic)
        )
    return topic


class Position(typing.NamedTuple):
    """Where a message stands in the history of its topic: the ``offset``-th of an ``epoch``.

    A new epoch begins where a history was lost: positions of two epochs cannot be compared. ``str(position)`` is what a
    client keeps and shows again.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return "{}-{}".format(self.epoch, self.offset)

    @classmethod
    def parse(cls, text: object) -> "Position | None":
        """Return the position that a client has shown, None where it is none: whatever JSON can be."""
        match = re.fullmatch(r"([A-Za-z0-9]{1,40})-([0-9]{1,18})", text) if isinstance(text, str) else None
        return cls(match.group(1), int(match.group(2))) if match else None


class Message:
    """Something published.

    ``topic`` is its topic, ``data`` what was published: ``str``, ``bytes`` or a JSON value; ``position`` where it stands in
    the history of the topic, None where that keeps none. In a message with ``gap`` True there are no data: it says that
    something may be missing here.
    """

    __slots__ = ("_made", "late", "payload", "position", "topic")

    gap = False

    def __init__(self, topic: str, payload: str, position: "Position | None" = None) -> None:
        self.topic = topic
        # What travels: a letter for the type, and the data (see encode).
        self.payload = payload
        self.position = position
        # Whether it comes after its time, with others, because the engine could not be heard: a crowd of any size is no
        # fault of those it comes to.
        self.late = False
        # What came of it for each that has encoded it: the members of a topic ask for the same again and again.
        self._made: "dict[Encode | None, Event]" = {}

    def __repr__(self) -> str:
        return "Message({!r}, {!r}, {!r})".format(self.topic, self.payload, self.position)

    @property
    def data(self) -> Any:
        """What was published. Each look at a JSON value decodes it anew: nobody changes it under somebody else's hands."""
        return decode(self.payload)

    def event(self, encode: "Encode | None" = None) -> "Event":
        """Return the event that sends it to a client, made once for all clients of a kind.

        ``encode`` is what encodes the messages of the client's protocol; without one a JSON value is sent as JSON. Bytes are
        binary to all.
        """
        event = self._made.get(encode)
        if event is None:
            message = self._encode(encode)
            if len(self._made) >= MOST_KINDS:
                self._made.clear()
            key = "text" if isinstance(message, str) else "bytes"
            event = self._made[encode] = {"type": "websocket.send", key: message}
        return event

    def _encode(self, encode: "Encode | None") -> "str | bytes":
        if self.payload[0] == "b":
            return bytes(self.data)
        return self.payload[1:] if encode is None else encode(self.data)


class Gap(Message):
    """Something may be missing here: the engine was away, or the history is too short."""

    __slots__ = ()

    gap = True

    def __init__(self, topic: str, position: "Position | None" = None) -> None:
        super().__init__(topic, "jnull", position)


def encode(data: object) -> str:
    """Return data as they travel: ``s`` and text, ``b`` and bytes in Base64, ``j`` and JSON.

    Raises TypeError where they are neither, ValueError where a number has no JSON or text has no UTF-8.
    """
    if isinstance(data, str):
        # What no client could be sent (half of a surrogate pair) is the fault of the publisher.
        data.encode()
        return "s" + data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return "b" + base64.b64encode(data).decode()
    # Not as DjangoJSONEncoder would by itself: NaN is no JSON, and a browser would not read it.
    return "j" + encode_json(data, {"cls": DjangoJSONEncoder, "allow_nan": False, "separators": (",", ":")})


def encode_json(data: object, dumps: "dict[str, Any]") -> str:
    """Return data as JSON, typed messages too."""
    try:
        return json.dumps(data, **dumps)
    except TypeError as exc:
        from ..protocol import dumps_models

        return dumps_models(data, dumps, exc)


def decode(payload: str) -> Any:
    """Return the data that travelled."""
    kind, data = payload[0], payload[1:]
    if kind == "s":
        return data
    return base64.b64decode(data) if kind == "b" else json.loads(data)
