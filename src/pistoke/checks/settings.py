"""Checks of settings."""

from typing import Any, Callable, List, Tuple

from django.conf import settings
from django.core.checks import CheckMessage, register

from ..conf import DEFAULTS
from ..limits import LIMITS, TIME_OR_NONE, is_count
from .messages import E004, W004, about


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
