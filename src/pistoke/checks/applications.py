"""Checks of applications: which `runserver` runs."""

import os
from typing import Any, List

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, register
from django.core.management import find_commands

from .messages import W001, about

#: Applications whose ``runserver`` is built on the next one, as ours is: they may come before us.
COOPERATIVE_RUNSERVERS = ("whitenoise.runserver_nostatic",)


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
