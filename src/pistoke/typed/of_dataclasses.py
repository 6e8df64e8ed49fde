"""Dataclasses as messages: read with their type hints, which a dataclass itself does not look at."""

import dataclasses
import inspect
import typing
from typing import Any

from django.core.exceptions import ValidationError

from .hints import alternatives, literal_values
from .models import TAG_FIELD, Model, OwnTag
from .plain import MAX_DEPTH
from .problems import Place, Problems, shown
from .schemas import DataclassSchemas
from .values import Reader, ReaderFactory
from .writing import written

if typing.TYPE_CHECKING:
    from .models import Schema

#: Kinds of parameters that need no argument.
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class DataclassModel(Model):
    """A dataclass. Its fields are read as their hints say, and there may be no others."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls)
        self.reader: "DataclassReader" = DataclassReader(cls, DataclassReaders())

    def find_own_tag(self) -> "OwnTag | None":
        """Return the field ``type``."""
        return own_tag(self.cls)

    def read(self, value: "dict[str, Any]", text: "str | bytes | None") -> Any:
        """Return the instance."""
        problems = Problems()
        instance = self.reader(value, problems, ())
        problems.check()
        return instance

    def write(self, instance: Any) -> Any:
        """Return the fields."""
        return written(instance)

    def schema(self, reference: str) -> "tuple[Schema, dict[str, Schema]]":
        """Return what the hints say."""
        schemas = DataclassSchemas(reference)
        return schemas.fields_of(self.cls), schemas.others


class DataclassReader:
    """Reads a dataclass out of a JSON object."""

    def __init__(self, cls: type, readers: "DataclassReaders") -> None:
        self.cls = cls
        # Before its fields: one of them may be of the class itself.
        readers.known[cls] = self
        hints = typing.get_type_hints(cls)
        fields = [field for field in dataclasses.fields(cls) if field.init]
        self.readers: "dict[str, Reader]" = {
            field.name: readers.of(hints[field.name], "{}.{}".format(cls.__qualname__, field.name)) for field in fields
        }
        self.required: "list[str]" = [field.name for field in fields if is_required(field)]
        check_arguments(cls, self.readers)

    def __call__(self, value: Any, problems: Problems, place: Place) -> Any:
        if not isinstance(value, dict):
            return problems.add(place, "expected an object, got {}".format(shown(value)))
        if len(place) > MAX_DEPTH:
            return problems.add(place, "expected less depth")
        before = len(problems.found)
        for name in self.required:
            if name not in value:
                problems.add((*place, name), "expected a value, got nothing")
        arguments = {}
        for name, item in value.items():
            if problems.enough:
                return None
            if name in self.readers:
                arguments[name] = self.readers[name](item, problems, (*place, name))
            else:
                problems.add((*place, name), "expected no such field")
        return self.made(arguments, problems, place) if len(problems.found) == before else None

    def made(self, arguments: "dict[str, Any]", problems: Problems, place: Place) -> Any:
        """Return the instance, unless its own ``__post_init__`` has something against it."""
        try:
            return self.cls(**arguments)
        except ValidationError as exc:
            return problems.add(place, "; ".join(exc.messages))
        except ValueError as exc:
            return problems.add(place, str(exc))


class TaggedReader:
    """Reads one of several dataclasses, each of which has a field ``type`` that is a ``Literal``."""

    def __init__(self, readers: "dict[Any, DataclassReader]") -> None:
        self.readers = readers

    def __call__(self, value: Any, problems: Problems, place: Place) -> Any:
        tag = value.get(TAG_FIELD) if isinstance(value, dict) else None
        reader = self.readers.get(tag) if type(tag) in (str, int) else None
        if reader is not None:
            return reader(value, problems, place)
        expected = " or ".join(shown(known) for known in self.readers)
        got = shown(value.get(TAG_FIELD)) if isinstance(value, dict) else shown(value)
        return problems.add((*place, TAG_FIELD), "expected {}, got {}".format(expected, got))


def own_tag(cls: type) -> "OwnTag | None":
    """Return the field ``type`` of a dataclass, None where it has none."""
    if not any(field.name == TAG_FIELD for field in dataclasses.fields(cls)):
        return None
    (hint, *others) = alternatives(typing.get_type_hints(cls)[TAG_FIELD])
    return OwnTag(TAG_FIELD, () if others else literal_values(hint))


def check_arguments(cls: type, given: "typing.Container[str]") -> None:
    """Raise TypeError where a class cannot be made of its fields: an ``InitVar`` without a default is none."""
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.default is parameter.empty and parameter.kind not in VARIABLE and name not in given:
            raise TypeError("expected {} to be made of its fields, got an argument {!r}".format(cls.__qualname__, name))


def is_required(field: "dataclasses.Field[Any]") -> bool:
    """Return whether a field has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


class DataclassReaders(ReaderFactory):
    """Makes readers of hints with dataclasses in them; ``known`` has those that are being made or have been."""

    def __init__(self) -> None:
        self.known: "dict[type, DataclassReader]" = {}

    def is_class(self, hint: Any) -> bool:
        """Return whether a hint is a dataclass."""
        return isinstance(hint, type) and dataclasses.is_dataclass(hint)

    def class_reader(self, classes: "list[type]", where: str) -> Reader:
        """Return what reads one of some dataclasses; raise TypeError where they cannot be told apart."""
        made = [self.known.get(cls) or DataclassReader(cls, self) for cls in classes]
        if len(made) == 1:
            return made[0]
        tags: "dict[Any, DataclassReader]" = {}
        for reader in made:
            own = own_tag(reader.cls)
            for tag in own.values if own is not None and own.values else [None]:
                if tag is None or tag in tags:
                    raise TypeError(
                        "expected each dataclass in the union {} to have a field 'type' that is a Literal of its own, got "
                        "{}".format(where, reader.cls.__qualname__)
                    )
                tags[tag] = reader
        return TaggedReader(tags)
