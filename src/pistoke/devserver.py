"""Uvicorn as the development server: what ``runserver`` runs in ASGI mode. Needs Uvicorn; nothing else imports it."""

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

import django
import uvicorn
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.utils.cache import add_never_cache_headers
from django.utils.module_loading import import_string
from uvicorn.supervisors import Multiprocess

from .devlog import Formatter, configure_logging, log_sockets

__all__ = ["DevelopmentServer", "Formatter", "development_application"]

#: How long a reload waits for sockets to close and views to end, in seconds. Mostly all is done in a tenth of that.
RELOAD_GRACE = 0.5

#: The same for Uvicorn by itself, in whole seconds as it wants them. Its own default is to wait for ever.
SHUTDOWN_GRACE = 1

logger: logging.Logger = logging.getLogger("uvicorn.error")


# The application ------------------------------------------------------------------------------------------------------


class UncachedStaticFilesHandler(ASGIStaticFilesHandler):
    """Serve static files that the browser asks for anew each time.

    Without a word about it browsers keep a file for a tenth of its age: the change just saved would not show.
    """

    def serve(self, request: Any) -> Any:
        response = super().serve(request)
        add_never_cache_headers(response)
        return response


def get_application() -> Any:
    """Return the ASGI application of ``settings.ASGI_APPLICATION``, or this package's own.

    Raises:
        ImproperlyConfigured: the setting names nothing that can be imported.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if path is None:
        from pistoke.asgi import get_asgi_application

        return get_asgi_application()
    try:
        return import_string(path)
    except ImportError as exc:
        message = "ASGI application '{}' could not be loaded; error importing module: {}"
        raise ImproperlyConfigured(message.format(path, exc)) from exc


def development_application(serve_static: bool) -> Any:
    """Return the application to serve, inside of the one that serves static files if these are to be served."""
    application = log_sockets(get_application())
    return UncachedStaticFilesHandler(application) if serve_static else application


def worker_application(serve_static: bool) -> Any:
    """Return the application in a worker process, which starts without Django and without logging."""
    django.setup()
    configure_logging()
    return development_application(serve_static)


# The server -----------------------------------------------------------------------------------------------------------


def taken_by(func: Callable[..., Any], **arguments: Any) -> Dict[str, Any]:
    """Return those of ``arguments`` that ``func`` has in this version of Uvicorn."""
    known = inspect.signature(func).parameters
    return {name: value for name, value in arguments.items() if name in known}


def exit_now(code: Any) -> None:
    """End the process, with a code as ``sys.exit`` takes it, without waiting for anything but what has been printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def exit_within(seconds: float, code: Any) -> None:
    """See to it that a process that is ending has ended in ``seconds``.

    Python joins the threads of executors on its way out, and so would wait for the query or the sleep that one is in.
    """
    timer = threading.Timer(seconds, exit_now, [code])
    timer.daemon = True
    timer.start()


class Server(uvicorn.Server):
    """Uvicorn, told what it prints where it listens itself, and ending in any case."""

    #: Whether Ctrl-C is why it ended.
    interrupted: bool = False

    def run(self, sockets: Optional[List[socket.socket]] = None) -> None:
        if sys.version_info >= (3, 7):
            return super().run(sockets=sockets)
        # Uvicorn looks for the loop of the thread here, and only the main thread has one.
        self.config.setup_event_loop()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self.serve(sockets=sockets))
        finally:
            end_tasks(loop)

    async def startup(self, sockets: Optional[List[socket.socket]] = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and self.config.workers == 1:
            log_address(self.config)

    async def shutdown(self, sockets: Optional[List[socket.socket]] = None) -> None:
        if threading.current_thread() is threading.main_thread():
            exit_within(2 * SHUTDOWN_GRACE, 0)
        if not hasattr(self.config, "timeout_graceful_shutdown"):
            asyncio.get_event_loop().call_later(SHUTDOWN_GRACE, setattr, self, "force_exit", True)
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.interrupted = sig == signal.SIGINT
        super().handle_exit(sig, frame)


def end_tasks(loop: Any) -> None:
    """Cancel what is left on a loop, as ``asyncio.run`` does."""
    tasks = [task for task in asyncio.Task.all_tasks(loop) if not task.done()]  # type: ignore[attr-defined]
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, loop=loop, return_exceptions=True))  # type: ignore[call-overload]


