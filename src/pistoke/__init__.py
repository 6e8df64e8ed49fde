"""WebSockets as ordinary Django views."""

import importlib
import sys
import types
import typing

import django
from django.apps import AppConfig

if typing.TYPE_CHECKING:
    from .exceptions import WebsocketDisconnect
    from .nakyma import WebsocketNakyma
    from .protocol import WebsocketJSONProtocol, WebsocketProtocol, WebsocketSubprotocol
    from .protokolla import (
        WebsocketAliProtokolla,
        WebsocketAliprotokolla,
        WebsocketJSONProtokolla,
        WebsocketProtokolla,
    )
    from .views import WebsocketView

__all__ = [
    "Pistoke",
    "WebsocketAliProtokolla",
    "WebsocketAliprotokolla",
    "WebsocketDisconnect",
    "WebsocketJSONProtocol",
    "WebsocketJSONProtokolla",
    "WebsocketNakyma",
    "WebsocketProtocol",
    "WebsocketProtokolla",
    "WebsocketSubprotocol",
    "WebsocketView",
]
__version__ = "1.0.0"

#: Where the names above come from.
_MODULES = ("views", "protocol", "exceptions", "nakyma", "protokolla")


class Pistoke(AppConfig):
    """WebSockets as ordinary Django views."""

    name = "pistoke"
    verbose_name: str = "Pistoke"

    def ready(self) -> None:
        """Register the system checks; listen to what happens to users."""
        from . import checks  # noqa: F401
        from .pubsub import accounts

        accounts.connect()


if django.VERSION < (3, 2):
    # Later versions find the configuration in ``apps.py``, and warn of this. (Not in ``_compat.py``, which imports much.)
    default_app_config = "pistoke.Pistoke"


class _Package(types.ModuleType):
    """Imports what is asked for when it is asked for.

    Settings files and ``asgi.py`` import this package before Django is set up. (A ``__getattr__`` of the module itself
    would do the same from Python 3.7 on.)
    """

    def __getattr__(self, name: str) -> typing.Any:
        if name in __all__:
            for module in _MODULES:
                found = getattr(importlib.import_module("pistoke." + module), name, None)
                if found is not None:
                    setattr(self, name, found)
                    return found
        raise AttributeError("module {!r} has no attribute {!r}".format(self.__name__, name))


sys.modules[__name__].__class__ = _Package
