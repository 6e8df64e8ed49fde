"""The ASGI application of sockets: scope in, view run, socket closed."""

import asyncio
import functools
import inspect
import logging
import operator
import typing
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import signals
from django.core.cache import close_caches
from django.core.cache.backends.base import BaseCache
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, reset_queries
from django.http import HttpResponse, HttpResponseBadRequest, HttpResponseForbidden
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix, set_script_prefix
from django.utils.log import log_response
from django.utils.module_loading import import_string

from . import threads
from ._compat import BaseExceptionGroup, forget_cache_clients, rehome_context, send_signal
from .chain import Chain, response_for
from .connection import INTERNAL_ERROR, SERVICE_RESTART, State
from .decoration import SocketResponse, begin
from .driver import Driver, run_in
from .exceptions import SubprotocolMismatch, WebsocketDisconnect
from .limits import impose, limits_of
from .middleware import OriginMiddleware
from .protocol import (
    close_code_for_exception,
    close_code_for_response,
    close_quietly,
    close_reason_for_exception,
    close_reason_for_response,
)
from .pubsub import signout
from .refusal import finished, printable, refuse
from .request import WebsocketRequest
from .signals import somebody_listens
from .socket import Socket

if typing.TYPE_CHECKING:
    from django.dispatch import Signal

    from ._compat import Context
    from ._types import Receive, Response, Scope, Send, View
    from .protocol import WebsocketProtocol

logger: logging.Logger = logging.getLogger("django.request")


