"""Names of earlier releases that still work, and say that they will not for ever."""

import functools
import sys
import warnings
from typing import Any, Callable, Type, TypeVar, cast

from pistoke.decorators import csrf_handshake, json_messages
from pistoke.protocol import WebsocketSubprotocol

Factory = TypeVar("Factory", bound=Callable[..., Any])


def deprecated_alias(name: str, instead: str, replacement: Factory) -> Factory:
    """Return a callable that does what the replacement does, with a ``DeprecationWarning`` at each use.

    ``name`` and ``instead`` are the dotted old and new spelling, for the text of the warning.
    """
    message = "{} is deprecated, use {} instead".format(name, instead)

    def alias(*args: Any, **kwargs: Any) -> Any:
        if not decorates_bound_method(args):
            warnings.warn(message, DeprecationWarning, stacklevel=level_of_caller())
        return replacement(*args, **kwargs)

    alias.__name__ = alias.__qualname__ = name.rpartition(".")[2]
    alias.__doc__ = "Do what :func:`{}` does; deprecated.".format(instead)
    return cast(Factory, alias)


def decorates_bound_method(args: "tuple[Any, ...]") -> bool:
    """Tell whether this is Django's ``method_decorator`` at work on one request.

    It decorates once in the class body, where there is somebody to warn, and then again, at each request, a partial
    that stands for the bound method.
    """
    return len(args) == 1 and isinstance(args[0], functools.partial)


def level_of_caller() -> int:
    """Return the ``stacklevel`` of the code that uses an alias, itself or through ``method_decorator``."""
    level = 2
    frame = sys._getframe(level)
    while frame.f_back is not None and frame.f_globals.get("__name__") == "django.utils.decorators":
        frame, level = frame.f_back, level + 1
    return level


json_viestiliikenne: "Type[json_messages]" = deprecated_alias(
    "pistoke.tyokalut.json_viestiliikenne", "pistoke.tyokalut.JsonLiikenne", json_messages
)
csrf_tarkistus: "Type[csrf_handshake]" = deprecated_alias(
    "pistoke.tyokalut.csrf_tarkistus", "pistoke.tyokalut.CsrfKattely", csrf_handshake
)
protokolla: "Type[WebsocketSubprotocol]" = deprecated_alias(
    "pistoke.tyokalut.protokolla", "pistoke.protokolla.WebsocketAliprotokolla", WebsocketSubprotocol
)
