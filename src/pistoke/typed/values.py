"""Reading JSON values as type hints say: what a field of a dataclass may be.

A reader is called with a value, the :class:`~.problems.Problems` so far and the place of the value; it returns what the
value stands for, or notes a problem. Readers are made once for each class, of its hints.
"""

import enum
import typing
from typing import Any

from .hints import NoneType, alternatives, arguments, is_literal, literal_values, name_of, origin, unwrapped
from .plain import KEYS, PLAIN, Wrong, of_text, parse_key, read_none
from .problems import MAX_PROBLEMS, Place, Problems, shown

Reader = typing.Callable[[Any, Problems, Place], Any]


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


def choice(values: "typing.Sequence[tuple[Any, Any]]") -> PlainReader:
    """Return what reads one of some values, each as it stands in JSON and what it stands for."""

    def read(value: Any) -> Any:
        for known, meant in values:
            # True is 1 to Python.
            if type(known) is type(value) and known == value:
                return meant
        raise Wrong

    return PlainReader(" or ".join(shown(known) for known, _ in values), read)


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
            return choice(list(zip(literal_values(hint), hint.__args__)))
        if origin(hint) is typing.Union:
            return self.union(alternatives(hint), where)
        return self.of_class(hint, where) or self.of_collection(hint, where)

    def of_class(self, hint: Any, where: str) -> "Reader | None":
        """Return the reader of an enumeration or of a class that is read field by field, None for another hint."""
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return choice([(member.value, member) for member in hint])
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
        self.check_shapes([hint for hint in hints if hint not in classes], bool(classes), where)
        if classes:
            readers.append(self.class_reader(classes, where))
        readers += [self.of(hint, where) for hint in hints if hint is not NoneType and hint not in classes]
        if NoneType in hints:
            readers.append(NONE)
        return readers[0] if len(readers) == 1 else UnionReader(self.expected(readers), readers)

    def check_shapes(self, hints: "list[Any]", has_object: bool, where: str) -> None:
        """Raise TypeError where classes may be within two kinds of lists or objects of a union.

        Who nests them could have each read twice, what is in it four times, and so on.
        """
        shapes = ["object"] if has_object else []
        shapes += ["object" if (origin(hint) or hint) is dict else "list" for hint in hints if self.has_classes(hint)]
        if len(set(shapes)) < len(shapes):
            raise TypeError(
                "expected at most one kind of list and one of object that classes are in, in the union of {}, got {}".format(
                    where, " and ".join(shapes)
                )
            )

    def has_classes(self, hint: Any) -> bool:
        """Return whether there are classes within a hint that are read field by field."""
        hint = unwrapped(hint)
        if self.is_class(hint):
            return True
        inside = () if is_literal(hint) else arguments(hint)
        return any(self.has_classes(item) for item in inside if item is not Ellipsis and item != ())

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
