"""One interface to the libraries that describe messages, and what tells one message from another.

A message is a JSON object. A field of it, ``type`` as a rule, says which message it is: its *tag*. Where a class has such a
field with a fixed value (a ``Literal``, or the tag of a msgspec struct), that is the tag; else it is the name of the class
in snake case, and the field is added to what is sent and taken off what comes in.
"""

import functools
import json
import re
import typing
from importlib import import_module
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from ..socket import MODEL_MARKS
from .hints import alternatives
from .problems import bad, shown

#: The field that tells messages apart, unless a msgspec struct names another.
TAG_FIELD = "type"

#: A JSON schema, and the others that it refers to, by their names.
Schema = typing.Dict[str, Any]

MISSING: Any = object()


class OwnTag(typing.NamedTuple):
    """The tag that a class has by itself: the name of its field, and the values of which it has one; none if it has any."""

    field: str
    values: "tuple[str | int, ...]"


class Model:
    """A class of messages, and what its library makes of it. Subclasses are the libraries.

    ``cls`` is the class, ``own_tag`` the tag that it has by itself, None if it has none.
    """

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.own_tag: "OwnTag | None" = self.find_own_tag()
        self.field: str = TAG_FIELD if self.own_tag is None else self.own_tag.field
        #: What the field says of it, empty where it may say anything.
        self.tags: "tuple[str | int, ...]" = (snake_case(cls.__name__),) if self.own_tag is None else self.own_tag.values

    @property
    def name(self) -> str:
        """What the class is called in a document."""
        return re.sub(r"\W+", "_", self.cls.__name__).strip("_")

    def read_message(self, value: "dict[str, Any]", text: "str | bytes | None" = None) -> Any:
        """Return the instance that a JSON object, or the ``text`` that it came as, stands for; raise :class:`BadMessage`."""
        if self.own_tag is None and self.field in value:
            tag, text = value[self.field], None
            if tag not in self.tags:
                raise bad("expected {!r}, got {}".format(self.tags[0], shown(tag)), self.field)
            value = {key: item for key, item in value.items() if key != self.field}
        return self.read(value, text)

    def write_message(self, instance: Any) -> "dict[str, Any]":
        """Return the JSON object that stands for an instance, its tag first."""
        value = self.write(instance)
        if not isinstance(value, dict):
            raise TypeError("expected {} to be an object in JSON, got {}".format(self.cls.__qualname__, shown(value)))
        return dict({self.field: self.tags[0]}, **value) if self.own_tag is None else value

    def message_schema(self, reference: str) -> "tuple[Schema, dict[str, Schema]]":
        """Return the schema of a message, its tag among its fields, and the schemas that it refers to.

        ``reference`` is the form of a reference to one of these, with ``{model}`` for its name.
        """
        schema, others = self.schema(reference)
        if self.own_tag is None:
            schema = dict(schema)
            schema["properties"] = dict({self.field: {"const": self.tags[0]}}, **schema.get("properties", {}))
            schema["required"] = [self.field, *schema.get("required", ())]
        return schema, others

    # What a library does

    def find_own_tag(self) -> "OwnTag | None":
        """Return the tag that the class has by itself."""
        raise NotImplementedError

    def read(self, value: "dict[str, Any]", text: "str | bytes | None") -> Any:
        """Return the instance; ``text`` is the JSON of ``value`` if that is at hand. Raise :class:`BadMessage`."""
        raise NotImplementedError

    def write(self, instance: Any) -> Any:
        """Return an instance as a JSON value."""
        raise NotImplementedError

    def schema(self, reference: str) -> "tuple[Schema, dict[str, Schema]]":
        """Return the JSON schema of the class, and those that it refers to."""
        raise NotImplementedError


#: What knows the classes with each of the marks; the first that a class has decides: a dataclass of pydantic's has two.
LIBRARIES = tuple(
    zip(
        MODEL_MARKS,
        (
            ("of_msgspec", "MsgspecModel"),
            ("of_pydantic", "PydanticModel"),
            ("of_pydantic", "PydanticV1Model"),
            ("of_dataclasses", "DataclassModel"),
        ),
    )
)


def is_model(value: object) -> bool:
    """Return whether something is an instance of a class of messages."""
    return any(hasattr(type(value), mark) for mark in MODEL_MARKS)