def log_address(config: uvicorn.Config) -> None:
    """Log the line that Uvicorn has for a socket that it opened itself."""
    host = "[{}]".format(config.host) if ":" in config.host else config.host
    logger.info(
        "Uvicorn running on %s://%s:%d (Press CTRL+C to quit)", "https" if config.is_ssl else "http", host, config.port
    )


class DevelopmentServer:
    """What Django's ``run()`` wants: a server to make of an address, to tell the application, and to let serve."""

    def __init__(
        self,
        serve_static: bool = False,
        log_level: str = "info",
        style: Any = None,
        workers: Optional[int] = None,
        ssl_certfile: Optional[str] = None,
        ssl_keyfile: Optional[str] = None,
    ) -> None:
        # Makes the application anew in a worker process; has to be picklable.
        self.factory: Callable[[], Any] = functools.partial(worker_application, serve_static)
        # Django's colours, for the log.
        self.style = style
        # Processes; None and 1 are this one.
        self.workers: int = workers or 1
        # What is left is Uvicorn's business.
        self.config: Dict[str, Optional[str]] = {
            "log_level": log_level,
            "ssl_certfile": ssl_certfile,
            "ssl_keyfile": ssl_keyfile,
        }
        # The server at work.
        self.uvicorn: Optional[Server] = None
        # Set when it has ended.
        self.ended: threading.Event = threading.Event()

    def bind(self, address: Tuple[str, int], handler_class: Any = None, ipv6: bool = False) -> "DevelopmentServer":
        """Listen, as Django's server does when it is made.

        Not left to Uvicorn, which would log a port that is taken as an error of its own and exit with Django's message
        unsaid. To listen, and not only bind, is when Linux tells.

        Raises:
            OSError: the address is taken, not ours, or forbidden.
        """
        self.socket: socket.socket = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        self.socket.listen()
        self.socket.set_inheritable(True)
        self.host: str = address[0]
        self.server_port: int = self.socket.getsockname()[1]
        return self

    def set_app(self, application: Any) -> None:
        """Serve ``application``."""
        self.application = application

    def serve_forever(self) -> None:
        """Serve until told to end.

        Raises:
            KeyboardInterrupt: told by Ctrl-C, for Django to say goodbye.
            SystemExit: the application refused to start.
        """
        configure_logging(self.style)
        try:
            if self.workers > 1:
                self.serve_workers()
            else:
                self.serve()
        finally:
            self.ended.set()

    def serve(self) -> None:
        """Serve in this process."""
        self.uvicorn = Server(self.make_config(self.application))
        self.uvicorn.run(sockets=[self.socket])
        # Newer versions raise the first one and exit by the second themselves.
        if self.uvicorn.interrupted:
            raise KeyboardInterrupt
        if not self.uvicorn.started:
            sys.exit(1)

    def serve_workers(self) -> None:
        """Serve in several processes, which make the application for themselves; this one starts and ends them."""
        config = self.make_config(self.factory, factory=True)
        log_address(config)
        target = taken_by(Multiprocess, target=Server(config).run)
        Multiprocess(config, sockets=[self.socket], **target).run()

    def make_config(self, application: Any, **kwargs: Any) -> uvicorn.Config:
        """Return Uvicorn's configuration: its own defaults, but for what runserver was told and not to wait for sockets."""
        kwargs.update(self.config, **taken_by(uvicorn.Config, timeout_graceful_shutdown=SHUTDOWN_GRACE))
        # The address is for the log alone. No log_config: see configure_logging.
        return uvicorn.Config(
            application, host=self.host, port=self.server_port, workers=self.workers, log_config=None, **kwargs
        )

    def stop(self, code: Any) -> None:
        """End the server from another thread, and soon the process with ``code``.

        A server that does not end is not waited for, nor is any thread.
        """
        if self.uvicorn is None:
            return
        self.uvicorn.should_exit = True
        if not self.ended.wait(RELOAD_GRACE):
            exit_now(code)
        exit_within(RELOAD_GRACE, code)
