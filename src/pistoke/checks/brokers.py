"""Checks of brokers."""

from typing import Any, List

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from ..conf import conf
from ..pubsub import signout
from ..pubsub.broker import DEFAULT, brokers
from .messages import E005, W006, about
from .urls import has_sockets


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
