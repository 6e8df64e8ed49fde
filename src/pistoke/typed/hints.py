"""Looking into type hints: what they are made of, in every version of Python."""

import typing
from typing import Any

NoneType: "type[None]" = type(None)


def origin(hint: Any) -> Any:
    """Return what a hint is made of: ``list`` of ``List[int]``, ``Union`` of ``int | str``; None of a plain class."""
    if is_union(hint):
        return typing.Union
    return getattr(hint, "__origin__", None)


def arguments(hint: Any) -> "tuple[Any, ...]":
    """Return what stands in the brackets of a hint."""
    found = tuple(getattr(hint, "__args__", None) or ())
    # Before 3.9 ``typing.List`` has a variable in its brackets where nobody wrote any.
    return () if any(isinstance(item, typing.TypeVar) for item in found) else found


def is_union(hint: Any) -> bool:
    """Return whether a hint is a union, however it was written."""
    return getattr(hint, "__origin__", None) is typing.Union or type(hint).__name__ == "UnionType"


def is_literal(hint: Any) -> bool:
    """Return whether a hint is a ``Literal``, of ``typing`` or of ``typing_extensions``."""
    return getattr(getattr(hint, "__origin__", None), "_name", None) == "Literal"


def literal_values(hint: Any) -> "tuple[Any, ...]":
    """Return the values of a ``Literal`` as they stand in JSON, nothing for another hint."""
    if not is_literal(hint):
        return ()
    return tuple(getattr(value, "value", value) for value in hint.__args__)


def unwrapped(hint: Any) -> Any:
    """Return a hint without ``Annotated``, ``NewType``, ``Final`` and the name that a ``type`` statement gave to it."""
    while True:
        if hasattr(hint, "__metadata__"):
            hint = hint.__origin__
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def alternatives(hint: Any) -> "list[Any]":
    """Return what a union is of, those of the unions in it too; of anything else, itself."""
    hint = unwrapped(hint)
    if not is_union(hint):
        return [hint]
    return [item for argument in hint.__args__ for item in alternatives(argument)]


def name_of(hint: Any) -> str:
    """Return what a hint is called where somebody is told of it."""
    if hint is NoneType:
        return "null"
    if is_literal(hint) or is_union(hint) or arguments(hint):
        return str(hint).replace("typing.", "").replace("typing_extensions.", "")
    return str(getattr(hint, "__name__", hint))
