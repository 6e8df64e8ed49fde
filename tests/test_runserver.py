"""``manage.py runserver``: each test starts the command as a process of its own, on a project written for it."""

import argparse
import base64
import contextlib
import functools
import importlib
import logging
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, load_command_class

import pistoke
from pistoke.management.commands.runserver import Verbosity, restartable
from tests.parts import importable, on_path, require

require("Uvicorn", importable("uvicorn"), "pip install -e .[runserver]")
uvicorn = importlib.import_module("uvicorn")

#: How long anything may take before a test fails, in seconds: much more than it does take.
PATIENCE = 30

#: What counts as immediate for a person: more than the second that the autoreloader sleeps between two looks at files,
#: and much less than the 60 s that the views here would hold a server up.
AT_ONCE = 10

#: Whether Uvicorn logs WebSockets and says 1012 when it ends; else its clients see the connection gone.
UVICORN_SPEAKS = tuple(map(int, uvicorn.__version__.split(".")[:2])) >= (0, 17)

#: How a socket may end with its server.
GONE = (1011, 1012) if UVICORN_SPEAKS else (1006, 1011, 1012)

PROJECT = {
    "manage.py": """
        import os, sys

        if __name__ == "__main__":
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
            from django.core.management import execute_from_command_line

            execute_from_command_line(sys.argv)
    """,
    "project/__init__.py": "",
    "project/settings.py": """
        import os

        DEBUG = "PROJECT_PRODUCTION" not in os.environ
        ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
        SECRET_KEY = "not secret"
        USE_TZ = True
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        INSTALLED_APPS = os.environ.get("PROJECT_APPS", "pistoke.Pistoke project django.contrib.staticfiles").split()
        MIDDLEWARE = ["pistoke.ohjain.WebsocketOhjain"]
        ROOT_URLCONF = "project.urls"
        STATIC_URL = "/static/"
        # The autoreloader says which files it has seen: only then does it notice their next change.
        LOGGING = {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "loggers": {"django.utils.autoreload": {"handlers": ["console"], "level": "DEBUG", "propagate": False}},
        }
        exec(os.environ.get("PROJECT_SETTINGS", ""))
    """,
    "project/static/style.css": "body { color: green }",
    "project/models.py": "",
    "project/urls.py": """
        from django.urls import path
        from . import views

        urlpatterns = [path("", views.page), path("echo/", views.echo), path("stuck/", views.stuck),
            path("fails/", views.fails)]
    """,
    "project/views.py": """
        import time
        from asgiref.sync import sync_to_async
        from django.http import HttpResponse
        from pistoke.protokolla import WebsocketProtokolla

        def page(request):
            return HttpResponse("page 1, {}".format(request.scheme))

        @WebsocketProtokolla
        async def echo(request):
            async for message in request:
                await request.send(message)

        @WebsocketProtokolla
        async def fails(request):
            raise ValueError("with a traceback")

        @WebsocketProtokolla
        async def stuck(request):
            await request.send("stuck")
            await sync_to_async(time.sleep)(60)
    """,
    "project/asgi.py": """
        async def application(scope, receive, send):
            if scope["type"] != "http":
                raise ValueError(scope["type"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the application of the settings"})
    """,
    "greeting/__init__.py": "",
    "greeting/management/__init__.py": "",
    "greeting/management/commands/__init__.py": "",
    "greeting/management/commands/runserver.py": """
        from django.contrib.staticfiles.management.commands.runserver import Command as Next

        class Command(Next):
            def add_arguments(self, parser):
                super().add_arguments(parser)
                parser.add_argument("--greeting")

            def inner_run(self, *args, **options):
                self.stdout.write("greeting: {}".format(options["greeting"]))
                super().inner_run(*args, **options)
    """,
}


