"""System checks: what would go wrong with sockets, said before it does.

=====  ==========================================================================
E001   a view's ``websocket`` is a plain ``def``
E002   a view has an ``async def websocket``, but does not allow the method
E003   a plain ``def`` function view is decorated with a protocol
E004   a ``PISTOKE_…`` setting has a value of a wrong type
E005   a broker of ``PISTOKE_PUBSUB`` cannot be made, or there is no ``default``
W001   an application before this one provides a ``runserver`` of its own
W002   ``WebsocketMiddleware`` is missing
W003   a ``WebsocketView`` in the URLconf has no ``websocket``
W004   a ``PISTOKE_…`` setting is unknown
W005   any ``Origin`` is let through (deployment check)
W006   other processes are not told who signs out (deployment check)
I001   a middleware takes each handshake through a thread
=====  ==========================================================================
"""

import copy
import functools
import os
from typing import Any, Callable, Container, Dict, Iterator, List, Set, Tuple

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.core.management import find_commands
from django.urls import get_resolver
from django.utils.module_loading import import_string

from pistoke._compat import iscoroutinefunction
from pistoke.chain import HOOKS, is_hooks_only, is_skipped, runs_inline
from pistoke.conf import DEFAULTS, conf
from pistoke.limits import LIMITS, TIME_OR_NONE, is_count
from pistoke.middleware import WebsocketMiddleware
from pistoke.pubsub import signout
from pistoke.pubsub.broker import DEFAULT, brokers
from pistoke.views import WebsocketView

E001 = Error(
    "The method 'websocket' of this view is a plain 'def'.",
    hint="Write 'async def websocket(self, request, ...)'. Synchronous code in it goes through sync_to_async().",
    id="pistoke.E001",
)
E002 = Error(
    "This view has a method 'websocket', but WebSocket requests are not among those it allows.",
    hint="Inherit from pistoke.views.WebsocketView, or add 'websocket' to a list http_method_names of the class.",
    id="pistoke.E002",
)
E003 = Error(
    "This view is decorated with a WebSocket protocol, but it is a plain 'def'.",
    hint="Write 'async def', or leave the protocol out of a view that answers HTTP requests only.",
    id="pistoke.E003",
)
E004 = Error(
    "The setting has a value of a wrong type.",
    id="pistoke.E004",
)
E005 = Error(
    "The broker cannot be made.",
    hint="PISTOKE_PUBSUB is like CACHES: each broker is a dictionary of BACKEND, LOCATION, OPTIONS and HISTORY, and one is "
    "called 'default'.",
    id="pistoke.E005",
)
W001 = Warning(
    "This application comes before 'pistoke.Pistoke' in INSTALLED_APPS and has a 'runserver' command of its own, so "
    "that 'manage.py runserver' serves no WebSockets.",
    hint="Move 'pistoke.Pistoke' before it. Its 'runserver' is then built upon, and keeps its flags.",
    id="pistoke.W001",
)
W002 = Warning(
    "'pistoke.ohjain.WebsocketOhjain' is not in MIDDLEWARE, so that 'request.websocket' is not set for HTTP requests.",
    hint="Add it (or 'pistoke.middleware.WebsocketMiddleware', which is the same) to MIDDLEWARE.",
    id="pistoke.W002",
)
W003 = Warning(
    "This view inherits from WebsocketView, but has no method 'websocket'.",
    hint="Add 'async def websocket(self, request, ...)', or inherit from django.views.View.",
    id="pistoke.W003",
)
W004 = Warning(
    "There is no such setting.",
    id="pistoke.W004",
)
W005 = Warning(
    "ALLOWED_HOSTS contains '*', so that a page of any site may open a WebSocket to this one. Where the browser sends "
    "cookies along (SESSION_COOKIE_SAMESITE = 'None', or a page on a neighbouring subdomain), it opens with its "
    "visitor's session.",
    hint="List the host names of this site in ALLOWED_HOSTS.",
    id="pistoke.W005",
)
W006 = Warning(
    "The broker 'default' of PISTOKE_PUBSUB reaches this process only. Where there are several, users who sign out keep the "
    "WebSockets that they have open with the others until those look whether they are still logged in.",
    hint="Let PISTOKE_PUBSUB name Redis, PostgreSQL or a Channels layer. PISTOKE_SESSION_CHECK says how often they look. "
    "With a single process, add 'pistoke.W006' to SILENCED_SYSTEM_CHECKS.",
    id="pistoke.W006",
)
I001 = Info(
    "This middleware may block, so that each WebSocket handshake goes through a thread.",
    hint="Make it async-capable, or add it to PISTOKE_SKIP_MIDDLEWARE if sockets can do without it.",
    id="pistoke.I001",
)

#: The two spellings under which ``MIDDLEWARE`` may name ours.
OUR_MIDDLEWARE = ("pistoke.ohjain.WebsocketOhjain", "pistoke.middleware.WebsocketMiddleware")