class WebsocketHandler:
    """An ASGI application that answers sockets with the views of ``ROOT_URLCONF``.

    Make it when Django is set up: ``django.core.asgi.get_asgi_application()`` does that, and answers HTTP.
    """

    #: Whether ``request.check_csrf`` looks at its token; Django's test clients do without.
    enforce_csrf_checks: bool = True
    #: Whether synchronous code runs in the threads of this package, and not where asgiref runs it by default.
    use_database_threads: bool = True
    #: How long a view may go on without its client, in seconds; None leaves it to the settings.
    disconnect_grace: "float | None" = None

    #: What a view is called with.
    request_class: "type[WebsocketRequest]" = WebsocketRequest

    _chain: Chain

    def __init__(self) -> None:
        self.load_middleware()

    def load_middleware(self) -> None:
        """Build the middleware chain from the settings of now."""
        self._chain = Chain(OriginMiddleware)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one socket, as an ASGI server asks."""
        if scope["type"] != "websocket":
            raise ValueError(
                "expected an ASGI scope of type 'websocket', got {!r}; "
                "pistoke.asgi.get_asgi_application() answers every type".format(scope["type"])
            )
        event = await receive()
        if event["type"] != "websocket.connect":
            # The client left before it was even heard.
            return
        socket = Socket(receive, send, offered_subprotocols(scope))
        observe(socket, type(self))
        lane = threads.Lane()
        if self.use_database_threads:
            threads.enter(lane)
        driver = Driver(socket, self.disconnect_grace)
        try:
            request = await self._open(scope, socket, driver)
            if request is not None:
                # What is awaited here is awaited as long as the socket is open, and each coroutine between the server's
                # task and the view is passed with every message: six of them took half a microsecond and 2 KiB.
                try:
                    response = await driver.run(begin_view(request), attended=True)
                    if inspect.isawaitable(response):
                        response = await driver.run(steps_of(response))
                except asyncio.CancelledError as exc:
                    await self._view_cancelled(request, socket, driver, exc)
                except (Exception, BaseExceptionGroup) as exc:
                    await self._view_raised(request, socket, exc)
                else:
                    await self._view_returned(request, socket, response)
        except asyncio.CancelledError:
            driver.interrupted = True
            raise
        finally:
            await finish(socket, driver, lane, type(self))

    async def _open(self, scope: "Scope", socket: Socket, driver: Driver) -> "WebsocketRequest | None":
        """Run the middleware; return the request, None where the socket was refused."""
        await send_started(type(self), scope)
        try:
            request = self._make_request(scope, socket)
        except UnicodeError:
            logger.warning("Bad Request (UnicodeDecodeError): %r", scope.get("raw_path") or scope["path"])
            await refuse(socket, HttpResponseBadRequest(), scope)
            return None
        enter_script(request.script_name or "/")
        try:
            loads_session = self._chain.must_load_session(request)
            since = signout.begin() if loads_session else None
            response = await self._chain.open(request, loads_session)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            response = await sync_to_async(response_for)(request, exc)
        if response is None:
            driver.context = view_context(request)
            if loads_session or not self._chain.is_light:
                # Django makes a cache client for each context; what the handshake has made would be kept as long as the
                # socket is open.
                run_in(driver.context, forget_cache_clients)
            driver.name = request.resolver_match._func_path
            view = request.resolver_match.func
            response = impose(request, limits_of(view))
            if response is None and not signout.admit(request, since):
                response = HttpResponse(status=401)
            if response is None:
                socket.automatic = explicit_protocol(view) is None and may_answer_sockets(view)
                # Most views look at none any more, and idle sockets would keep them.
                request.__dict__.pop("_headers", None)
                return request
        elif getattr(request, "_refused_by", None):
            log_refusal(request, response)
        elif response.status_code >= 400:
            await sync_to_async(log_answer)(request, response)
        await self._refuse(request, socket, response)
        return None

    def _make_request(self, scope: "Scope", socket: Socket) -> WebsocketRequest:
        request = self.request_class(scope, socket)
        request.enforce_csrf_checks = self.enforce_csrf_checks
        if socket.observer is not None:
            socket.observer.request = request
        return request

    async def _refuse(self, request: WebsocketRequest, socket: Socket, response: "Response") -> None:
        """Answer the handshake; with a 500 where the answer itself fails, in its template or its stream."""
        try:
            await refuse(socket, await finished(response), request.scope)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            response = await self.report_exception(request, exc)
            if socket.application is State.CONNECTING:
                await refuse(socket, response, request.scope)

    async def _view_cancelled(
        self, request: WebsocketRequest, socket: Socket, driver: Driver, exc: asyncio.CancelledError
    ) -> None:
        if driver.interrupted:
            await close_quietly(socket, SERVICE_RESTART)
            raise exc
        if not (driver.ended_view or socket.over):
            # Something that the view awaited was cancelled, and not the view.
            await self._view_raised(request, socket, exc)

    async def _view_returned(self, request: WebsocketRequest, socket: Socket, response: Any) -> None:
        try:
            code = close_code_for_response(response)
        except TypeError as exc:
            await self._view_raised(request, socket, exc)
            return
        if isinstance(response, HttpResponseBase) and response.status_code >= 400:
            await sync_to_async(log_answer)(request, response)
        if isinstance(response, HttpResponseBase) and socket.application is State.CONNECTING and not socket.automatic:
            await self._refuse(request, socket, response)
        elif not socket.over:
            await close_quietly(socket, code, close_reason_for_response(response))

    async def _view_raised(self, request: WebsocketRequest, socket: Socket, exc: BaseException) -> None:
        if is_own_disconnect(exc, socket):
            return None
        if isinstance(exc, SubprotocolMismatch) and socket.application is State.CONNECTING:
            extra = {"status_code": 403, "request": request}
            logger.warning("Forbidden (%s): %s", exc, printable(request.path), extra=extra)
            return await refuse(socket, HttpResponseForbidden(), request.scope)
        if self._chain.exception_hooks:
            try:
                response = await sync_to_async(self._chain.process_exception)(request, exc)
            except asyncio.CancelledError:
                raise
            except Exception as raised:
                return await self._fail(request, socket, raised)
            if response is not None:
                return await self._view_returned(request, socket, response)
        return await self._fail(request, socket, exc)

    async def _fail(self, request: WebsocketRequest, socket: Socket, exc: BaseException) -> None:
        if socket.application is State.CONNECTING and not socket.automatic:
            response = await self.report_exception(request, exc)
            await self._refuse(request, socket, response)
        else:
            await close_quietly(socket, close_code_for_exception(exc), close_reason_for_exception(exc))
            await self.report_exception(request, exc)

    async def report_exception(self, request: WebsocketRequest, exc: BaseException) -> "HttpResponse":
        """Report an exception of a view as Django does for HTTP; return its error page.

        ``got_request_exception`` is sent and ``django.request`` logs it, traceback included, so that admins are mailed
        and error trackers see it. ``Http404`` and the like are logged as for HTTP, and no error of ours.
        """
        return await sync_to_async(response_for_reported)(request, exc)


def observe(socket: Socket, sender: "type[WebsocketHandler]") -> None:
    """Let those hear of a socket who listen to ``pistoke.signals``."""
    if somebody_listens():
        from .observer import Observer

        socket.observer = Observer(sender, socket)


def offered_subprotocols(scope: "Scope") -> "tuple[str, ...]":
    """Return the subprotocols that a client offers, in its order; older releases of Granian pass them on in one string."""
    return tuple(name.strip() for names in scope.get("subprotocols") or () for name in names.split(","))


def explicit_protocol(view: "View") -> "WebsocketProtocol | None":
    """Return the protocol that a view was decorated with, None where there is none to be seen."""
    websocket = getattr(getattr(view, "view_class", None), "websocket", None)
    return getattr(view, "websocket_protocol", getattr(websocket, "websocket_protocol", None))


def may_answer_sockets(view: "View") -> bool:
    """Return whether a view may be meant for sockets: a view class says so in its ``http_method_names``."""
    view_class = getattr(view, "view_class", None)
    return view_class is None or "websocket" in view_class.http_method_names


def is_own_disconnect(exc: BaseException, socket: Socket) -> bool:
    """Return whether an exception says that this very socket is over; that of another one is an error of the view."""
    if isinstance(exc, WebsocketDisconnect):
        return exc.socket is socket
    # A task group raises a group of what ended its tasks.
    members = getattr(exc, "exceptions", None)
    return isinstance(members, tuple) and bool(members) and all(is_own_disconnect(member, socket) for member in members)


def enter_script(prefix: str) -> None:
    """Let ``reverse()`` know where the project is mounted."""
    if get_script_prefix().rstrip("/") != prefix.rstrip("/"):
        set_script_prefix(prefix)


def view_context(request: WebsocketRequest) -> "Context | None":
    """Return the context that the view runs in: None where it is that of the task, as the middleware has left it."""
    captured = request.__dict__.pop("_context", None)
    return None if captured is None else rehome_context(captured)


async def begin_view(request: WebsocketRequest) -> Any:
    """Call the view, open the socket where its protocol is outermost; return what the view itself returns."""
    match = request.resolver_match
    response = await begin(match.func, request, *match.args, **match.kwargs)
    return await response.begin() if type(response) is SocketResponse else response


def steps_of(awaitable: "typing.Awaitable[Any]") -> "typing.Coroutine[Any, Any, Any] | typing.Generator[Any, Any, Any]":
    """Return what can be stepped of an awaitable."""
    return awaitable if inspect.iscoroutine(awaitable) else awaitable.__await__()


async def finish(socket: Socket, driver: Driver, lane: threads.Lane, sender: "type[WebsocketHandler]") -> None:
    """Leave nothing of a socket behind."""
    try:
        if not socket.over:
            await close_quietly(socket, SERVICE_RESTART if driver.interrupted else INTERNAL_ERROR)
        await socket.stop_reading()
        if socket.limits is not None:
            await socket.limits.closed()
        await send_finished(sender, driver.context)
    finally:
        socket.nothing_more()
        leave(socket, lane)


def leave(socket: Socket, lane: threads.Lane) -> None:
    """Take a socket off all lists that it is on."""
    if socket.limits is not None:
        socket.limits.lift()
    if socket.signed_in is not None:
        socket.signed_in.leave()
    threads.leave(lane)
    if socket.observer is not None:
        socket.observer.over(socket)


def log_refusal(request: WebsocketRequest, response: "Response") -> None:
    """Log which middleware refused a socket, unless it was ours, which says why itself."""
    if request._refused_by != "pistoke.middleware.OriginMiddleware":
        logger.log(
            logging.INFO if getattr(response, "_has_been_logged", False) else logging.WARNING,
            "%s: %s (refused by middleware %s)",
            response.reason_phrase,
            printable(request.path),
            request._refused_by,
            extra={"status_code": response.status_code, "request": request},
        )


def response_for_reported(request: WebsocketRequest, exc: BaseException) -> "HttpResponse":
    """Return Django's error page for an exception; log what Django leaves to its own handler (``Http404``)."""
    response = response_for(request, exc)
    log_answer(request, response)
    return response