class RunServer:
    """A ``manage.py runserver`` at work, with all that it has printed."""

    def __init__(self, directory, *arguments, **environment):
        env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        source = str(Path(pistoke.__file__).parent.parent)
        path = environment.pop("path", [])
        env.update(environment, PYTHONUNBUFFERED="1", PYTHONPATH=os.pathsep.join([*path, source]))
        self.directory = directory
        self.output = ""
        self.changed = threading.Condition()
        # How often a file has been changed, and so the autoreloader's child restarted.
        self.edits = 0
        # A session of its own, as a terminal gives: Ctrl-C reaches the autoreloader and its child.
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", *arguments], cwd=str(directory), env=env, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, universal_newlines=True,
            # Where the tests run in the background of a shell, Ctrl-C is ignored, and that is inherited.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler),
        )
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if " first seen with " in line and "/project/" not in line:
                continue
            with self.changed:
                self.output += line
                self.changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stdout.close()

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait_for(self, pattern, times=1):
        """Wait until ``pattern`` has been printed so many times; return the last match."""

        def found():
            matches = list(re.finditer(pattern, self.output))
            return matches[times - 1] if len(matches) >= times else None

        with self.changed:
            assert self.changed.wait_for(found, PATIENCE), "expected {!r} in: {}".format(pattern, self.output)
            return found()

    @property
    def port(self):
        """The port; waits until it is served."""
        return int(self.wait_for(r"Uvicorn running on https?://\S+:(\d+) ").group(1))

    def exit_code(self):
        """Wait for the end; return its code."""
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code

    def get(self, path="/", host="127.0.0.1", scheme="http", context=None):
        """Return an HTTP response, be it an error, with its ``body``."""
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        opener = urllib.request.build_opener(*handlers)
        try:
            response = opener.open("{}://{}:{}{}".format(scheme, host, self.port, path), timeout=PATIENCE)
        except urllib.error.HTTPError as exc:
            response = exc
        with response:
            response.body = response.read().decode()
        return response

    def websocket(self, path="/echo/", **kwargs):
        return WebSocket(self.port, path, **kwargs)

    def edit(self, name, old, new):
        """Change a file once the autoreloader has seen it; its time moves on, whatever the file system counts in."""
        path = self.directory / name
        self.edits += 1
        self.wait_for("File {} first seen".format(re.escape(str(path))), times=self.edits)
        before = path.stat().st_mtime
        path.write_text(path.read_text().replace(old, new) if old else new)
        os.utime(str(path), (before + 5, before + 5))


class WebSocket:
    """The little of a WebSocket client that the tests need, without a library that may not be there."""

    def __init__(self, port, path, wrap=lambda sock: sock):
        self.socket = wrap(socket.create_connection(("127.0.0.1", port), PATIENCE))
        self.stream = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET {} HTTP/1.1".format(path), "Host: 127.0.0.1:{}".format(port), "Upgrade: websocket",
            "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key, "", "",
        ]
        self.socket.sendall("\r\n".join(lines).encode())
        self.status = int(self.stream.readline().split()[1])
        while self.stream.readline().strip():
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stream.close()
        self.socket.close()

    def send(self, text):
        data = text.encode()
        assert len(data) < 126
        # Masked with zeros, that is not at all.
        self.socket.sendall(struct.pack("!BB4x", 0x81, 0x80 | len(data)) + data)

    def receive(self):
        """Return a text, or the code of a close; 1006 if the connection is just gone."""
        while True:
            try:
                head = self.stream.read(2)
            except ConnectionError:
                head = b""
            if len(head) < 2:
                return 1006
            data = self.stream.read(head[1])
            if head[0] == 0x88:
                return struct.unpack("!H", data[:2])[0]
            if head[0] == 0x81:
                return data.decode()


@pytest.fixture
def project(tmp_path):
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