#: Applications whose ``runserver`` is built on the next one, as ours is: they may come before us.
COOPERATIVE_RUNSERVERS = ("whitenoise.runserver_nostatic",)

#: No view has more decorators than this; what seems to have is wrapped in itself.
MAX_LAYERS = 100


def about(message: CheckMessage, obj: str, **changes: Any) -> CheckMessage:
    """Return the message as said of this object, with other attributes changed."""
    message = copy.copy(message)
    vars(message).update(changes, obj=obj)
    return message


# Applications -----------------------------------------------------------------------------------------------


@register("pistoke")
def check_runserver(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that the ``runserver`` of this package is the one that runs."""
    return [about(W001, config.name) for config in apps_before_us() if is_rival(config)]


def apps_before_us() -> List[AppConfig]:
    """Return the configurations of the applications listed before this one."""
    names = [config.name for config in apps.get_app_configs()]
    return list(apps.get_app_configs())[: names.index("pistoke") if "pistoke" in names else 0]


def is_rival(config: AppConfig) -> bool:
    """Tell whether an application hides our ``runserver`` with its own, without importing its command."""
    if config.name in COOPERATIVE_RUNSERVERS:
        return False
    return "runserver" in find_commands(os.path.join(config.path, "management"))


# Middleware -------------------------------------------------------------------------------------------------


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


# Settings ---------------------------------------------------------------------------------------------------


@register("pistoke")
def check_settings(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check the names and the types of the settings of this package."""
    given = [name for name in dir(settings) if name.startswith("PISTOKE_")]
    return [message for name in given for message in check_setting(name, getattr(settings, name))]


def check_setting(name: str, value: object) -> List[CheckMessage]:
    """Return a list of what is wrong with this setting, empty if nothing is."""
    if name not in DEFAULTS:
        return [about(W004, name, hint="Expected one of {}.".format(", ".join(sorted(DEFAULTS))))]
    expected, accepts = kind_of(name)
    if accepts(value):
        return []
    return [about(E004, name, msg="Expected {}, got {!r}.".format(expected, value))]


def kind_of(name: str) -> Tuple[str, Callable[[Any], bool]]:
    """Return what a setting may be: in words, and as a function that tells whether a value is."""
    default = DEFAULTS[name]
    limit = LIMITS.get(name[len("PISTOKE_"):].lower())
    if limit is not None:
        return limit
    if name.endswith("_GRACE"):
        return "a number of seconds", is_duration
    if name == "PISTOKE_SESSION_CHECK":
        return TIME_OR_NONE
    if isinstance(default, (tuple, list)):
        return "a list of dotted paths", is_list_of_paths
    if isinstance(default, int) and not isinstance(default, bool):
        return "a whole number above zero", is_count
    return "a value of type {}".format(type(default).__name__), lambda value: isinstance(value, type(default))


def is_duration(value: object) -> bool:
    """Tell whether the value is a number of seconds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def is_list_of_paths(value: object) -> bool:
    """Tell whether the value is a list of strings. A string alone, the usual mistake, is one of characters."""
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value)


@register(Tags.security, deploy=True)
def check_origins(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that there is something to compare an ``Origin`` with."""
    return [W005] if "*" in settings.ALLOWED_HOSTS else []


# Brokers ----------------------------------------------------------------------------------------------------


@register("pistoke")
def check_brokers(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that the brokers can be made."""
    configured = getattr(settings, "PISTOKE_PUBSUB", {DEFAULT: {}})
    if not isinstance(configured, dict):
        return []
    return [message for alias in dict.fromkeys([DEFAULT, *configured]) for message in broker_errors(alias)]


def broker_errors(alias: str) -> List[CheckMessage]:
    """Return a list of what keeps a broker from being made, empty if nothing does."""
    try:
        brokers[alias]
    except Exception as exc:
        return [about(E005, alias, msg=str(exc))]
    return []


@register(Tags.security, deploy=True)
def check_sign_out(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that sign-out reaches the sockets of other processes, where there may be any."""
    if not (signout.available and conf.SIGN_OUT and has_sockets()) or broker_errors(DEFAULT):
        return []
    return [] if brokers[DEFAULT].shared else [W006]


# Views ------------------------------------------------------------------------------------------------------


@register(Tags.urls)
def check_views(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check every view of the URLconf."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found = {}  # type: Dict[Tuple[Any, Any], CheckMessage]
    for view in views_of(get_resolver(), visited=set()):
        for message in check_view(view):
            found.setdefault((message.id, message.obj), message)
    return list(found.values())


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


def check_view(view: Any) -> List[CheckMessage]:
    """Return a list of what is wrong with a view, whatever it is decorated with."""
    layers = list(layers_of(view))
    for layer in layers:
        view_class = attribute(layer, "view_class")
        if isinstance(view_class, type):
            return check_view_class(view_class, attribute(layer, "view_initkwargs") or {})
    return check_view_function(layers)


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
