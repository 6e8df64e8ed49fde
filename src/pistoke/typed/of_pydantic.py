"""Models of pydantic as messages: those of version 2, its dataclasses too, and those of version 1."""

import json
import typing
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from .hints import literal_values
from .models import TAG_FIELD, Model, OwnTag
from .problems import MAX_PROBLEMS, BadMessage, problem

if typing.TYPE_CHECKING:
    from .models import Schema


class PydanticModel(Model):
    """A model or a dataclass of pydantic 2, read in its JSON mode and written by its aliases."""

    def __init__(self, cls: type) -> None:
        from pydantic import TypeAdapter

        self.adapter: Any = TypeAdapter(cls)
        super().__init__(cls)

    def find_own_tag(self) -> "OwnTag | None":
        """Return the field ``type``, or the one that is called so in JSON."""
        # A dataclass of pydantic's keeps its fields elsewhere.
        fields = getattr(self.cls, "model_fields", None) or getattr(self.cls, "__pydantic_fields__", {})
        for name, field in fields.items():
            if (field.validation_alias or field.alias or name) == TAG_FIELD:
                return OwnTag(TAG_FIELD, literal_values(field.annotation))
        return None

    def read(self, value: "dict[str, Any]", text: "str | bytes | None") -> Any:
        """Return the model."""
        from pydantic import ValidationError

        try:
            return self.adapter.validate_json(json.dumps(value, cls=DjangoJSONEncoder) if text is None else text)
        except ValidationError as exc:
            raise bad_message(exc.errors(include_url=False, include_context=False)) from exc

    def write(self, instance: Any) -> Any:
        """Return the fields."""
        return self.adapter.dump_python(instance, mode="json", by_alias=True)

    def schema(self, reference: str) -> "tuple[Schema, dict[str, Schema]]":
        """Return what pydantic says of it."""
        return taken_apart(self.adapter.json_schema(ref_template=reference), "$defs", reference)


class PydanticV1Model(Model):
    """A model of pydantic 1, or of ``pydantic.v1``."""

    cls: Any

    def find_own_tag(self) -> "OwnTag | None":
        """Return the field ``type``, or the one that is called so in JSON."""
        for field in self.cls.__fields__.values():
            if field.alias == TAG_FIELD:
                return OwnTag(TAG_FIELD, literal_values(field.outer_type_))
        return None

    def read(self, value: "dict[str, Any]", text: "str | bytes | None") -> Any:
        """Return the model."""
        try:
            return self.cls.parse_obj(value)
        except ValueError as exc:
            # There are two classes of that name, which of them depends on where the model comes from.
            if not hasattr(exc, "errors"):
                raise
            raise bad_message(exc.errors()) from exc

    def write(self, instance: Any) -> Any:
        """Return the fields."""
        return json.loads(instance.json(by_alias=True))

    def schema(self, reference: str) -> "tuple[Schema, dict[str, Schema]]":
        """Return what pydantic says of it."""
        return taken_apart(self.cls.schema(ref_template=reference), "definitions", reference)


def bad_message(errors: "list[dict[str, Any]]") -> BadMessage:
    """Return the exception for what pydantic says is wrong."""
    return BadMessage([problem(error["loc"], error["msg"]) for error in errors[:MAX_PROBLEMS]])


def taken_apart(schema: "Schema", key: str, reference: str) -> "tuple[Schema, dict[str, Schema]]":
    """Return a schema, and those that are in it under a key; one that is nothing but a reference is what it refers to."""
    others = schema.pop(key, {})
    if set(schema) == {"allOf"} and len(schema["allOf"]) == 1:
        # So earlier releases refer to a model that has itself within.
        schema = schema["allOf"][0]
    if set(schema) == {"$ref"}:
        schema = next(other for name, other in others.items() if reference.replace("{model}", name) == schema["$ref"])
    return schema, others