@pytest.fixture
def runserver(project):
    """Return a function that starts ``runserver`` with the arguments given; all are ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **environment):
            if not any(re.search(r"\d$", argument) and not argument.startswith("-") for argument in arguments):
                arguments = ("127.0.0.1:0",) + arguments
            return stack.enter_context(RunServer(project, *arguments, **environment))

        yield start


@pytest.fixture
def without_uvicorn(tmp_path):
    """Return a directory that, on the path, makes Uvicorn look as if it were not installed."""
    blocker = tmp_path / "blocker" / "uvicorn.py"
    blocker.parent.mkdir()
    blocker.write_text("raise ImportError(\"No module named 'uvicorn'\", name='uvicorn')")
    return [str(blocker.parent)]


def free_port():
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# ASGI -----------------------------------------------------------------------------------------------------------------


def test_asgi_is_the_default_and_serves_pages_sockets_and_static_files(runserver):
    server = runserver()
    assert server.get().body == "page 1, http"
    with server.websocket() as websocket:
        websocket.send("hello")
        assert websocket.receive() == "hello"
    static = server.get("/static/style.css")
    assert static.body == "body { color: green }"
    assert "no-cache" in static.headers["Cache-Control"]
    server.wait_for("Performing system checks")
    server.wait_for(r"Starting ASGI/Uvicorn development server at http://127\.0\.0\.1:\d+/\nQuit the server with")
    server.wait_for(r'\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] 127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200\n')
    server.wait_for(r'\] 127\.0\.0\.1:\d+ - "WEBSOCKET /echo/" 101\n')


def test_sockets_are_printed_like_requests(runserver):
    server = runserver("--noreload")
    with server.websocket("/echo/?a=%C3%A4") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    with server.websocket("/fails/") as ws:
        assert ws.receive() == 1011
    with server.websocket("/nowhere/") as ws:
        assert ws.status in (403, 404)
    time_and_client = r"\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] 127\.0\.0\.1:\d+ - "
    for line in (
        r'"WEBSOCKET /echo/\?a=%C3%A4" 101',
        r'"WEBSOCKET /echo/\?a=%C3%A4" (1005|1006) \d\.\ds',
        r'"WEBSOCKET /fails/" 101',
        r'"WEBSOCKET /fails/" 1011 \d\.\ds',
        r'"WEBSOCKET /nowhere/" (403|404)',
    ):
        server.wait_for("(?m)^" + time_and_client + line + "$")
    # Once each, and with nothing of Uvicorn's own beside it.
    assert server.output.count("WEBSOCKET") == 5
    assert [text for text in ('"WebSocket', "connection open", "connection closed") if text in server.output] == []


def test_exception_in_a_socket_shows_its_traceback(runserver):
    server = runserver("--noreload", PROJECT_SETTINGS="del LOGGING")
    with server.websocket("/fails/") as ws:
        assert ws.receive() == 1011
    server.wait_for(r"Internal Server Error: /fails/")
    server.wait_for(r"project/views.py\", line \d+, in fails")
    server.wait_for(r'\nValueError: with a traceback\n')


def test_banner_keeps_what_django_says(runserver):
    def banner(*arguments):
        server = runserver("--noreload", *arguments)
        server.wait_for("Quit the server with CONTROL-C.")
        text = server.output.partition("Django version")[2].partition("CONTROL-C")[0]
        return re.sub(r"(ASGI/Uvicorn |WSGI )|:\d+/", "", text)

    assert banner("--asgi") == banner("--wsgi")


def test_nostatic_leaves_static_files_to_the_views(runserver):
    assert runserver("--noreload", "--nostatic").get("/static/style.css").status == 404


def test_without_debug_static_files_need_insecure(runserver):
    assert runserver("--noreload", PROJECT_PRODUCTION="1").get("/static/style.css").status == 404
    insecure = runserver("--noreload", "--insecure", PROJECT_PRODUCTION="1")
    assert insecure.get("/static/style.css").status == 200


def test_without_staticfiles_there_are_no_static_files(runserver):
    server = runserver("--noreload", PROJECT_APPS="pistoke.Pistoke")
    assert server.get("/static/style.css").status == 404
    assert server.get().status == 200


def test_application_of_the_settings_is_used(runserver):
    server = runserver("--noreload", PROJECT_SETTINGS="ASGI_APPLICATION = 'project.asgi.application'")
    assert server.get().body == "the application of the settings"


def test_application_that_cannot_be_imported_is_named(runserver):
    server = runserver("--noreload", PROJECT_SETTINGS="ASGI_APPLICATION = 'project.asgi.nothing'")
    assert server.exit_code() == 1
    server.wait_for(r"ImproperlyConfigured: ASGI application 'project\.asgi\.nothing' could not be loaded")


@pytest.mark.parametrize("arguments", [(), ("--noreload",)])
def test_port_in_use_is_told_as_django_tells_it(runserver, arguments):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = runserver("127.0.0.1:{}".format(taken.getsockname()[1]), *arguments)
        assert server.exit_code() == 1
    assert "Error: That port is already in use." in server.output
    assert "Traceback" not in server.output


@pytest.mark.parametrize(
    ("arguments", "banner", "host"),
    [
        (["localhost:0"], "http://localhost:", "127.0.0.1"),
        (["0"], "http://127.0.0.1:", "127.0.0.1"),
        (["0.0.0.0:0"], "http://0.0.0.0:", "127.0.0.1"),
        (["[::1]:0"], "http://[::1]:", "[::1]"),
        (["-6", "0"], "http://[::1]:", "[::1]"),
        (["--nothreading", "0"], "http://127.0.0.1:", "127.0.0.1"),
        (["--skip-checks", "0"], "http://127.0.0.1:", "127.0.0.1"),
    ],
)
def test_addresses_and_flags_of_django(runserver, arguments, banner, host):
    if host == "[::1]" and not has_ipv6():
        pytest.skip("no IPv6 here")
    if "--skip-checks" in arguments and "--skip-checks" not in runserver_help():
        pytest.skip("this Django always checks")
    server = runserver("--noreload", *arguments)
    server.wait_for(re.escape("server at " + banner))
    assert server.get(host=host).status == 200
    assert ("Performing system checks" in server.output) == ("--skip-checks" not in arguments)


def has_ipv6():
    with contextlib.suppress(OSError), contextlib.closing(socket.socket(socket.AF_INET6)) as sock:
        sock.bind(("::1", 0))
        return True
    return False


def runserver_help():
    return load_command_class("pistoke", "runserver").create_parser("manage.py", "runserver").format_help()


# The autoreloader, and the end ----------------------------------------------------------------------------------------


def test_saved_file_reloads_at_once_although_a_socket_is_open(runserver):
    server = runserver("127.0.0.1:{}".format(free_port()))
    with server.websocket() as websocket:
        start = time.monotonic()
        server.edit("project/views.py", "page 1", "page 2")
        assert websocket.receive() in GONE
        server.wait_for("Uvicorn running on", times=2)
        assert time.monotonic() - start < AT_ONCE
    assert server.get().body == "page 2, http"
    assert "Traceback" not in server.output


def test_saved_file_reloads_at_once_although_many_sockets_are_open(runserver):
    server = runserver("127.0.0.1:{}".format(free_port()))
    with contextlib.ExitStack() as stack:
        # More of them are stuck in their threads than there are threads.
        websockets = [stack.enter_context(server.websocket(path)) for path in ["/echo/"] * 20 + ["/stuck/"] * 20]
        start = time.monotonic()
        server.edit("project/views.py", "page 1", "page 2")
        assert [websocket.receive() in ("stuck",) + GONE for websocket in websockets] == [True] * 40
        server.wait_for("Uvicorn running on", times=2)
        assert time.monotonic() - start < AT_ONCE
    assert server.get().body == "page 2, http"


def test_saved_file_reloads_at_once_although_a_view_is_stuck(runserver):
    server = runserver("127.0.0.1:{}".format(free_port()))
    with server.websocket("/stuck/") as websocket:
        assert websocket.receive() == "stuck"
        start = time.monotonic()
        server.edit("project/views.py", "page 1", "page 2")
        server.wait_for("Uvicorn running on", times=2)
        assert time.monotonic() - start < AT_ONCE
    assert server.get().body == "page 2, http"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("project/views.py", ()),
        # The command itself is Django's until a broken app is repaired: our flags must not be the end of it.
        ("project/models.py", ("-v", "debug", "--asgi")),
        ("project/models.py", ("--verbose", "warning")),
    ],
)
def test_broken_file_reloads_when_repaired(runserver, name, arguments):
    server = runserver(*arguments, "127.0.0.1:{}".format(free_port()))
    server.wait_for("Quit the server")
    wait_until_served(server)
    good = (server.directory / name).read_text()
    server.edit(name, "", "broken(")
    server.wait_for("SyntaxError")
    server.edit(name, "", good + "\n")
    server.wait_for("Quit the server", times=2)
    wait_until_served(server)


def wait_until_served(server):
    """Wait for the port that the arguments name."""
    port = int(server.process.args[-1].rpartition(":")[2])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), WebSocket(port, "/echo/"):
            return
        time.sleep(0.1)
    pytest.fail("expected a server on port {}: {}".format(port, server.output))


@pytest.mark.parametrize("arguments", [(), ("--noreload",)])
@pytest.mark.parametrize("path", ["/echo/", "/stuck/"])
def test_ctrl_c_ends_at_once_although_a_socket_is_open(runserver, arguments, path):
    server = runserver(*arguments)
    with server.websocket(path) as websocket:
        websocket.send("hello")
        assert websocket.receive() in ("hello", "stuck")
        start = time.monotonic()
        server.signal(signal.SIGINT)
        assert server.exit_code() == 0
        assert time.monotonic() - start < AT_ONCE
        assert websocket.receive() in (GONE if arguments else (1006,) + GONE)
    assert "KeyboardInterrupt" not in server.output


def test_sigterm_ends_at_once_although_a_socket_is_open(runserver):
    server = runserver("--noreload")
    with server.websocket() as websocket:
        start = time.monotonic()
        server.process.terminate()
        assert server.exit_code() in (0, -signal.SIGTERM)
        assert time.monotonic() - start < AT_ONCE
        assert websocket.receive() in GONE


# WSGI -----------------------------------------------------------------------------------------------------------------


def test_wsgi_is_the_server_of_django(runserver):
    port = free_port()
    server = runserver("--wsgi", "--noreload", "--verbose", "debug", "127.0.0.1:{}".format(port))
    server.wait_for("Starting (WSGI )?development server at")
    wait_until_served(server)
    with WebSocket(port, "/echo/") as websocket:
        assert websocket.status != 101
    assert "Uvicorn" not in server.output


def test_wsgi_is_the_default_without_uvicorn(runserver, without_uvicorn):
    server = runserver("--noreload", path=without_uvicorn)
    server.wait_for("Starting (WSGI )?development server at")
    server.wait_for(re.escape("no WebSockets: run pip install django-pistoke[runserver]"))


def test_wsgi_that_was_asked_for_lacks_nothing(runserver, without_uvicorn):
    server = runserver("--noreload", "--wsgi", path=without_uvicorn)
    server.wait_for("Starting (WSGI )?development server at")
    assert "Uvicorn" not in server.output


def test_asgi_without_uvicorn_says_what_to_install(runserver, without_uvicorn):
    server = runserver("--asgi", path=without_uvicorn)
    assert server.exit_code() == 1
    server.wait_for(re.escape("CommandError: --asgi needs Uvicorn"))
    server.wait_for(re.escape("pip install django-pistoke[runserver]"))


# Levels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number", "level"),
    [
        ("0", 0, "critical"), ("1", 1, "info"), ("2", 2, "debug"), ("3", 3, "trace"), ("critical", 0, "critical"),
        ("error", 0, "error"), ("warning", 0, "warning"), ("info", 1, "info"), ("debug", 2, "debug"),
        ("trace", 3, "trace"), ("TRACE", 3, "trace"), (2, 2, "debug"),
    ],
)
def test_verbosity_is_a_number_that_knows_its_level(value, number, level):
    verbosity = Verbosity(value)
    assert verbosity == number
    assert verbosity.log_level == level


@pytest.mark.parametrize("value", ["4", "-1", "loud", "", "1.0"])
def test_other_verbosities_are_refused(value):
    with pytest.raises(argparse.ArgumentTypeError, match="expected 0, 1, 2, 3 or one of critical, error"):
        Verbosity(value)
    with pytest.raises(CommandError, match="expected 0, 1, 2, 3 or one of"):
        call_command("runserver", verbosity=value)


@pytest.mark.parametrize("flag", ["-v", "--verbosity", "--verbose"])
def test_verbosity_has_three_spellings(flag):
    parser = load_command_class("pistoke", "runserver").create_parser("manage.py", "runserver")
    assert parser.parse_args([flag, "trace"]).verbosity.log_level == "trace"
    assert parser.parse_args([flag, "2"]).verbosity == 2
    assert parser.parse_args([]).verbosity == 1


@pytest.mark.parametrize(
    ("arguments", "told", "not_told"),
    [
        (["-v", "0"], [], ["Application startup", '"GET /', "Invalid HTTP"]),
        (["--verbose=error"], [], ["Application startup", '"GET /', "Invalid HTTP"]),
        (["--verbosity", "warning"], ["Invalid HTTP"], ["Application startup", '"GET /']),
        (["-v1"], ["Application startup complete", '"GET /', "Invalid HTTP"], ["TRACE", "DEBUG"]),
        (["--verbose", "debug"], ["Application startup complete", '"GET /', "Invalid HTTP"], ["TRACE"]),
        (["-v", "trace"], ["Application startup complete", '"GET /', "TRACE: .*ASGI", "Invalid HTTP"], []),
    ],
)
def test_uvicorn_logs_what_it_logs_at_that_level(runserver, arguments, told, not_told):
    port = free_port()
    server = runserver("--noreload", *arguments, "127.0.0.1:{}".format(port))
    server.wait_for("Quit the server")
    wait_until_served(server)
    for request in (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"nonsense\r\n\r\n"):
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
            client.sendall(request)
            while client.recv(1024):
                pass
    for pattern in told:
        server.wait_for(pattern)
    # Ended, it has nothing more to say.
    server.signal(signal.SIGINT)
    server.exit_code()
    assert [text for text in not_told if text in server.output] == []


def test_project_may_log_uvicorn_in_its_own_way(runserver):
    logging_settings = {
        "version": 1, "disable_existing_loggers": False, "formatters": {"own": {"format": "own: %(message)s"}},
        "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
        "loggers": {"uvicorn": {"handlers": ["own"]}},
    }
    server = runserver("--noreload", PROJECT_SETTINGS="LOGGING = {!r}".format(logging_settings))
    server.wait_for("own: Application startup complete")
    assert server.output.count("Application startup complete") == 1


@pytest.mark.parametrize(
    ("message", "arguments", "level", "style"),
    [
        ('%s - "%s %s HTTP/%s" %d', ("1.2.3.4:5", "GET", "/%7B0%7D", "1.1", 200), logging.INFO, "HTTP_SUCCESS"),
        ('%s - "%s %s HTTP/%s" %d', ("1.2.3.4:5", "GET", "/", "1.1", 404), logging.INFO, "HTTP_NOT_FOUND"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "101"), logging.INFO, "HTTP_INFO"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "404"), logging.INFO, "HTTP_NOT_FOUND"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "1000 12.3s"), logging.INFO, "HTTP_SUCCESS"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "1001 0.0s"), logging.INFO, "HTTP_SUCCESS"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "4001 0.0s"), logging.INFO, "HTTP_SUCCESS"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "4403 0.0s"), logging.INFO, "HTTP_BAD_REQUEST"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "1006 0.0s"), logging.INFO, "HTTP_BAD_REQUEST"),
        ('%s - "WEBSOCKET %s" %s', ("1.2.3.4:5", "/", "1011 0.0s"), logging.INFO, "HTTP_SERVER_ERROR"),
        ("Invalid HTTP request received.", (), logging.WARNING, "WARNING"),
        ("Exception in ASGI application", (), logging.ERROR, "ERROR"),
    ],
)
def test_lines_have_the_colours_of_django(message, arguments, level, style):
    from django.core.management.color import make_style

    from pistoke.devserver import Formatter

    formatter = Formatter()
    formatter.style = make_style("dark")
    record = logging.LogRecord("uvicorn.error", level, __file__, 1, message, arguments, None)
    start, end = getattr(formatter.style, style)("text").split("text")
    line = formatter.format(record)
    assert start + ("" if level == logging.INFO else logging.getLevelName(level)) in line
    assert end in line
    assert message % arguments in re.sub("\x1b.*?m", "", line)
    assert record.getMessage() == message % arguments


# TLS and workers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """Return the paths of a certificate for localhost and its key."""
    require("OpenSSL", on_path("openssl"), "apt-get install openssl")
    paths = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(command + ["-out", paths[0], "-keyout", paths[1]], check=True, stderr=subprocess.DEVNULL)
    return paths


def check_tls(server, certificate):
    server.wait_for("Starting ASGI/Uvicorn development server at https://127.0.0.1")
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    assert server.get(scheme="https", context=context).body == "page 1, https"
    with server.websocket(wrap=context.wrap_socket) as websocket:
        websocket.send("secret")
        assert websocket.receive() == "secret"


def test_certificate_and_key_make_it_https(runserver, certificate):
    server = runserver("--noreload", "--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1])
    check_tls(server, certificate[0])


def test_certificate_may_be_an_attribute_of_the_command(runserver, project, certificate):
    setting_defaults = """
        from django.apps import AppConfig

        class Project(AppConfig):
            name = "project"

            def ready(self):
                from pistoke.management.commands.runserver import Command

                Command.oletus_ssl_certfile = {!r}
                Command.oletus_ssl_keyfile = {!r}
    """.format(*certificate)
    (project / "project/apps.py").write_text(textwrap.dedent(setting_defaults))
    apps = "pistoke.Pistoke project.apps.Project django.contrib.staticfiles"
    check_tls(runserver(PROJECT_APPS=apps), certificate[0])
    # What only ASGI mode has is no error of somebody who asks for the other.
    wsgi = runserver("--noreload", "--wsgi", PROJECT_APPS=apps)
    wsgi.wait_for("development server at http://")


def test_workers_serve_without_the_autoreloader(runserver):
    server = runserver("--workers", "2", "--noreload", "127.0.0.1:{}".format(free_port()))
    server.wait_for("Application startup complete", times=2)
    assert server.get().body == "page 1, http"
    assert server.get("/static/style.css").status == 200
    with server.websocket() as websocket:
        websocket.send("hello")
        assert websocket.receive() == "hello"
        start = time.monotonic()
        server.signal(signal.SIGINT)
        server.exit_code()
        assert time.monotonic() - start < AT_ONCE
    assert len(set(re.findall(r"Started server process \[(\d+)\]", server.output))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers works only without the autoreloader: add --noreload"),
        (["--ssl-keyfile", "manage.py"], "expected --ssl-certfile beside --ssl-keyfile"),
        (["--ssl-certfile", "nothing.pem"], "expected a certificate or key file, got 'nothing.pem'"),
        (["--wsgi", "--ssl-certfile", "cert.pem"], "--ssl-certfile works only in ASGI mode"),
        (["--wsgi", "--noreload", "--workers", "2"], "--workers works only in ASGI mode"),
        (["--workers", "0"], "expected a number of processes from 1 up, got '0'"),
        (["--workers", "many"], "expected a number of processes from 1 up, got 'many'"),
        (["--asgi", "--wsgi"], "not allowed with argument"),
        (["nothing at all"], "is not a valid port number"),
        (["-v", "loud"], "expected 0, 1, 2, 3 or one of critical"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command("runserver", *arguments)


# Other commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["--asgi", "--wsgi"])
def test_flags_of_the_next_runserver_keep_working(runserver, mode):
    server = runserver(
        "--noreload", mode, "--greeting", "moi", PROJECT_APPS="pistoke.Pistoke greeting django.contrib.staticfiles"
    )
    server.wait_for("greeting: moi")
    server.wait_for("Starting (ASGI/Uvicorn |WSGI )?development server at")


def test_app_that_comes_before_is_not_the_next(runserver):
    apps = "greeting pistoke.Pistoke django.contrib.staticfiles"
    server = runserver("--noreload", "--asgi", PROJECT_APPS=apps)
    assert server.exit_code() == 2
    assert "unrecognized arguments: --asgi" in server.output


def test_whitenoise_keeps_static_files_to_itself(runserver):
    require("WhiteNoise", importable("whitenoise"), "pip install -e .[test]")
    server = runserver(
        "--noreload", PROJECT_APPS="pistoke.Pistoke whitenoise.runserver_nostatic django.contrib.staticfiles project"
    )
    assert server.get("/static/style.css").status == 404


@pytest.mark.parametrize("arguments", [("--asgi",), ("--wsgi",), ("--noasgi",), ()])
def test_daphne_is_overruled(runserver, arguments):
    pytest.importorskip("daphne.management")
    server = runserver(
        "--noreload", *arguments, PROJECT_APPS="pistoke.Pistoke daphne django.contrib.staticfiles project"
    )
    asgi = arguments in ((), ("--asgi",))
    server.wait_for("Starting {}development server at".format("ASGI/Uvicorn " if asgi else "(WSGI )?"))
    if asgi:
        assert server.get("/static/style.css").status == 200


# The command line of the autoreloader's child -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "restarted"),
    [
        ("runserver", "runserver"),
        ("runserver -v debug 8000", "runserver 8000 --verbose=debug"),
        ("runserver --verbosity=2 --asgi", "runserver --asgi --verbose=2"),
        ("runserver --verbose trace --settings a.b", "runserver --settings a.b --verbose=trace"),
        ("runserver --ssl-certfile c --ssl-keyfile k 1", "runserver 1 --ssl-certfile=c --ssl-keyfile=k"),
        ("runserver --verbose=trace", "runserver --verbose=trace"),
    ],
)
def test_each_flag_is_one_word_in_the_child(given, restarted):
    assert restartable(given.split()) == restarted.split()
