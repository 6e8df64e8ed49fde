"""Running a project's middleware for the handshake of a socket.

The chain is built once, from ``settings.MIDDLEWARE``, in two forms over the same instances: one that runs in a thread from
its beginning to its end, and one that runs on the event loop. Which is taken is known before: middleware that might block
needs a thread, and so does a session that must be loaded. Either takes at most one hop, unless a middleware that only knows
how to be async stands inside of one that blocks.

There is no response to process: the view runs when the chain is done. Middleware that calls ``get_response(request)`` gets
a placeholder, and what it does with the response is without effect; but if it returns another one, or raises, the socket is
refused.
"""

import asyncio
import logging
import typing
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.core.handlers.exception import response_for_exception
from django.urls import get_resolver, set_urlconf
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from ._compat import copy_context, iscoroutinefunction
from .conf import conf
from .decoration import PlaceholderResponse

if typing.TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from ._types import Response, View
    from .request import WebsocketRequest

    #: A hook of a middleware, and the dotted path of the latter.
    Hook = typing.Tuple[typing.Callable[..., Any], str]

logger: logging.Logger = logging.getLogger("pistoke")

#: Middleware that has nothing to do for a socket: it prepares or checks responses to pages, or stands in for one of ours.
SKIPPED_MIDDLEWARE = {
    "corsheaders.middleware.CorsMiddleware",
    "corsheaders.middleware.CorsPostCsrfMiddleware",
    "csp.middleware.CSPMiddleware",
    "debug_toolbar.middleware.DebugToolbarMiddleware",
    "django.contrib.admindocs.middleware.XViewMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    "django.middleware.cache.CacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.common.BrokenLinkEmailsMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django_browser_reload.middleware.BrowserReloadMiddleware",
    "pistoke.middleware.CsrfMiddleware",
    "pistoke.middleware.OriginMiddleware",
    "pistoke.middleware.WebsocketMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
}

#: Middleware whose hooks do no I/O before the view: sessions and users are lazy.
INLINE_MIDDLEWARE = {
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "pistoke.middleware.OriginMiddleware",
}

MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"

#: The hooks that run before the view, or in its place.
HOOKS = ("process_request", "process_view")


def runs_inline(middleware: "typing.Callable[..., Any] | str") -> bool:
    """Return whether a middleware, a class or its dotted path, runs on the event loop without a thread.

    It is one of those known exactly, no subclass, and its hooks are its module's own: not replaced by another package.
    """
    factory = import_string(middleware) if isinstance(middleware, str) else middleware
    hooks = [getattr(factory, hook) for hook in HOOKS if hasattr(factory, hook)]
    return dotted_path(factory) in INLINE_MIDDLEWARE and all(
        getattr(hook, "__globals__", {}).get("__name__") == factory.__module__ for hook in hooks
    )


def is_skipped(path: str, middleware: typing.Callable[..., Any]) -> bool:
    """Return whether sockets do without a middleware, listed as ``path``."""
    skipped = SKIPPED_MIDDLEWARE.union(conf.SKIP_MIDDLEWARE)
    return path in skipped or dotted_path(middleware) in skipped


def dotted_path(middleware: typing.Callable[..., Any]) -> str:
    """Return where a middleware is defined."""
    return "{}.{}".format(middleware.__module__, getattr(middleware, "__qualname__", ""))


