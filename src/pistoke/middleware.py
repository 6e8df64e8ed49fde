"""The middleware of this package: what a page needs to open a socket, and what a socket is checked for."""

import functools
import logging
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponseForbidden
from django.http.request import split_domain_port, validate_host
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import is_same_domain
from django.utils.log import log_response

from ._compat import iscoroutinefunction
from ._types import View
from .chain import SKIPPED_MIDDLEWARE, runs_inline
from .pubsub.accounts import Acting, may_act
from .refusal import printable
from .request import WebsocketRequest

__all__ = ["CsrfMiddleware", "OriginMiddleware", "SKIPPED_MIDDLEWARE", "WebsocketMiddleware", "runs_inline"]

logger: logging.Logger = logging.getLogger("django.security.WebsocketOrigin")

#: The longest origin, in characters: twice the longest host name. What a stranger can make us remember is bounded.
MAX_ORIGIN = 512


class WebsocketMiddleware(MiddlewareMixin):
    """Give an HTTP request the address of sockets on the same server, as ``request.websocket``.

    It is ``ws://host``, or ``wss://host`` where the request is secure; a page adds a path to it. A request that did not
    come through an ASGI server has none: there would be nobody to answer.

    Where users change their own password, the sockets of the session in which they do are kept open.
    """

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request; note what happens to its user."""
        if iscoroutinefunction(self.get_response):
            return self.__acall__(request)
        if not may_act(request):
            return super().__call__(request)
        with Acting(request) as acting:
            response = super().__call__(request)
        acting.settle()
        return response

    async def __acall__(self, request: HttpRequest) -> Any:
        """The same, in a coroutine."""
        if not may_act(request):
            return await super().__acall__(request)
        with Acting(request) as acting:
            response = await super().__acall__(request)
        await acting.asettle()
        return response

    def process_request(self, request: HttpRequest) -> None:
        """Set ``request.websocket``."""
        if hasattr(request, "scope") and not isinstance(request, WebsocketRequest):
            scheme = "wss" if request.is_secure() else "ws"
            request.websocket = "{}://{}".format(scheme, request.get_host())  # type: ignore[attr-defined]  # ours


class OriginMiddleware(MiddlewareMixin):
    """Refuse a socket that a page of another site opens; it runs for every socket without being listed.

    A browser sends cookies along whichever page opens a socket, and no same-origin policy stands in the way; but it always
    says which page it was (RFC 6455 section 10.2). The host must be among ``ALLOWED_HOSTS``, or the origin among
    ``CSRF_TRUSTED_ORIGINS``. A client that is no browser sends no ``Origin`` and is let through.
    """

    def process_view(
        self, request: HttpRequest, callback: View, callback_args: "tuple[Any, ...]", callback_kwargs: "dict[str, Any]"
    ) -> "HttpResponseForbidden | None":
        """Return a 403 for a bad origin, unless the view is exempt."""
        if not isinstance(request, WebsocketRequest) or is_exempt(callback):
            return None
        origins = request.header_values(b"origin")
        if not origins or (len(origins) == 1 and origin_allowed(origins[0].decode("latin-1"), request)):
            return None
        response = HttpResponseForbidden("Origin not allowed.", content_type="text/plain")
        log_response(
            "Forbidden (origin %s is not in ALLOWED_HOSTS or CSRF_TRUSTED_ORIGINS): %s",
            printable(b", ".join(origins).decode("latin-1")),
            printable(request.path),
            response=response,
            request=request,
            logger=logger,
        )
        return response


class CsrfMiddleware(CsrfViewMiddleware):
    """Leave the CSRF token of a socket to ``request.check_csrf``; check that of an HTTP request as Django does.

    It stands in for Django's own middleware when a socket opens.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Read the token of an HTTP request."""
        if not isinstance(request, WebsocketRequest):
            super().process_request(request)

    def process_view(
        self, request: HttpRequest, callback: View, callback_args: "tuple[Any, ...]", callback_kwargs: "dict[str, Any]"
    ) -> "HttpResponseForbidden | None":
        """Check the token of an HTTP request."""
        if isinstance(request, WebsocketRequest):
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)


def is_exempt(view: View) -> bool:
    """Return whether a view, or the ``websocket`` method of a view class, was decorated by ``origin_exempt``."""
    websocket = getattr(getattr(view, "view_class", None), "websocket", None)
    return getattr(view, "origin_exempt", getattr(websocket, "origin_exempt", False))


def origin_allowed(origin: str, request: HttpRequest) -> bool:
    """Return whether a page of ``origin`` may open a socket here."""
    parsed = parse_origin(origin) if len(origin) <= MAX_ORIGIN else None
    if parsed is None:
        return False
    scheme, netloc = parsed
    if is_trusted(scheme, netloc):
        return True
    if scheme not in ("http", "https"):
        # A browser's extension, or an app.
        return "*" in settings.ALLOWED_HOSTS
    if scheme == "http" and request.is_secure():
        return False
    return host_allowed(netloc, allowed_hosts())


@functools.lru_cache(maxsize=256)
def parse_origin(origin: str) -> "tuple[str, str] | None":
    """Return the scheme and the host, perhaps with a port, of an origin; None where it is no origin.

    Both are in lower case: they are compared without regard to it.
    """
    origin = origin.lower()
    try:
        parsed = urlsplit(origin)
        parsed.port  # noqa: B018  # raises where it is no number
    except ValueError:
        return None
    if not parsed.hostname or "@" in parsed.netloc or origin != "{}://{}".format(parsed.scheme, parsed.netloc):
        # It has nothing else (RFC 6454 section 6.2).
        return None
    return parsed.scheme, parsed.netloc


def is_trusted(scheme: str, netloc: str) -> bool:
    """Return whether ``CSRF_TRUSTED_ORIGINS`` names the origin.

    Its entries have a scheme from Django 4.0 on, and may begin with a wildcard; before that they are hosts, where a leading
    dot stands for all subdomains.
    """
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        trusted_scheme, separator, host = trusted.lower().rpartition("://")
        if (not separator or trusted_scheme == scheme) and is_same_domain(netloc, host.lstrip("*")):
            return True
    return False


def allowed_hosts() -> "tuple[str, ...]":
    """Return ``ALLOWED_HOSTS``, or what Django allows in its place while ``DEBUG`` is on."""
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return ".localhost", "127.0.0.1", "[::1]"
    return tuple(settings.ALLOWED_HOSTS)


@functools.lru_cache(maxsize=256)
def host_allowed(netloc: str, allowed: "tuple[str, ...]") -> bool:
    """Return whether a host is among those allowed."""
    domain, _ = split_domain_port(netloc)
    return bool(domain) and validate_host(domain, allowed)
