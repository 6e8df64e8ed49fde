"""Finnish names of :mod:`pistoke.middleware`."""

from pistoke.middleware import CsrfMiddleware as CsrfOhjain
from pistoke.middleware import OriginMiddleware as OriginVaatimus
from pistoke.middleware import WebsocketMiddleware as WebsocketOhjain

__all__ = ["CsrfOhjain", "OriginVaatimus", "WebsocketOhjain"]
