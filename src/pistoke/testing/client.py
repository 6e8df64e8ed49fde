"""Django's test clients, with sockets."""

import sys
from http.cookies import SimpleCookie
from typing import Any, Generic, Iterable, List, Mapping, Optional, Type, TypeVar, Union

from django.core.signals import got_request_exception
from django.http import HttpRequest
from django.test import AsyncClient, Client

from ..handler import WebsocketHandler
from . import exceptions
from .expectations import DEFAULT, Timeout
from .scope import Handshake, Headers
from .session import SESSION, WebsocketSession
from .sync import SyncWebsocketSession

Session = TypeVar("Session")
Subprotocols = Union[str, Iterable[str], None]

#: How long a test waits for a socket, in seconds: long enough for a slow machine, short enough to see which test hangs.
DEFAULT_TIMEOUT = 5.0

#: The attribute that says otherwise, on a client or a test case, in either language.
TIMEOUT_NAMES = ("websocket_timeout", "websocket_aikakatkaisu")


class WebsocketClientHandler(WebsocketHandler):
    """The handler of a test client.

    It looks for no CSRF token unless it is told to, runs synchronous code in the test's own thread, and gives a view
    without its client no grace.
    """

    enforce_csrf_checks: bool = False
    use_database_threads = False
    disconnect_grace: Any = 0

    def __init__(self, enforce_csrf_checks: bool = False) -> None:
        # The middleware is loaded with the first socket, as in Django's own clients: a test may override settings first.
        self.enforce_csrf_checks = enforce_csrf_checks
        self._loaded = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._loaded:
            super().__init__()
            self._loaded = True
        await super().__call__(scope, receive, send)

    async def _open(self, scope: Any, socket: Any, driver: Any) -> Any:
        request = await super()._open(scope, socket, driver)
        scope[SESSION].request = request
        return request


def note_exception(request: Optional[HttpRequest] = None, **kwargs: Any) -> None:
    """Tell the test of an exception that Django is told of: of a view, of middleware, of an error page."""
    session = getattr(request, "scope", {}).get(SESSION)
    if session is not None:
        session.note_error(sys.exc_info()[1])


got_request_exception.connect(note_exception, dispatch_uid="pistoke.testing")


class WebsocketClientMixin(Generic[Session]):
    """What a client of Django's needs to open sockets; comes before the client class.

    ``websocket_timeout`` (seconds, None: for ever) bounds each wait for a socket.
    """

    HandshakeFailed = KattelyEpaonnistui = exceptions.HandshakeFailed
    HandshakeRefused = exceptions.HandshakeRefused
    HandshakeForbidden = Http403 = exceptions.HandshakeForbidden
    ViewEnded = NakymaPaattyi = exceptions.ViewEnded
    InputNotRead = SyotettaEiLuettu = exceptions.InputNotRead
    OutputNotRead = TulostettaEiLuettu = exceptions.OutputNotRead
    SocketTimeout = PaateyhteysAikakatkaistiin = exceptions.SocketTimeout

    websocket_timeout: Optional[float] = DEFAULT_TIMEOUT

    #: What :meth:`websocket` returns.
    websocket_session_class: Type[Session]

    # Of Django's client.
    defaults: Any
    cookies: SimpleCookie

    def __init__(
        self, enforce_csrf_checks: bool = False, raise_request_exception: bool = True, **defaults: Any
    ) -> None:
        super().__init__(enforce_csrf_checks, raise_request_exception, **defaults)  # type: ignore[call-arg]
        self.websocket_handler: WebsocketClientHandler = WebsocketClientHandler(enforce_csrf_checks)

    def websocket(
        self,
        path: object,
        *,
        subprotocols: Subprotocols = (),
        protokolla: Subprotocols = (),
        secure: bool = False,
        headers: Headers = None,
        query_params: Optional[Mapping[str, Any]] = None,
        timeout: Timeout = DEFAULT,
        **extra: Any
    ) -> Session:
        """Return a socket to ``path``, to be opened by ``async with`` (``with`` in the synchronous client).

        ``subprotocols`` is what the client offers: a list, or one as a string; ``protokolla`` is the same. ``secure`` makes
        it a ``wss`` socket, as does an absolute URL. ``headers``, ``query_params`` and ``**extra`` are those of Django's
        own clients (``HTTP_X_NAME=``, ``REMOTE_ADDR=``, ``x_name=`` …). ``timeout`` is for this socket, in seconds.

        Entering raises :class:`HandshakeRefused` where the view answers with HTTP; leaving raises :class:`InputNotRead`
        and :class:`OutputNotRead` where messages are left over, and :class:`SocketTimeout` where the view does not end.
        """
        handshake = Handshake(path, secure)
        handshake.update(self.defaults)
        handshake.update(extra)
        handshake.update({"headers": headers, "query_params": query_params})
        handshake.add_cookies(self.cookies)
        scope = handshake.as_scope(_as_list(subprotocols) or _as_list(protokolla))
        seconds = timeout_of(self) if timeout is DEFAULT else timeout
        make_session: Any = self.websocket_session_class
        session: Session = make_session(self, scope, seconds)
        return session


class WebsocketClient(WebsocketClientMixin[WebsocketSession], AsyncClient):
    """Django's asynchronous test client, with sockets.

    ::

        async with client.websocket("/echo/") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
    """

    websocket_session_class = WebsocketSession


class WebsocketSyncClient(WebsocketClientMixin[SyncWebsocketSession], Client):
    """Django's test client, with sockets.

    ::

        with client.websocket("/echo/") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"

    The view runs in an event loop beside the test, its synchronous code (database queries) in the thread and in the
    transaction of the test: while the test waits for the socket, and at no other time.
    """

    websocket_session_class = SyncWebsocketSession


def timeout_of(owner: object) -> Optional[float]:
    """Return the time-out in seconds that the client or test case ``owner`` has, None without one.

    The two names are one setting: the more specific class wins, and the instance over all.
    """
    for namespace in [vars(owner)] + [vars(cls) for cls in type(owner).__mro__]:
        for name in TIMEOUT_NAMES:
            if name in namespace:
                seconds: Optional[float] = namespace[name]
                return seconds
    return DEFAULT_TIMEOUT


def _as_list(subprotocols: Subprotocols) -> List[str]:
    return [subprotocols] if isinstance(subprotocols, str) else list(subprotocols or ())