@functools.lru_cache(maxsize=1024)
def model_of(cls: type) -> Model:
    """Return what is known of a class of messages; raise TypeError where it is none."""
    if isinstance(cls, type):
        for mark, (module, name) in LIBRARIES:
            if hasattr(cls, mark):
                model: Model = getattr(import_module("pistoke.typed." + module), name)(cls)
                return model
    raise TypeError("expected a dataclass, a pydantic model or a msgspec struct as a message, got {!r}".format(cls))


class Union:
    """The messages that may come: one class, or several that are told apart by their tags."""

    def __init__(self, models: "typing.Sequence[Model]") -> None:
        self.models = models
        self.field: str = models[0].field
        self.by_tag: "dict[str | int, Model]" = {}
        if len(models) > 1:
            for model in models:
                self._add(model)

    def _add(self, model: Model) -> None:
        if model.field != self.field:
            raise TypeError(
                "expected one field that tells messages apart, got {!r} in {} and {!r} in {}".format(
                    self.field, self.models[0].cls.__qualname__, model.field, model.cls.__qualname__
                )
            )
        if not model.tags:
            raise TypeError(
                "expected the field {!r} of {} to be a Literal: it tells messages apart".format(
                    model.field, model.cls.__qualname__
                )
            )
        for tag in model.tags:
            other = self.by_tag.setdefault(tag, model)
            if other is not model:
                raise TypeError(
                    "expected messages with different tags, got {!r} for {} and {}".format(
                        tag, other.cls.__qualname__, model.cls.__qualname__
                    )
                )

    def read(self, value: object, text: "str | bytes | None" = None) -> Any:
        """Return the instance that a JSON value, or the text that it came as, stands for; raise :class:`BadMessage`."""
        if not isinstance(value, dict):
            raise bad("expected an object, got {}".format(shown(value)))
        model = self.models[0] if len(self.models) == 1 else self._model_for(value.get(self.field, MISSING))
        return model.read_message(value, text)

    def _model_for(self, tag: object) -> Model:
        # No bool: True is 1 to a dictionary. Nor a list, which is no key at all.
        model = self.by_tag.get(tag) if type(tag) in (str, int) else None  # type: ignore[call-overload]  # just asked
        if model is None:
            expected = " or ".join(json.dumps(known, ensure_ascii=False) for known in self.by_tag)
            raise bad("expected {}, got {}".format(expected, "nothing" if tag is MISSING else shown(tag)), self.field)
        return model  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=1024)
def union_of(expected: "tuple[Any, ...]") -> Union:
    """Return what tells messages apart, given classes and unions of classes; raise TypeError where nothing can."""
    classes = [cls for item in expected for cls in alternatives(item)]
    if not classes:
        raise TypeError("expected at least one class of messages, got none")
    return Union([model_of(cls) for cls in dict.fromkeys(classes)])


def snake_case(name: str) -> str:
    """Return the name of a class in snake case: ``UserJoined`` is ``user_joined``, ``HTTPError`` is ``http_error``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", re.sub(r"\W+", "_", name).strip("_"))
    return words.lower()


# Sending ------------------------------------------------------------------------------------------------------


def json_value(instance: Any) -> "dict[str, Any]":
    """Return the JSON object that stands for an instance of a class of messages."""
    cls: Any = type(instance)
    return model_of(cls).write_message(instance)


def json_text(instance: object) -> str:
    """Return the JSON text that stands for an instance; raise ValueError for a number that JSON has not."""
    return json.dumps(json_value(instance), cls=DjangoJSONEncoder, allow_nan=False)


@functools.lru_cache(maxsize=64)
def encoder_with_models(encoder: "type[json.JSONEncoder]") -> "type[json.JSONEncoder]":
    """Return a JSON encoder that knows messages besides."""

    class EncoderWithModels(encoder):  # type: ignore[valid-type, misc]
        default: Any

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # An argument ``default`` hides the method of that name.
            self._others: Any = self.default
            self.default = self._default

        def _default(self, o: object) -> Any:
            return json_value(o) if is_model(o) else self._others(o)

    return EncoderWithModels


def dumps_with_models(value: object, arguments: "dict[str, Any]") -> str:
    """Return JSON as ``json.dumps`` does with these arguments, of messages too."""
    return json.dumps(value, **dict(arguments, cls=encoder_with_models(arguments["cls"])))
