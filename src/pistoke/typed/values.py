"""Reading JSON values as type hints say: what a field of a dataclass may be.

A reader is called with a value, the :class:`~.problems.Problems` so far and the place of the value; it returns what the
value stands for, or notes a problem. Readers are made once for each class, of its hints.
"""

import datetime
import decimal
import enum
import math
import re
import typing
import uuid
from typing import Any

from django.utils import dateparse

from .hints import NoneType, alternatives, arguments, is_literal, literal_values, name_of, origin, unwrapped
from .problems import MAX_PROBLEMS, Place, Problems, shown

Reader = typing.Callable[[Any, Problems, Place], Any]

#: How deep a value may be nested. Whatever is read can be written again, which takes a few frames for each level.
MAX_DEPTH = 64


class Wrong(Exception):
    """A value is not what it should be; nobody is told more than that."""


# Plain values -------------------------------------------------------------------------------------------------


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


class PlainReader:
    """Reads a value that has nothing in it."""

    def __init__(self, expected: str, read: "typing.Callable[[Any], Any]") -> None:
        self.expected = expected
        self.read = read

    def __call__(self, value: Any, problems: Problems, place: Place) -> Any:
        try:
            return self.read(value)
        except (Wrong, ValueError, ArithmeticError):
            return problems.add(place, "expected {}, got {}".format(self.expected, shown(value)))


def choice(values: "dict[Any, Any]") -> PlainReader:
    """Return what reads one of some values: the keys, as they stand in JSON, and what they stand for."""

    def read(value: Any) -> Any:
        for known, meant in values.items():
            # True is 1 to a dictionary.
            if type(known) is type(value) and known == value:
                return meant
        raise Wrong

    return PlainReader(" or ".join(map(shown, values)), read)


# Values with others in them -----------------------------------------------------------------------------------


class ListReader:
    """Reads a list, a set or a tuple of any length."""

    def __init__(self, make: type, item: Reader) -> None:
        self.make = make
        self.item = item

    def __call__(self, value: Any, problems: Problems, place: Place) -> Any:
        if type(value) is not list:
            return problems.add(place, "expected a list, got {}".format(shown(value)))
        items = []
        for index, item in enumerate(value):
            if problems.enough:
                return None
            items.append(self.item(item, problems, (*place, index)))
        try:
            return self.make(items)
        except TypeError:
            return problems.add(place, "expected a list of plain values")


class TupleReader:
    """Reads a tuple of so many values, each of its own type."""

    def __init__(self, items: "list[Reader]") -> None:
        self.items = items

    def __call__(self, value: Any, problems: Problems, place: Place) -> Any:
        if type(value) is not list or len(value) != len(self.items):
            got = "{} of them".format(len(value)) if type(value) is list else shown(value)
            return problems.add(place, "expected a list of {} values, got {}".format(len(self.items), got))
        return tuple(read(item, problems, (*place, index)) for index, (read, item) in enumerate(zip(self.items, value)))


class DictReader:
    """Reads a dictionary."""

    def __init__(self, key: Reader, item: Reader) -> None:
        self.key = key
        self.item = item

    def __call__(self, value: Any, problems: Problems, place: Place) -> Any:
        if not isinstance(value, dict):
            return problems.add(place, "expected an object, got {}".format(shown(value)))
        made = {}
        for key, item in value.items():
            if problems.enough:
                return None
            inside = (*place, key)
            known = self.key(key, problems, inside)
            made[known] = self.item(item, problems, inside)
        return made


class UnionReader:
    """Reads what the first of several readers can read."""

    def __init__(self, expected: str, readers: "list[Reader]") -> None:
        self.expected = expected
        self.readers = readers

    def __call__(self, value: Any, problems: Problems, place: Place) -> Any:
        attempts = []
        for read in self.readers:
            attempt = Problems()
            made = read(value, attempt, place)
            if not attempt.found:
                return made
            attempts.append(attempt.found)
        # What is wrong within it says more than that it is none of them.
        for found in attempts:
            if any(len(each["loc"]) > len(place) for each in found):
                problems.found += found[: MAX_PROBLEMS - len(problems.found)]
                return None
        return problems.add(place, "expected {}, got {}".format(self.expected, shown(value)))


