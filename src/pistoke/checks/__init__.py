"""System checks: what would go wrong with sockets, said before it does.

=====  ==========================================================================
E001   a view's ``websocket`` is a plain ``def``
E002   a view has an ``async def websocket``, but does not allow the method
E003   a plain ``def`` function view is decorated with a protocol
E004   a ``PISTOKE_…`` setting has a value of a wrong type
E005   a broker of ``PISTOKE_PUBSUB`` cannot be made, or there is no ``default``
E006   a consumer of Channels stands in the URLconf as it is
W001   an application before this one provides a ``runserver`` of its own
W002   ``WebsocketMiddleware`` is missing
W003   a ``WebsocketView`` in the URLconf has no ``websocket``
W004   a ``PISTOKE_…`` setting is unknown
W005   any ``Origin`` is let through (deployment check)
W006   other processes are not told who signs out (deployment check)
W007   the ASGI application is Django's own (deployment check)
W008   Python lacks a security fix (deployment check)
I001   a middleware takes each handshake through a thread
=====  ==========================================================================
"""

from ..conf import DEFAULTS
from .applications import check_runserver
from .brokers import check_brokers, check_sign_out
from .deployment import check_application, check_origins, check_python
from .messages import (
    E001,
    E002,
    E003,
    E004,
    E005,
    E006,
    I001,
    W001,
    W002,
    W003,
    W004,
    W005,
    W006,
    W007,
    W008,
    about,
)
from .middleware import check_blocking_middleware, check_websocket_middleware
from .settings import check_setting, check_settings
from .urls import attribute, has_sockets, is_for_sockets, label, layers_of, patterns_of, views_of
from .views import check_view, check_view_class, check_views

__all__ = [
    "DEFAULTS",
    "E001", "E002", "E003", "E004", "E005", "E006",
    "I001",
    "W001", "W002", "W003", "W004", "W005", "W006", "W007", "W008",
    "about", "attribute",
    "check_application", "check_blocking_middleware", "check_brokers", "check_origins", "check_python", "check_runserver",
    "check_setting", "check_settings", "check_sign_out", "check_view", "check_view_class", "check_views",
    "check_websocket_middleware",
    "has_sockets", "is_for_sockets", "label", "layers_of", "patterns_of", "views_of",
]
