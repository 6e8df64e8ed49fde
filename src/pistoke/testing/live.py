"""A live server: real sockets for a real browser, in the process of the test."""

import asyncio
import concurrent.futures
import inspect
import os
import socket
import threading
import warnings
from typing import Any, Callable, Coroutine, Dict, Optional

from asgiref.sync import SyncToAsync
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpRequest
from django.test import LiveServerTestCase, modify_settings
from django.utils.functional import classproperty
from django.views.static import serve

from .._compat import HAS_THREAD_SENSITIVE_CONTEXT, enter_thread_sensitive_context, thread_sensitive_context
from ..handler import WebsocketHandler
from .cases import WebsocketTestMixin
from .threads import end_tasks

#: How long the server may take to end its sockets and requests at the end, in seconds.
SHUTDOWN_SECONDS = 2


class LiveHandler(WebsocketHandler):
    """The handler of a live server: as in production, but for its threads."""

    use_database_threads = False


class LiveApplication:
    """HTTP and sockets, all of whose synchronous code runs in one thread: that of ``database``."""

    def __init__(self, database: "DatabaseThread") -> None:
        self._database = database
        self._applications: Dict[str, Any] = {"http": ASGIHandler(), "websocket": LiveHandler()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._database.enter()
        await self._applications[scope["type"]](scope, receive, send)


class MediaHandler(ASGIStaticFilesHandler):
    """Serves uploaded files, as Django's own live server does."""

    def get_base_url(self) -> str:
        """Return the URL below which they are."""
        return str(settings.MEDIA_URL)

    def serve(self, request: HttpRequest) -> Any:
        """Return the response for a file."""
        return serve(request, self.file_path(request.path).replace(os.sep, "/").lstrip("/"), settings.MEDIA_ROOT)


def static_application(application: Any) -> Any:
    """Return ``application`` with the files of ``django.contrib.staticfiles``, where that is installed, and media files."""
    # Without a path of their own they would hide everything else.
    if settings.MEDIA_URL.strip("/"):
        application = MediaHandler(application)
    if "django.contrib.staticfiles" in settings.INSTALLED_APPS and settings.STATIC_URL:
        application = ASGIStaticFilesHandler(application)
    return application


class DatabaseThread:
    """The one thread that runs the synchronous code of a live server.

    Where the test's database lives in memory, its connection is the only way to it, and is lent to this thread.
    """

    def __init__(self, connections_override: Dict[str, Any]) -> None:
        self._lent = connections_override or {}
        # asgiref for Python 3.6 has a thread of its own for all synchronous code, and can be given no other.
        self._own = HAS_THREAD_SENSITIVE_CONTEXT
        self._executor = concurrent.futures.ThreadPoolExecutor(1) if self._own else SyncToAsync.single_thread_executor
        self._context = thread_sensitive_context(self._executor) if self._own else None
        self._executor.submit(self._borrow).result()

    def _borrow(self) -> None:
        for alias, connection in self._lent.items():
            connections[alias] = connection

    def enter(self) -> None:
        """Run the synchronous code of this context in the thread."""
        if self._context is not None:
            enter_thread_sensitive_context(self._context)

    def stop(self) -> None:
        """Give the connections back, and end the thread."""
        self._executor.submit(self._return).result()
        if self._own:
            self._executor.shutdown()

    def _return(self) -> None:
        for alias in self._lent:
            del connections[alias]
        connections.close_all()


class UvicornThread(threading.Thread):
    """A thread with a Uvicorn; what Django's live server test case asks of its server thread."""

    def __init__(
        self,
        host: str,
        static_handler: Callable[[Any], Any],
        connections_override: Optional[Dict[str, Any]] = None,
        port: int = 0,
    ) -> None:
        super().__init__(name="pistoke-live-server", daemon=True)
        self.host = host
        self.port: int = port
        self.static_handler = static_handler
        self.connections_override: Dict[str, Any] = connections_override or {}
        # Set when the server answers, or has failed with ``error``.
        self.is_ready: threading.Event = threading.Event()
        self.error: Optional[BaseException] = None
        self._server: Any = None

    def run(self) -> None:
        """Serve until :meth:`terminate` is called."""
        try:
            self._serve()
        except BaseException as exc:
            self.error = exc
        finally:
            self.is_ready.set()

    def _serve(self) -> None:
        uvicorn = import_uvicorn()
        listener = self._listen()
        database = DatabaseThread(self.connections_override)
        try:
            application = self.static_handler(LiveApplication(database))
            self._server = make_server(uvicorn, application, self.is_ready)
            run_in_new_loop(self._server.serve(sockets=[listener]))
        finally:
            listener.close()
            database.stop()

    def _listen(self) -> socket.socket:
        family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        return listener

    def terminate(self) -> None:
        """End the server, its open sockets included."""
        if self._server is not None:
            self._server.should_exit = True
            self.join(SHUTDOWN_SECONDS)
            # Uvicorn waits for each socket and request; one that does not end is left.
            self._server.force_exit = True
        self.join()


def run_in_new_loop(coroutine: "Coroutine[Any, Any, None]") -> None:
    """Run ``coroutine`` in an event loop of its own, and end the tasks that it leaves."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(coroutine)
        loop.run_until_complete(end_tasks())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def import_uvicorn() -> Any:
    """Return the module; raise ImproperlyConfigured where it is missing."""
    try:
        import uvicorn
    except ImportError:
        raise ImproperlyConfigured(
            "the live server needs Uvicorn: expected it to be installed, `pip install django-pistoke[runserver]`"
        ) from None
    return uvicorn


def make_server(uvicorn: Any, application: Any, is_ready: threading.Event) -> Any:
    """Return a Uvicorn server for ``application`` that sets the event ``is_ready`` when it answers."""

    class Server(uvicorn.Server):  # type: ignore[misc]
        def install_signal_handlers(self) -> None:
            """Leave signals to the test runner; newer versions do where they do not run in the main thread."""

        async def startup(self, *args: Any, **kwargs: Any) -> None:
            await super().startup(*args, **kwargs)
            is_ready.set()

    # The logging of a test is its own business, and there is no proxy.
    options = {"interface": "asgi3", "lifespan": "off", "proxy_headers": False}
    options.update(log_config=None, log_level="warning", access_log=False)
    if "timeout_graceful_shutdown" in inspect.signature(uvicorn.Config).parameters:
        options["timeout_graceful_shutdown"] = SHUTDOWN_SECONDS
    config = uvicorn.Config(application, **options)
    with warnings.catch_warnings():
        # Of websockets, when an older Uvicorn imports what it deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        config.load()
    if config.ws_protocol_class is None:
        raise ImproperlyConfigured(
            "the live server needs WebSocket support in Uvicorn: expected websockets or wsproto to be installed, "
            "`pip install django-pistoke[runserver]`"
        )
    return Server(config)


class LiveServer:
    """A live server outside of a test case, as the fixture ``live_websocket_server`` of pytest gives it.

    ``url`` is where it is, ``ws_url`` the same for sockets; as a string it is the former, and a path can be added to it.
    """

    def __init__(self, host: str = "localhost") -> None:
        overrides = {connection.alias: connection for connection in connections.all() if is_in_memory(connection)}
        self._allowed = modify_settings(ALLOWED_HOSTS={"append": host})
        self._thread = UvicornThread(host, static_application, overrides)

    def __enter__(self) -> "LiveServer":
        self._allowed.enable()
        for connection in self._thread.connections_override.values():
            connection.inc_thread_sharing()
        self._thread.start()
        self._thread.is_ready.wait()
        if self._thread.error is not None:
            self.__exit__()
            raise self._thread.error
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.terminate()
        for connection in self._thread.connections_override.values():
            connection.dec_thread_sharing()
        self._allowed.disable()

    @property
    def url(self) -> str:
        """The URL of pages, without a path."""
        return "http://{}:{}".format(self._thread.host, self._thread.port)

    @property
    def ws_url(self) -> str:
        """The URL of sockets, without a path."""
        return "ws://{}:{}".format(self._thread.host, self._thread.port)

    def __str__(self) -> str:
        return self.url

    def __add__(self, path: str) -> str:
        return self.url + path

    def __repr__(self) -> str:
        return "<{} at {}>".format(type(self).__name__, self.url)


def is_in_memory(connection: Any) -> bool:
    """Return whether a database lives in the memory of this process."""
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())


class WebsocketLiveServerTestCase(WebsocketTestMixin, LiveServerTestCase):
    """Django's live server test case, over Uvicorn: HTTP, sockets, static and media files at ``live_server_url``.

    For Selenium, Playwright or a client of another kind. ``live_server_ws_url`` is the same with ``ws:``. A database in
    memory works: the server uses the connection of the test.
    """

    server_thread_class = UvicornThread
    static_handler: Any = staticmethod(static_application)

    @classproperty
    def live_server_ws_url(cls) -> str:
        """Return the URL of sockets, without a path."""
        return "ws://{}:{}".format(cls.host, cls.server_thread.port)
