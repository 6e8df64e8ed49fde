"""Structs of msgspec as messages."""

import json
import re
import typing
from typing import Any

import msgspec
from django.core.serializers.json import DjangoJSONEncoder

from .models import TAG_FIELD, Model, OwnTag
from .problems import bad

if typing.TYPE_CHECKING:
    from .models import Schema


class MsgspecModel(Model):
    """A struct. Its own tag, if it has one (``tag=True``, ``tag_field=…``), tells it apart."""

    def find_own_tag(self) -> "OwnTag | None":
        """Return the tag of the struct."""
        config = self.cls.__struct_config__  # type: ignore[attr-defined]  # a struct has it
        if config.array_like:
            raise TypeError("expected a struct that is an object in JSON, got {!r}, a list".format(self.cls))
        if config.tag is not None:
            return OwnTag(config.tag_field, (config.tag,))
        return OwnTag(TAG_FIELD, ()) if TAG_FIELD in self.cls.__struct_encode_fields__ else None  # type: ignore[attr-defined]

    def read(self, value: "dict[str, Any]", text: "str | bytes | None") -> Any:
        """Return the struct."""
        if text is None:
            text = json.dumps(value, cls=DjangoJSONEncoder)
        try:
            return msgspec.json.decode(text if isinstance(text, bytes) else text.encode(), type=self.cls)
        except msgspec.DecodeError as exc:
            sentence, place = split(str(exc))
            raise bad(sentence, *place) from exc

    def write(self, instance: Any) -> Any:
        """Return the fields, and the tag if there is one."""
        return json.loads(msgspec.json.encode(instance))

    def schema(self, reference: str) -> "tuple[Schema, dict[str, Schema]]":
        """Return what msgspec says of it."""
        template = reference.replace("{model}", "{name}")
        (schema,), others = msgspec.json.schema_components((self.cls,), ref_template=template)
        name = schema["$ref"].rpartition("/")[2].rpartition(".")[2]
        found = others[name] if name in others else next(iter(others.values()))
        if '"{}"'.format(schema["$ref"]) not in json.dumps(others):
            others = {key: other for key, other in others.items() if other is not found}
        return found, others


def split(message: str) -> "tuple[str, list[str | int]]":
    """Return what msgspec says is wrong, and where, given its message: ``… - at `$.points[0].x```."""
    sentence, _, place = message.partition(" - at `")
    parts = re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", place)
    return sentence, [name or (int(index) if index.isdigit() else index) for name, index in parts]
