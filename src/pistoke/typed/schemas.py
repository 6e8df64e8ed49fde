"""JSON schemas of dataclasses."""

import dataclasses
import datetime
import decimal
import enum
import inspect
import re
import typing
import uuid
from typing import Any

from .hints import NoneType, alternatives, arguments, is_literal, literal_values, origin, unwrapped
from .writing import written

if typing.TYPE_CHECKING:
    from .models import Schema

PLAIN: "dict[Any, Schema]" = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    NoneType: {"type": "null"},
    decimal.Decimal: {"type": ["string", "number"], "format": "decimal"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.timedelta: {"type": "string", "format": "duration"},
    typing.Any: {},
    object: {},
}


class DataclassSchemas:
    """Makes schemas; ``others`` are those of the dataclasses within, by their names."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.others: "dict[str, Schema]" = {}
        # Whose schemas they are: two classes may be called the same.
        self._classes: "dict[str, Any]" = {}

    def fields_of(self, cls: Any) -> "Schema":
        """Return the schema of a dataclass."""
        hints = typing.get_type_hints(cls)
        fields = [field for field in dataclasses.fields(cls) if field.init]
        schema: "Schema" = {"title": cls.__name__, "type": "object"}
        if described(cls):
            schema["description"] = described(cls)
        schema["properties"] = {field.name: self.field(field, hints[field.name]) for field in fields}
        missing = dataclasses.MISSING
        required = [field.name for field in fields if field.default is missing and field.default_factory is missing]
        if required:
            schema["required"] = required
        return dict(schema, additionalProperties=False)

    def field(self, field: "dataclasses.Field[Any]", hint: Any) -> "Schema":
        """Return the schema of a field, its default included."""
        schema = self.of(hint)
        if field.default is dataclasses.MISSING or "$ref" in schema:
            return schema
        return dict(schema, default=written(field.default))

    def of(self, hint: Any) -> "Schema":
        """Return the schema of a hint."""
        hint = unwrapped(hint)
        if is_literal(hint):
            return choice(literal_values(hint))
        if origin(hint) is typing.Union:
            return {"anyOf": [self.of(item) for item in alternatives(hint)]}
        if dataclasses.is_dataclass(hint):
            return self.referred(hint)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return choice([member.value for member in hint])
        if origin(hint) is None and hint in PLAIN:
            return dict(PLAIN[hint])
        return self.of_collection(hint)

    def referred(self, cls: Any) -> "Schema":
        """Return a reference to the schema of a dataclass."""
        name = cls.__name__
        if self._classes.setdefault(name, cls) is not cls:
            name = re.sub(r"\W+", "_", "{}_{}".format(cls.__module__, cls.__qualname__))
        if name not in self.others:
            # It may have itself within.
            self.others[name] = {}
            self.others[name] = self.fields_of(cls)
        return {"$ref": self.reference.replace("{model}", name)}

    def of_collection(self, hint: Any) -> "Schema":
        """Return the schema of a list, a set, a tuple or a dictionary."""
        made, inside = origin(hint) or hint, arguments(hint)
        if made is dict:
            return {"type": "object", "additionalProperties": self.of(inside[1]) if inside else True}
        if made is tuple and inside and Ellipsis not in inside:
            items = [self.of(item) for item in inside if item != ()]
            return dict({"items": items} if items else {}, type="array", minItems=len(items), maxItems=len(items))
        return {"type": "array", "items": self.of(inside[0]) if inside else {}}


def choice(values: "typing.Sequence[Any]") -> "Schema":
    """Return the schema of one of some values."""
    return {"const": values[0]} if len(values) == 1 else {"enum": list(values)}


def described(cls: type) -> str:
    """Return the docstring of a class, empty where it is the one that a dataclass writes for itself."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return "" if text.startswith(cls.__name__ + "(") else text
