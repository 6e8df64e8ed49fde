"""Finnish names of :mod:`pistoke.views`."""

from pistoke.views import WebsocketView as WebsocketNakyma

__all__ = ["WebsocketNakyma"]