NONE = PlainReader("null", read_none)


# Making readers -----------------------------------------------------------------------------------------------

class ReaderFactory:
    """Makes readers of hints. A subclass knows of classes that are read field by field."""

    def is_class(self, hint: Any) -> bool:
        """Return whether a hint is a class that is read field by field."""
        return False

    def class_reader(self, classes: "list[type]", where: str) -> Reader:
        """Return what reads one of some such classes."""
        raise NotImplementedError

    def of(self, hint: Any, where: str) -> Reader:
        """Return the reader of a hint; raise TypeError where there is none, naming the field as ``where``."""
        hint = unwrapped(hint)
        plain = PLAIN.get(hint) if is_hashable(hint) else None
        if plain is not None:
            return PlainReader(*plain)
        if is_literal(hint):
            return choice(dict(zip(literal_values(hint), hint.__args__)))
        if origin(hint) is typing.Union:
            return self.union(alternatives(hint), where)
        return self.of_class(hint, where) or self.of_collection(hint, where)

    def of_class(self, hint: Any, where: str) -> "Reader | None":
        """Return the reader of an enumeration or of a class that is read field by field, None for another hint."""
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return choice({member.value: member for member in hint})
        return self.class_reader([hint], where) if self.is_class(hint) else None

    def of_collection(self, hint: Any, where: str) -> Reader:
        """Return the reader of a list, a set, a tuple or a dictionary."""
        made, inside = origin(hint) or hint, arguments(hint)
        if made is tuple and inside and Ellipsis not in inside:
            return TupleReader([self.of(item, where) for item in inside if item != ()])
        if made in (list, set, frozenset, tuple):
            return ListReader(made, self.of(inside[0] if inside else Any, where))
        if made is dict:
            key, item = inside or (str, Any)
            return DictReader(self.of_key(key, where), self.of(item, where))
        raise TypeError(
            "expected {} to be of a type that JSON can say (a plain type, a date, a list, a dict, an enumeration, a "
            "dataclass, a union of them), got {}".format(where, name_of(hint))
        )

    def of_key(self, hint: Any, where: str) -> Reader:
        """Return the reader of the keys of a dictionary."""
        hint = unwrapped(hint)
        if hint is int:
            return PlainReader("a whole number as the name of a field", of_text(parse_key))
        if hint in KEYS or is_literal(hint) or (isinstance(hint, type) and issubclass(hint, enum.Enum)):
            return self.of(hint, where)
        raise TypeError("expected the keys of {} to be of type str, got {}".format(where, name_of(hint)))

    def union(self, hints: "list[Any]", where: str) -> Reader:
        """Return the reader of a union; dataclasses in it are told apart by their tags."""
        readers: "list[Reader]" = []
        classes = [hint for hint in hints if self.is_class(hint)]
        if classes:
            readers.append(self.class_reader(classes, where))
        readers += [self.of(hint, where) for hint in hints if hint is not NoneType and hint not in classes]
        if NoneType in hints:
            readers.append(NONE)
        return readers[0] if len(readers) == 1 else UnionReader(self.expected(readers), readers)

    def expected(self, readers: "list[Reader]") -> str:
        """Return what a value is expected to be that has to suit one of these."""
        kinds = (getattr(read, "expected", None) or KINDS.get(type(read).__name__, "an object") for read in readers)
        return " or ".join(kinds)


#: What is expected by readers that do not say so themselves.
KINDS = {"ListReader": "a list", "TupleReader": "a list", "UnionReader": "a value"}


def is_hashable(hint: Any) -> bool:
    """Return whether a hint can be looked up."""
    try:
        hash(hint)
    except TypeError:
        return False
    return True
