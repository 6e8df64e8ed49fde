"""Writing what is in a dataclass as JSON values: by what it is, not by what its hints say."""

import dataclasses
import datetime
import decimal
import enum
import typing
import uuid
from typing import Any

from django.utils.duration import duration_iso_string

#: What writes the instances of a type, the first that matches.
WRITERS: "list[tuple[Any, typing.Callable[[Any], Any]]]" = [
    (enum.Enum, lambda value: value.value),
    ((str, bool, int, float), lambda value: value),
    ((datetime.datetime, datetime.date, datetime.time), lambda value: value.isoformat()),
    (datetime.timedelta, duration_iso_string),
    ((decimal.Decimal, uuid.UUID), str),
]


def written(value: Any) -> Any:
    """Return a value of a field, or an instance, as a JSON value; what is of no known type is left to the encoder."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: written(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    for kind, write in WRITERS:
        if isinstance(value, kind):
            return write(value)
    if isinstance(value, dict):
        return {written(key): written(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [written(item) for item in value]
    return value
