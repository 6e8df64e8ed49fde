"""What a project's settings need for sockets, added to them in place."""

from typing import Any, MutableMapping, Sequence

APP = "pistoke.Pistoke"
APP_SPELLINGS = (APP, "pistoke")

MIDDLEWARE = "pistoke.ohjain.WebsocketOhjain"
MIDDLEWARE_SPELLINGS = (MIDDLEWARE, "pistoke.middleware.WebsocketMiddleware")

STATICFILES = "django.contrib.staticfiles"


def extend(settings: MutableMapping[str, Any]) -> None:
    """Add the application and the middleware to a settings namespace.

    A namespace that holds neither ``INSTALLED_APPS`` nor ``MIDDLEWARE`` is left as it is, and so is one that has been
    extended before. Lists are changed in place, because other extensions may hold on to them; tuples are replaced.
    """
    for name, extended in (("INSTALLED_APPS", with_app), ("MIDDLEWARE", with_middleware)):
        if name in settings:
            store(settings, name, extended(list(settings[name])))


def store(settings: MutableMapping[str, Any], name: str, items: "list[str]") -> None:
    """Put the items in place of the list or tuple of that name."""
    if isinstance(settings[name], list):
        settings[name][:] = items
    else:
        settings[name] = type(settings[name])(items)


def with_app(apps: "list[str]") -> "list[str]":
    """Return the applications with ours, once, before ``staticfiles``: the first ``runserver`` command wins."""
    present = positions(apps, APP_SPELLINGS)
    goal = next((index for index, app in enumerate(apps) if is_staticfiles(app)), len(apps))
    if len(present) == 1 and present[0] < goal:
        return apps
    spelling = apps[present[0]] if present else APP
    return without(apps[:goal], APP_SPELLINGS) + [spelling] + without(apps[goal:], APP_SPELLINGS)


def with_middleware(middleware: "list[str]") -> "list[str]":
    """Return the middleware with ours, once."""
    return middleware if positions(middleware, MIDDLEWARE_SPELLINGS) else middleware + [MIDDLEWARE]


def is_staticfiles(app: str) -> bool:
    """Tell whether the entry is Django's ``staticfiles``, by its module or by its configuration class."""
    return app == STATICFILES or app.startswith(STATICFILES + ".")


def positions(items: Sequence[str], spellings: Sequence[str]) -> "list[int]":
    """Return the indices of the items that are one of the spellings."""
    return [index for index, item in enumerate(items) if item in spellings]


def without(items: Sequence[str], spellings: Sequence[str]) -> "list[str]":
    """Return the items that are none of the spellings."""
    return [item for item in items if item not in spellings]
