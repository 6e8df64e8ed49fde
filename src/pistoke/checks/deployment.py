"""Checks of what a project is deployed with: `manage.py check --deploy`."""

import http.cookies
import sys
from typing import Any, List

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.utils.module_loading import import_string

from .messages import W005, W007, W008, about
from .urls import has_sockets


@register(Tags.security, deploy=True)
def check_origins(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that there is something to compare an ``Origin`` with."""
    return [W005] if "*" in settings.ALLOWED_HOSTS else []


@register("pistoke", deploy=True)
def check_application(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that what an ASGI server would run answers sockets, where views are meant for them."""
    from django.core.handlers.asgi import ASGIHandler

    path = application_path()
    return [about(W007, path)] if has_sockets() and type(application_at(path)) is ASGIHandler else []


def application_path() -> str:
    """Return the dotted path of the project's ASGI application: what the settings say, or what `startproject` has made."""
    package = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    return getattr(settings, "ASGI_APPLICATION", None) or package + ".asgi.application"


def application_at(path: str) -> Any:
    """Return an ASGI application, None where there is none of that name or it cannot be made here."""
    try:
        return import_string(path)
    except Exception:
        return None


@register(Tags.security, deploy=True)
def check_python(app_configs: Any, **kwargs: Any) -> List[CheckMessage]:
    """Check that nobody can keep the event loop busy with a cookie."""
    return [] if reads_cookies_fast() else [W008]


def reads_cookies_fast() -> bool:
    """Tell whether this Python has the correction for CVE-2024-7592: distributions have it in older versions too."""
    return sys.version_info >= (3, 13) or hasattr(http.cookies, "_unquote_replace")
