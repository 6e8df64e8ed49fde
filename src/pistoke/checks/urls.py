"""The views of the URLconf, and what is under their decorators."""

import functools
from typing import Any, Iterator, Set

from django.conf import settings
from django.urls import get_resolver

#: No view has more decorators than this; what seems to have is wrapped in itself.
MAX_LAYERS = 100


def has_sockets() -> bool:
    """Tell whether a view of the URLconf is clearly meant for sockets."""
    return bool(getattr(settings, "ROOT_URLCONF", None)) and any(map(is_for_sockets, views_of(get_resolver(), set())))


def is_for_sockets(view: Any) -> bool:
    """Tell whether a view has a protocol, or is that of a class with a ``websocket`` method."""
    layers = list(layers_of(view))
    classes = [attribute(layer, "view_class") for layer in layers]
    return any(attribute(layer, "websocket_protocol") for layer in layers) or any(
        hasattr(view_class, "websocket") for view_class in classes
    )


def views_of(resolver: Any, visited: Set[int]) -> Iterator[Any]:
    """Yield the views of a resolver and of those that it includes.

    ``visited`` holds the identities of the pattern lists seen so far: two URLconfs may include each other.
    """
    patterns = patterns_of(resolver)
    if id(patterns) in visited:
        return
    visited.add(id(patterns))
    for pattern in patterns:
        if hasattr(type(pattern), "url_patterns"):
            yield from views_of(pattern, visited)
        elif callable(getattr(pattern, "callback", None)):
            yield pattern.callback


def patterns_of(resolver: Any) -> Any:
    """Return the patterns of a resolver, none if they cannot be had: Django itself reports a broken URLconf."""
    try:
        iter(resolver.url_patterns)
    except Exception:
        return []
    return resolver.url_patterns


def layers_of(view: Any) -> Iterator[Any]:
    """Yield a view and what it wraps, outermost first."""
    for _ in range(MAX_LAYERS):
        yield view
        view = view.func if isinstance(view, functools.partial) else attribute(view, "__wrapped__")
        if view is None:
            return


def attribute(obj: Any, name: str) -> Any:
    """Return what is stored on the object itself, or None: views that are proxies or mocks have any attribute."""
    return getattr(obj, "__dict__", {}).get(name)


def label(view: Any) -> str:
    """Return the dotted path of a view function or class."""
    named = view if hasattr(view, "__qualname__") else type(view)
    return "{}.{}".format(named.__module__, named.__qualname__)
