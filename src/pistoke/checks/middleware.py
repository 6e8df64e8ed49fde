"""Checks of `MIDDLEWARE`."""

from typing import Any, List

from django.conf import settings
from django.core.checks import CheckMessage, register
from django.utils.module_loading import import_string

from ..chain import HOOKS, is_hooks_only, is_skipped, runs_inline
from ..middleware import WebsocketMiddleware
from .messages import I001, W002, about

#: The two spellings under which ``MIDDLEWARE`` may name ours.
OUR_MIDDLEWARE = ("pistoke.ohjain.WebsocketOhjain", "pistoke.middleware.WebsocketMiddleware")


@register("pistoke")
def check_websocket_middleware(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that HTTP requests get their ``request.websocket``."""
    return [] if any(map(is_websocket_middleware, settings.MIDDLEWARE)) else [W002]


def is_websocket_middleware(path: str) -> bool:
    """Tell whether a dotted path names our middleware, or one derived from it."""
    if path in OUR_MIDDLEWARE:
        return True
    middleware = imported(path)
    return isinstance(middleware, type) and issubclass(middleware, WebsocketMiddleware)


@register("pistoke")
def check_blocking_middleware(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Name the middleware that makes each handshake pay for a thread."""
    return [about(I001, path) for path in settings.MIDDLEWARE if blocks(path, imported(path))]


def blocks(path: str, middleware: Any) -> bool:
    """Tell whether sockets run a middleware, listed as ``path``, and cannot run it on the event loop."""
    if middleware is None or is_skipped(path, middleware) or runs_inline(middleware):
        return False
    if any(hasattr(middleware, hook) for hook in HOOKS):
        return True
    return not is_hooks_only(middleware) and not getattr(middleware, "async_capable", False)


def imported(path: str) -> Any:
    """Return what a dotted path names, or None: Django itself reports what cannot be imported."""
    try:
        return import_string(path)
    except ImportError:
        return None
