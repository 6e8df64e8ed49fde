"""Finnish names of :mod:`pistoke.request`."""

from pistoke.request import WebsocketRequest as WebsocketPyynto

__all__ = ["WebsocketPyynto"]
