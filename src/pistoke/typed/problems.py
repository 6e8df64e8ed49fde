"""What is wrong with a message, in words that are fit for the client that has sent it.

Whatever a stranger makes us say is bounded: so many problems, each of them so long.
"""

import json
import typing
from typing import Any

from ..exceptions import PistokeException

if typing.TYPE_CHECKING:
    from django.core.exceptions import BadRequest
else:
    from .._compat import BadRequest

#: The place of a problem in a message: names of fields and positions in lists, outermost first; () is the whole of it.
Place = typing.Tuple[typing.Union[str, int], ...]

#: How many problems of a message are told, how many characters a value is shown with, and a name or a sentence may have.
MAX_PROBLEMS = 20
MAX_VALUE = 40
MAX_TEXT = 200


class BadMessage(PistokeException, BadRequest):
    """A message is none of those that are expected.

    ``errors`` is a list of dictionaries with ``loc``, the place in the message as a list, and ``message``. ``reply`` is
    what the client is told. A view that lets it pass ends with 4400, as with any ``BadRequest`` of Django's.
    """

    def __init__(self, errors: "typing.Sequence[dict[str, Any]]") -> None:
        super().__init__(errors)
        self.errors: "list[dict[str, Any]]" = list(errors)

    def __str__(self) -> str:
        first = self.errors[0]
        place = cut(".".join(map(str, first["loc"])), MAX_VALUE)
        more = len(self.errors) - 1
        return "{}{}{}".format(
            place + ": " if place else "", first["message"], " (and {} more)".format(more) if more else ""
        )

    @property
    def reply(self) -> "dict[str, Any]":
        """The object that tells the client."""
        return {"type": "error", "message": str(self), "errors": self.errors}


class Problems:
    """Problems while they are being found."""

    def __init__(self) -> None:
        self.found: "list[dict[str, Any]]" = []

    def add(self, place: Place, text: str) -> None:
        """Note a problem, unless there are enough of them."""
        if len(self.found) < MAX_PROBLEMS:
            self.found.append(problem(place, text))

    @property
    def enough(self) -> bool:
        """Whether to look for more is in vain."""
        return len(self.found) >= MAX_PROBLEMS

    def check(self) -> None:
        """Raise :class:`BadMessage` where there is a problem."""
        if self.found:
            raise BadMessage(self.found)


def problem(place: "typing.Iterable[object]", text: str) -> "dict[str, Any]":
    """Return a problem as the client is told."""
    return {
        "loc": [part if isinstance(part, int) else cut(str(part), MAX_VALUE) for part in place],
        "message": cut(text, MAX_TEXT),
    }


def bad(text: str, *place: "str | int") -> BadMessage:
    """Return the exception for one problem."""
    return BadMessage([problem(place, text)])


def shown(value: object) -> str:
    """Return a value as the client would write it; what is long is cut, what is nested is only named."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return json.dumps(cut(value, MAX_VALUE), ensure_ascii=False)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return "a large number"
    return cut(json.dumps(value, default=str), MAX_VALUE)


def cut(text: str, length: int) -> str:
    """Return a text, its end cut off where it is too long."""
    return text if len(text) <= length else text[: length - 1] + "…"
