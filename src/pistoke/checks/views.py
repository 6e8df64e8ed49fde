"""Checks of views."""

from typing import Any, Container, Dict, List

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.urls import get_resolver

from .._compat import iscoroutinefunction
from ..views import WebsocketView
from .messages import E001, E002, E003, E006, W003, about
from .urls import attribute, label, layers_of, views_of


@register(Tags.urls)
def check_views(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check every view of the URLconf."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found: "dict[tuple[Any, Any], CheckMessage]" = {}
    for view in views_of(get_resolver(), visited=set()):
        for message in check_view(view):
            found.setdefault((message.id, message.obj), message)
    return list(found.values())


def check_view(view: Any) -> List[CheckMessage]:
    """Return a list of what is wrong with a view, whatever it is decorated with."""
    layers = list(layers_of(view))
    if any(attribute(layer, "consumer_class") or is_consumer(layer) for layer in layers):
        return [about(E006, label(layers[-1]))]
    for layer in layers:
        view_class = attribute(layer, "view_class")
        if isinstance(view_class, type):
            return check_view_class(view_class, attribute(layer, "view_initkwargs") or {})
    return check_view_function(layers)


def is_consumer(view: Any) -> bool:
    """Tell whether a view is a class of Django Channels, not even made an application by its ``as_asgi``."""
    return isinstance(view, type) and hasattr(view, "as_asgi")


def check_view_class(view_class: Any, initkwargs: Dict[str, Any]) -> List[CheckMessage]:
    """Return a list of what is wrong with the ``websocket`` method of a view class."""
    method = getattr(view_class, "websocket", None)
    if method is None or method is WebsocketView.websocket:
        return [about(W003, label(view_class))] if issubclass(view_class, WebsocketView) else []
    if not callable(method):
        return []
    allowed = allows_websocket(initkwargs.get("http_method_names", view_class.http_method_names))
    if is_async(method):
        return [] if allowed else [about(E002, label(view_class))]
    # Where it is not allowed, a plain `def` of that name has nothing to do with us.
    return [about(E001, label(view_class))] if allowed else []


def allows_websocket(http_method_names: Container[str]) -> bool:
    """Tell whether ``View.dispatch`` would find the method among these names."""
    return "websocket" in http_method_names


def check_view_function(layers: List[Any]) -> List[CheckMessage]:
    """Return a list of what is wrong with a function view, given its layers of decorators."""
    if not any(attribute(layer, "websocket_protocol") for layer in layers):
        return []
    return [] if is_async(layers[-1]) else [about(E003, label(layers[-1]))]


def is_async(function: Any) -> bool:
    """Tell whether what is under all the decorators is an ``async def``.

    Decorators themselves are not asked: ``functools.wraps`` makes any of them look like what it decorates.
    """
    innermost = list(layers_of(function))[-1]
    return callable(innermost) and (iscoroutinefunction(innermost) or iscoroutinefunction(type(innermost).__call__))
