"""The sockets of a URLconf as an AsyncAPI 3 document.

A channel is an address, which a view answers; its operations are what the application receives and sends there. See
https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

import inspect
import json
import re
import typing
from typing import Any

from django.urls import get_resolver
from django.utils.regex_helper import normalize

from ..checks import attribute, is_for_sockets, label, layers_of, patterns_of
from .declaration import Declaration
from .models import TAG_FIELD, Model, Schema, snake_case

#: What the path converters of Django accept, as JSON schemas.
CONVERTERS: "dict[str, Schema]" = {
    "IntConverter": {"type": "integer", "minimum": 0},
    "StringConverter": {"type": "string", "pattern": "^[^/]+$"},
    "SlugConverter": {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
    "UUIDConverter": {"type": "string", "format": "uuid"},
    "PathConverter": {"type": "string", "minLength": 1},
}

#: What the client is told of a bad message, as :class:`~.problems.BadMessage` says it.
ERROR: Schema = {
    "title": "Error",
    "description": "What is wrong with a message of the client's.",
    "type": "object",
    "properties": {
        TAG_FIELD: {"const": "error"},
        "message": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "message": {"type": "string"},
                },
                "required": ["loc", "message"],
            },
        },
    },
    "required": [TAG_FIELD, "message", "errors"],
}


class Route(typing.NamedTuple):
    """A view and a way to it: an address with its parameters in braces, and their schemas by their names."""

    address: str
    parameters: "dict[str, Schema]"
    name: str
    view: Any


# The URLconf --------------------------------------------------------------------------------------------------


def routes(urlconf: "str | None" = None) -> "typing.Iterator[Route]":
    """Yield a route for each address of a view of sockets."""
    yield from routes_in(get_resolver(urlconf), "/", {}, "", ())


def routes_in(
    resolver: Any, prefix: str, converters: "dict[str, Any]", namespace: str, around: "tuple[int, ...]"
) -> "typing.Iterator[Route]":
    """Yield the routes of a resolver: ``prefix`` is what comes before it, ``around`` are those that it is included by."""
    patterns = patterns_of(resolver)
    if id(patterns) in around:
        return
    for pattern in patterns:
        regex = prefix + re.sub(r"^\^", "", pattern.pattern.regex.pattern)
        known = dict(converters, **pattern.pattern.converters)
        if hasattr(type(pattern), "url_patterns"):
            inner = namespace + pattern.namespace + ":" if pattern.namespace else namespace
            yield from routes_in(pattern, regex, known, inner, (*around, id(patterns)))
        elif is_documented(pattern.callback):
            view = pattern.callback
            for text, names in normalize(regex):
                address = text % {name: "{" + name + "}" for name in names}
                parameters = {name: schema_of(known.get(name)) for name in names}
                yield Route(address, parameters, namespace + (pattern.name or ""), view)


def is_documented(view: Any) -> bool:
    """Return whether a view is one of sockets, as far as anybody can tell."""
    return callable(view) and (is_for_sockets(view) or declaration_of(view) is not None)


def declaration_of(view: Any) -> "Declaration | None":
    """Return what a view has declared of its messages."""
    for layer in layers_of(view):
        view_class = attribute(layer, "view_class")
        declared = attribute(layer, "websocket_messages") or attribute(
            getattr(view_class, "websocket", None), "websocket_messages"
        )
        if declared is not None:
            return declared  # type: ignore[no-any-return]  # it has that name for this
    return None


def schema_of(converter: Any) -> Schema:
    """Return the schema of what a path converter accepts; its own comes first, if it has one as ``schema``."""
    if converter is None:
        return {"type": "string"}
    known: Schema = getattr(converter, "schema", None) or CONVERTERS.get(type(converter).__name__, {})
    return known or {"type": "string", "pattern": "^(?:{})$".format(converter.regex)}


def described(view: Any) -> str:
    """Return what is written on a view: of a class, on its ``websocket`` method or else on itself."""
    for layer in layers_of(view):
        view_class = attribute(layer, "view_class")
        if isinstance(view_class, type):
            method = getattr(view_class, "websocket", None)
            return inspect.cleandoc(getattr(method, "__doc__", None) or vars(view_class).get("__doc__") or "")
    return inspect.cleandoc(getattr(view, "__doc__", None) or "")


# The document -------------------------------------------------------------------------------------------------


class Document:
    """An AsyncAPI document while it is being written."""

    def __init__(self, title: str, version: str, urlconf: "str | None" = None) -> None:
        self.channels: "dict[str, Any]" = {}
        self.operations: "dict[str, Any]" = {}
        self.messages: "dict[str, Any]" = {}
        self.schemas: "dict[str, Schema]" = {}
        self.info: "dict[str, str]" = {"title": title, "version": version}
        # Which class each message is of.
        self._classes: "dict[str, type | None]" = {}
        for route in routes(urlconf):
            self.add(route)

    @property
    def content(self) -> "dict[str, Any]":
        """The whole document."""
        return {
            "asyncapi": "3.0.0",
            "info": self.info,
            "defaultContentType": "application/json",
            "channels": self.channels,
            "operations": self.operations,
            "components": {"messages": self.messages, "schemas": self.schemas},
        }

    def add(self, route: Route) -> None:
        """Add a channel, and its operations as far as they are declared."""
        key = unused(key_of(route), self.channels)
        declared = declaration_of(route.view) or Declaration()
        received = [self.message(model) for model in declared.received]
        sent = [self.message(model) for model in declared.sent]
        if received and declared.on_error == "reply":
            sent.append(self.error())
        channel: "dict[str, Any]" = {"address": route.address, "title": label_of(route.view)}
        if described(route.view):
            channel["description"] = described(route.view)
        if route.parameters:
            channel["parameters"] = {name: parameter(schema) for name, schema in route.parameters.items()}
        if received or sent:
            channel["messages"] = {name: refer("components", "messages", name) for name in [*received, *sent]}
        self.channels[key] = dict(channel, bindings={"ws": {"method": "GET"}})
        for action, names in (("receive", received), ("send", sent)):
            if names:
                self.operations[action + "." + key] = operation(action, key, names)

    def message(self, model: Model) -> str:
        """Add a message unless it is there; return its name."""
        name = model.name
        if self._classes.setdefault(name, model.cls) is not model.cls:
            name = re.sub(r"\W+", "_", "{}_{}".format(model.cls.__module__, model.cls.__qualname__))
            self._classes[name] = model.cls
        if name not in self.messages:
            self.messages[name] = self.described_message(name, model)
        return name

    def described_message(self, name: str, model: Model) -> "dict[str, Any]":
        """Return a message, its schema included."""
        schema, others = cleaned_schemas(model, "{model}")
        if any(self.schemas.get(key, other) != other for key, other in others.items()):
            # Another class of that name.
            schema, others = cleaned_schemas(model, name + ".{model}")
            others = {"{}.{}".format(name, key): other for key, other in others.items()}
        self.schemas.update(others)
        tag = model.tags[0] if model.tags else snake_case(name)
        return {"name": str(tag), "title": model.cls.__name__, "payload": schema}

    def error(self) -> str:
        """Add the message about a bad one; return its name."""
        name = "pistoke_Error"
        self.messages[name] = {"name": "error", "title": "Error", "payload": ERROR}
        return name


def cleaned_schemas(model: Model, name: str) -> "tuple[Any, dict[str, Any]]":
    """Return the schema of a message, and those it refers to, by names of that pattern."""
    schema, others = model.message_schema("#/components/schemas/" + name)
    return cleaned(schema), {key: cleaned(other) for key, other in others.items()}


def key_of(route: Route) -> str:
    """Return what a channel is called: the name of its URL, or else its address."""
    return re.sub(r"[^\w.-]+", ".", route.name or route.address.strip("/")).strip(".") or "root"


def unused(key: str, used: "typing.Container[str]") -> str:
    """Return a key that is not used yet."""
    number, tried = 1, key
    while tried in used:
        number += 1
        tried = "{}.{}".format(key, number)
    return tried


def label_of(view: Any) -> str:
    """Return the dotted path of a view."""
    for layer in layers_of(view):
        view_class = attribute(layer, "view_class")
        if isinstance(view_class, type):
            return label(view_class)
    return label(view)


def parameter(schema: Schema) -> "dict[str, Any]":
    """Return a parameter of an address. Version 3 has no room for its schema: it is an extension."""
    words = ", ".join("{}: {}".format(key, value) for key, value in schema.items())
    return {"description": words, "x-schema": schema}


def operation(action: str, key: str, names: "typing.Sequence[str]") -> "dict[str, Any]":
    """Return what the application does on a channel."""
    return {
        "action": action,
        "channel": refer("channels", key),
        "messages": [refer("channels", key, "messages", name) for name in names],
    }


def refer(*path: str) -> "dict[str, str]":
    """Return a reference to a place in the document."""
    return {"$ref": "#/" + "/".join(path)}


def cleaned(schema: Any) -> Any:
    """Return a schema as AsyncAPI has it: a discriminator is the name of a field, as it is not in OpenAPI."""
    if isinstance(schema, list):
        return [cleaned(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: cleaned(value) for key, value in schema.items()}
    if isinstance(made.get("discriminator"), dict) and "propertyName" in made["discriminator"]:
        made["discriminator"] = made["discriminator"]["propertyName"]
    return made


# Text ---------------------------------------------------------------------------------------------------------


def as_json(content: "dict[str, Any]") -> str:
    """Return a document as JSON."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_yaml(content: "dict[str, Any]") -> str:
    """Return a document as YAML; raise ImportError where there is no PyYAML."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes out what occurs twice."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    return text
