"""Reading JSON values that have nothing in them: texts, numbers, dates and the like.

A function is called with a value, and returns what that stands for; it raises :class:`Wrong`, ValueError or ArithmeticError
where it stands for nothing.
"""

import datetime
import decimal
import math
import re
import typing
import uuid
from typing import Any

from django.utils import dateparse

from .hints import NoneType

#: How deep a value may be nested. Whatever is read can be written again, which takes a few frames for each level.
MAX_DEPTH = 64


class Wrong(Exception):
    """A value is not what it should be; nobody is told more than that."""


def read_str(value: Any) -> str:
    """Return a text."""
    if type(value) is not str:
        raise Wrong
    return value


def read_int(value: Any) -> int:
    """Return a whole number, be it written ``5.0``; no bool."""
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise Wrong
    return value


def read_float(value: Any) -> float:
    """Return a number; no bool, and neither NaN nor infinity."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise Wrong
    return float(value)


def read_bool(value: Any) -> bool:
    """Return a bool."""
    if type(value) is not bool:
        raise Wrong
    return value


def read_none(value: Any) -> None:
    """Return None."""
    if value is not None:
        raise Wrong


def read_decimal(value: Any) -> decimal.Decimal:
    """Return a decimal number, of a text or a number; neither NaN nor infinity."""
    if type(value) not in (str, int, float):
        raise Wrong
    number = decimal.Decimal(str(value))
    if not number.is_finite():
        raise Wrong
    return number


def read_anything(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Return a value as it is, unless it is nested too deep."""
    if isinstance(value, (dict, list)):
        if not levels:
            raise Wrong
        for item in value.values() if isinstance(value, dict) else value:
            read_anything(item, levels - 1)
    return value


def of_text(parse: "typing.Callable[[str], Any]") -> "typing.Callable[[Any], Any]":
    """Return a function that parses a text, and finds wrong what is none."""

    def read(value: Any) -> Any:
        parsed = parse(read_str(value))
        if parsed is None:
            raise Wrong
        return parsed

    return read


def parse_key(text: str) -> "int | None":
    """Return a whole number that is the name of a field, None where it is none."""
    return int(text) if re.fullmatch("-?[0-9]{1,40}", text) else None


#: What reads a plain type, and what it is called.
PLAIN: "dict[Any, tuple[str, typing.Callable[[Any], Any]]]" = {
    str: ("str", read_str),
    int: ("int", read_int),
    float: ("float", read_float),
    bool: ("bool", read_bool),
    None: ("null", read_none),
    NoneType: ("null", read_none),
    decimal.Decimal: ("a decimal number", read_decimal),
    uuid.UUID: ("a UUID", of_text(uuid.UUID)),
    datetime.datetime: ("a date and time as in ISO 8601", of_text(dateparse.parse_datetime)),
    datetime.date: ("a date as in ISO 8601", of_text(dateparse.parse_date)),
    datetime.time: ("a time as in ISO 8601", of_text(dateparse.parse_time)),
    datetime.timedelta: ("a duration as in ISO 8601", of_text(dateparse.parse_duration)),
    typing.Any: ("less depth", read_anything),
    object: ("less depth", read_anything),
}

#: What a key of an object may stand for: JSON has texts only.
KEYS = (str, uuid.UUID, decimal.Decimal, datetime.datetime, datetime.date)
