"""Finnish names of :mod:`pistoke.handler`."""

from pistoke.handler import WebsocketHandler as WebsocketKasittelija

__all__ = ["WebsocketKasittelija"]