def log_answer(request: WebsocketRequest, response: Any) -> None:
    """Log the answer of a view as Django logs it for HTTP."""
    log_response("%s: %s", response.reason_phrase, printable(request.path), response=response, request=request)


first: "typing.Callable[[Any], Any]" = operator.itemgetter(0)

#: Receivers of Django's own. They look after connections of the thread they run in, and the event loop's has none.
DJANGO_RECEIVERS = {id(receiver) for receiver in (close_caches, close_old_connections, reset_queries, reset_urlconf)}


def has_other_receivers(signal: "Signal") -> bool:
    """Return whether somebody else than Django listens to a signal of the request cycle."""
    return not DJANGO_RECEIVERS.issuperset(map(first, map(first, signal.receivers)))


@functools.lru_cache(maxsize=64)
def has_clients_to_close(backend: "str | None") -> bool:
    """Return whether the clients of a cache backend have something to close, unlike those of Django's default.

    To ask instead whether a view has any client took six hundredths of what is ours in a connection.
    """
    try:
        imported = import_string(backend)  # type: ignore[arg-type]  # None is no backend either
    except Exception:
        # Then Django can make no client of it, and says so to whoever asks for one.
        return False
    # A function may make the clients, of whatever class.
    return getattr(imported, "close", None) is not BaseCache.close


async def send_started(sender: "type[WebsocketHandler]", scope: "Scope") -> None:
    """Send ``request_started``, in a thread if anyone is interested."""
    if has_other_receivers(signals.request_started):
        await send_signal(signals.request_started, sender=sender, scope=scope)


async def send_finished(sender: "type[WebsocketHandler]", context: "Context | None") -> None:
    """Send ``request_finished``, in a thread if anyone is interested; close the cache clients of the view."""
    if any(has_clients_to_close(cache.get("BACKEND")) for cache in settings.CACHES.values()):
        run_in(context, close_caches)
    if has_other_receivers(signals.request_finished):
        await send_signal(signals.request_finished, sender=sender)
