"""Finnish names of :mod:`pistoke.testing`."""

from pistoke.testing import WebsocketClient as WebsocketPaate
from pistoke.testing import WebsocketTestCase as WebsocketTesti

__all__ = ["WebsocketPaate", "WebsocketTesti"]