class Chain:
    """The middleware of a project as sockets meet it."""

    def __init__(self, origin_check: "type[MiddlewareMixin]") -> None:
        """Build the chain from ``settings.MIDDLEWARE``; ``origin_check`` is a middleware class that comes first."""
        # Hooks that see the view, outermost first: (hook, dotted path of the middleware).
        self.view_hooks: "list[Hook]" = []
        # Hooks that see an exception of the view, innermost first.
        self.exception_hooks: "list[typing.Callable[..., Any]]" = []
        # Whether something may block, and whether something can only run on the event loop.
        self.blocks: bool = False
        self.needs_loop: bool = False
        # Whether middleware calls get_response, and may return something else than it gets.
        self.wraps: bool = False
        # Whether there may be a session to load, and messages.
        self.has_session: bool = False
        self.has_messages: bool = False
        link: Link = Innermost(self)
        for path in reversed(settings.MIDDLEWARE):
            middleware = import_string(path)
            if not is_skipped(path, middleware):
                link = self._add(path, middleware, link)
        self._add_hooks("pistoke.middleware.OriginMiddleware", origin_check(no_response))
        self.outermost = link

    def _add(self, path: str, factory: typing.Callable[..., Any], inner: "Link") -> "Link":
        can_sync = getattr(factory, "sync_capable", True)
        can_async = getattr(factory, "async_capable", False)
        if not (can_sync or can_async):
            raise RuntimeError(
                "expected middleware {} to have sync_capable or async_capable set to True".format(path)
            )
        as_hooks = is_hooks_only(factory)
        get_response = no_response if as_hooks else (inner.get_response_async if can_async else inner.get_response_sync)
        try:
            middleware = factory(get_response)
        except MiddlewareNotUsed as exc:
            logger.debug("middleware %s is not used%s", path, ": {}".format(exc) if str(exc) else "")
            return inner
        if middleware is None:
            raise ImproperlyConfigured("expected middleware from the factory {}, got None".format(path))
        self._add_hooks(path, middleware)
        if isinstance(middleware, SessionMiddleware):
            self.has_session = True
        if as_hooks:
            return self._add_request_hook(path, middleware, inner)
        self.wraps = True
        if can_async:
            self.needs_loop = True
        else:
            self.blocks = True
        return (AsyncWrapper if can_async else SyncWrapper)(path, middleware)

    def _add_request_hook(self, path: str, middleware: Any, inner: "Link") -> "Link":
        if not hasattr(middleware, "process_request"):
            return inner
        inline = runs_inline(type(middleware))
        if inline and path == MESSAGES:
            # The request makes the storage itself, when somebody looks.
            self.has_messages = True
            return inner
        if not (isinstance(inner, Hooks) and inner.inline == inline):
            inner = Hooks(inner, inline)
        inner.hooks.insert(0, (middleware.process_request, path))
        return inner

    def _add_hooks(self, path: str, middleware: Any) -> None:
        hooks = [getattr(middleware, hook) for hook in HOOKS if hasattr(middleware, hook)]
        if not runs_inline(type(middleware)) and not all(iscoroutinefunction(hook) for hook in hooks):
            self.blocks = True
        if hasattr(middleware, "process_view"):
            self.view_hooks.insert(0, (middleware.process_view, path))
            self.needs_loop = self.needs_loop or iscoroutinefunction(middleware.process_view)
        if hasattr(middleware, "process_exception"):
            self.exception_hooks.append(middleware.process_exception)

    async def open(self, request: "WebsocketRequest", loads_session: bool) -> "Response | None":
        """Run the chain; return None, or the response that refuses the socket.

        ``loads_session`` is what :meth:`must_load_session` says of the request as it came. Sets ``request.resolver_match``
        and what the view runs in, ``request._context``.
        """
        if self.has_messages:
            request._has_messages = True
        if not self.needs_loop and (self.blocks or loads_session):
            response = await sync_to_async(self.outermost.run_sync)(request)
        else:
            response = await self.outermost.run_async(request)
        return None if isinstance(response, PlaceholderResponse) else response

    @property
    def is_light(self) -> bool:
        """Whether only hooks known to do no I/O are run for a request without a session."""
        return not (self.blocks or self.wraps or self.needs_loop)

    def must_load_session(self, request: "WebsocketRequest") -> bool:
        """Return whether the client has a session that the view may want."""
        return self.has_session and settings.SESSION_COOKIE_NAME in request.COOKIES

    def process_exception(self, request: "WebsocketRequest", exc: BaseException) -> "Response | None":
        """Return what a middleware answers to an exception of the view, None where none does."""
        for hook in self.exception_hooks:
            hook = async_to_sync(hook) if iscoroutinefunction(hook) else hook
            response: "Response | None" = hook(request, exc)
            if response is not None:
                return response
        return None


def response_for(request: "WebsocketRequest", exc: BaseException) -> "HttpResponse":
    """Return Django's answer to an exception, its error page mostly, and report it as Django does."""
    try:
        # What is reported is the exception that is being handled, and not every Python and event loop pass that on to a
        # thread.
        raise exc
    except BaseException:
        return response_for_exception(request, exc)  # type: ignore[arg-type]  # groups too


def is_hooks_only(factory: typing.Callable[..., Any]) -> bool:
    """Return whether a middleware is old-style: Django's mixin calls its hooks, and it knows nothing of get_response."""
    return (
        isinstance(factory, type)
        and issubclass(factory, MiddlewareMixin)
        and factory.__call__ is MiddlewareMixin.__call__
        and getattr(factory, "__acall__", None) is getattr(MiddlewareMixin, "__acall__", None)
    )


def no_response(request: "HttpRequest") -> typing.NoReturn:
    """Stand for ``get_response`` where nobody calls it."""
    raise RuntimeError("expected the hooks of a middleware to leave get_response alone")


#: In the place of the dotted path of a middleware that refused a socket: none did, the URL leads nowhere.
NO_MIDDLEWARE = ""


def note_refusal(request: "WebsocketRequest", path: str) -> None:
    """Remember which middleware refused a socket: the first one did, those around it only pass its answer on."""
    if getattr(request, "_refused_by", None) is None:
        request._refused_by = path


class Link:
    """One middleware and what is inside of it.

    ``run_sync`` and ``run_async`` take a request through both, and return the response; exceptions are passed on.
    ``get_response_sync`` and ``get_response_async`` are what the middleware outside calls: as in Django, they turn an
    exception into a response.
    """

    def run_sync(self, request: "WebsocketRequest") -> "Response":
        return async_to_sync(self.run_async)(request)

    async def run_async(self, request: "WebsocketRequest") -> "Response":
        return await sync_to_async(self.run_sync)(request)

    def get_response_sync(self, request: "WebsocketRequest") -> "Response":
        try:
            return self.run_sync(request)
        except Exception as exc:
            return response_for_exception(request, exc)

    async def get_response_async(self, request: "WebsocketRequest") -> "Response":
        try:
            return await self.run_async(request)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            return await sync_to_async(response_for)(request, exc)


class Hooks(Link):
    """The ``process_request`` hooks of middleware that stands side by side, all known to do no I/O or none."""

    def __init__(self, inner: Link, inline: bool) -> None:
        self.inner = inner
        self.inline = inline
        # Outermost first: (hook, dotted path of the middleware).
        self.hooks: "list[Hook]" = []

    def ask(self, request: "WebsocketRequest") -> "Response | None":
        for hook, path in self.hooks:
            try:
                response: "Response | None" = hook(request)
            except Exception:
                note_refusal(request, path)
                raise
            if response is not None:
                note_refusal(request, path)
                return response
        return None

    def run_sync(self, request: "WebsocketRequest") -> "Response":
        response = self.ask(request)
        return self.inner.run_sync(request) if response is None else response

    async def run_async(self, request: "WebsocketRequest") -> "Response":
        if not self.inline:
            return await sync_to_async(self.run_sync)(request)
        response = self.ask(request)
        return await self.inner.run_async(request) if response is None else response


class SyncWrapper(Link):
    """A middleware that calls ``get_response`` and may block."""

    def __init__(self, path: str, middleware: "typing.Callable[[WebsocketRequest], Response]") -> None:
        self.path = path
        self.middleware = middleware

    def run_sync(self, request: "WebsocketRequest") -> "Response":
        try:
            return noted(request, self.path, self.middleware(request))
        except Exception:
            note_refusal(request, self.path)
            raise


class AsyncWrapper(Link):
    """A middleware that awaits ``get_response``."""

    def __init__(
        self, path: str, middleware: "typing.Callable[[WebsocketRequest], typing.Awaitable[Response]]"
    ) -> None:
        self.path = path
        self.middleware = middleware

    async def run_async(self, request: "WebsocketRequest") -> "Response":
        try:
            return noted(request, self.path, await self.middleware(request))
        except Exception:
            note_refusal(request, self.path)
            raise


def noted(request: "WebsocketRequest", path: str, response: "Response | None") -> "Response":
    """Return the response of a middleware; raise where it is none, note where it refuses."""
    if response is None:
        raise ValueError("expected an HttpResponse from middleware {}, got None".format(path))
    if not isinstance(response, PlaceholderResponse):
        note_refusal(request, path)
    return response


#: Shared by all sockets of a chain in which nobody sees it.
UNSEEN_PLACEHOLDER = PlaceholderResponse()


class Innermost(Link):
    """What the innermost middleware calls: the view is found, and the hooks that see it are run."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def run_sync(self, request: "WebsocketRequest") -> "Response":
        path = NO_MIDDLEWARE
        try:
            match = resolve(request)
            load_user(request)
            for hook, path in self.chain.view_hooks:
                hook = async_to_sync(hook) if iscoroutinefunction(hook) else hook
                response: "Response | None" = hook(request, *match)
                if response is not None:
                    note_refusal(request, path)
                    return response
        except Exception:
            note_refusal(request, path)
            raise
        return self.placeholder(request)

    async def run_async(self, request: "WebsocketRequest") -> "Response":
        # Another middleware may have set the cookie.
        if self.chain.needs_loop and (self.chain.blocks or self.chain.must_load_session(request)):
            return await sync_to_async(self.run_sync)(request)
        path = NO_MIDDLEWARE
        try:
            match = resolve(request)
            for hook, path in self.chain.view_hooks:
                answer = hook(request, *match)
                response: "Response | None" = await answer if iscoroutinefunction(hook) else answer
                if response is not None:
                    note_refusal(request, path)
                    return response
        except Exception:
            note_refusal(request, path)
            raise
        return self.placeholder(request)

    def placeholder(self, request: "WebsocketRequest") -> PlaceholderResponse:
        if not self.chain.wraps:
            return UNSEEN_PLACEHOLDER
        # The language, time zone and variables of this moment, which a middleware may take back when it goes on.
        request._context = copy_context()
        return PlaceholderResponse()


def resolve(request: "WebsocketRequest") -> "tuple[View, tuple[Any, ...], dict[str, Any]]":
    """Find the view; return (view, args, kwargs) and set ``request.resolver_match``."""
    urlconf = getattr(request, "urlconf", None)
    if urlconf is not None:
        set_urlconf(urlconf)
    match = get_resolver(urlconf).resolve(request.path_info)
    request.resolver_match = match
    return match.func, match.args, match.kwargs


def load_user(request: "WebsocketRequest") -> None:
    """Load the session and the user: in a view there is no thread at hand for it."""
    session = getattr(request, "session", None)
    if session is not None:
        session.keys()
    user = getattr(request, "user", None)
    if user is not None:
        # Any attribute evaluates a lazy user.
        getattr(user, "is_authenticated", None)
        # There Django's own async accessor looks for it, and would query again.
        if hasattr(request, "_cached_user"):
            request._acached_user = request._cached_user
