"""Pages for readers become projects, as they would in a reader's hands: what their tests share.

Blocks of code name their file in the first line. A project made of them is served by a real server, and a real client talks
with it.
"""

import asyncio
import collections
import contextlib
import http.cookiejar
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import websockets

REPOSITORY = Path(__file__).resolve().parent.parent
TIMEOUT = 20  # seconds for anything that another process does

#: The arguments of Python that serve a project.
UVICORN = ["-m", "uvicorn", "{project}.asgi:application", "--port", "{{port}}", "--log-level", "warning"]


# Pages and their blocks --------------------------------------------------------------------------------------


class Block(collections.namedtuple("Block", "page line language text")):
    """A fenced block of code: the page and the line it is on, its language, and the text as it stands."""

    @property
    def file(self):
        """The file that the first line names, or an empty string."""
        named = re.match(r"(?:#|<!--)\s*(/?[\w.-]+(?:/[\w.-]+)+)\s*(?:-->)?\s*\n", self.text)
        return named.group(1) if named else ""

    def __str__(self):
        return "{}:{} {}".format(self.page, self.line, self.file or self.language)


def blocks_of(page, path):
    """Yield the blocks of the page at a path, none where there is none.

    Indented fences, and those without a language, count too.
    """
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^[ ]*```(\S*)\n(.*?)^[ ]*```[ ]*$", text, re.M | re.S):
        yield Block(page, text[: match.start()].count("\n") + 1, match.group(1), match.group(2))


# A project made of a page ------------------------------------------------------------------------------------


class Project:
    """The directory of a Django project, as its owner sees it."""

    def __init__(self, directory):
        self.directory = directory

    def path(self, name):
        """Return the path of a file of the project."""
        return self.directory / name

    @staticmethod
    def replace(file, old, new):
        """Replace one text in a file by another."""
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(old, new), encoding="utf-8")

    def python(self, *arguments, **variables):
        """Run Python in the project, and return what it said; fail with that if it fails."""
        done = subprocess.run(
            [sys.executable] + list(arguments),
            cwd=str(self.directory),
            env=dict(environment(), **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            timeout=TIMEOUT * 3,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def manage(self, *arguments, **variables):
        """Run a command of manage.py, with more variables in its environment."""
        return self.python("manage.py", *arguments, **variables)


class ProjectOfPage(Project):
    """The Django project that a reader of a page makes of all its blocks in an empty directory."""

    def __init__(self, blocks, directory):
        super().__init__(directory)
        self.blocks = [block for block in blocks if block.file and not block.file.startswith("/")]
        self.settings_block = self.only(r"/(settings|asetukset)\.py$")
        self.name, _, settings = self.settings_block.file.partition("/")
        self.settings_name = settings[: -len(".py")]
        self.apps = sorted({block.file.split("/")[0] for block in self.blocks} - {self.name})
        self.python("-m", "django", "startproject", self.name, ".")
        self.rename_settings()
        self.write_files()
        self.complete_settings()
        self.complete_urls()

    def only(self, pattern):
        """Return the one block whose file matches."""
        found, = (block for block in self.blocks if re.search(pattern, block.file))
        return found

    def rename_settings(self):
        """Call the settings what the page calls them, wherever `startproject` has named them."""
        self.path(self.name + "/settings.py").rename(self.path(self.settings_block.file))
        for file in self.directory.rglob("*.py"):
            self.replace(file, self.name + ".settings", self.name + "." + self.settings_name)

    def write_files(self):
        """Write each block into its file; of several for the same file, the first."""
        for block in reversed(self.blocks):
            if block is not self.settings_block:
                self.path(block.file).parent.mkdir(parents=True, exist_ok=True)
                self.path(block.file).write_text(block.text, encoding="utf-8")
        for app in self.apps:
            self.path(app + "/__init__.py").touch()

    def complete_settings(self):
        """Add what the page says of the settings to those of `startproject`."""
        file = self.path(self.settings_block.file)
        filled = fill_in(self.settings_block.text, runpy.run_path(str(file)), self.apps)
        file.write_text(file.read_text(encoding="utf-8") + "\n" + filled, encoding="utf-8")

    def complete_urls(self):
        """Include those modules that have URL patterns of their own."""
        modules = [block.file for block in self.blocks if re.search(r"^urlpatterns = ", block.text, re.M)]
        lines = ["", "from django.urls import include", ""] + [
            'urlpatterns += [path("", include("{}"))]'.format(file[: -len(".py")].replace("/", "."))
            for file in modules
            if not file.endswith("/urls.py")
        ]
        with self.path(self.name + "/urls.py").open("a", encoding="utf-8") as urls:
            urls.write("\n".join(lines) + "\n")


def fill_in(text, defaults, apps):
    """Return the text of a settings block with its ellipses replaced by what they stand for.

    The first ellipsis in a list is everything else that `startproject` put into it, and the reader's own applications.
    """
    lines, name, rest = [], None, []
    for line in text.splitlines():
        opened = re.match(r"(\w+) = \[$", line)
        if opened:
            name = opened.group(1)
            rest = [item for item in defaults[name] if repr(item) not in text and json.dumps(item) not in text]
            rest += apps if name == "INSTALLED_APPS" else []
        if name and re.match(r"\s+\.\.\.,?$", line):
            lines += ["    {!r},".format(item) for item in rest]
            rest = []
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def environment():
    """Return the environment of a reader's shell, in which our package is installed."""
    env = dict(os.environ, PYTHONPATH=str(REPOSITORY / "src"), PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8")
    env.pop("DJANGO_SETTINGS_MODULE", None)
    return env


# Servers and clients -----------------------------------------------------------------------------------------


class Site:
    """A running server, as a browser sees it."""

    def __init__(self, port):
        self.port = port
        self.address = "http://127.0.0.1:{}".format(port)
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        )

    def get(self, path):
        """Return the text of a page."""
        return self.opener.open(self.address + path, timeout=TIMEOUT).read().decode()

    def post(self, path, **data):
        """Send a form."""
        body = urllib.parse.urlencode(data).encode()
        return self.opener.open(self.address + path, body, timeout=TIMEOUT).read().decode()

    def socket(self, path, **options):
        """Return a socket to a path or address, to be opened by `async with`."""
        uri = path if path.startswith("ws") else self.address.replace("http", "ws", 1) + path
        cookie = "; ".join("{0.name}={0.value}".format(cookie) for cookie in self.cookies)
        is_legacy = int(websockets.__version__.split(".")[0]) < 14
        options["extra_headers" if is_legacy else "additional_headers"] = {"Cookie": cookie} if cookie else {}
        if int(websockets.__version__.split(".")[0]) >= 15:
            options["proxy"] = None
        return websockets.connect(uri, origin=self.address, **options)


@contextlib.contextmanager
def serve(directory, command, log, port=None):
    """Run a server of the directory, at a port if it is to be one, and yield a Site once it answers."""
    port = port or free_port()
    with open(str(log), "wb") as output:
        process = subprocess.Popen(
            [sys.executable] + [part.format(port=port) for part in command],
            cwd=str(directory),
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(process, port, log)
        yield Site(port)
    finally:
        end(process)


def free_port():
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(process, port, log):
    """Return when somebody listens; fail with the log of a server that ends instead."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 1)):
            return
        time.sleep(0.05)


def end(process):
    """End a server as a terminal would."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


# What one says to views ------------------------------------------------------------------------------------------


Conversation = collections.namedtuple("Conversation", "talk arguments")


async def exchange(ws, message):
    """Send a message and return the answer."""
    await ws.send(message)
    return await ws.recv()


def socket_in(page, site, path):
    """Return the address of the socket that a page opens, and check that it is the page's own."""
    address = re.search(r'new WebSocket\(\s*"([^"]*)"\s*\)', page).group(1)
    assert address == site.address.replace("http", "ws", 1) + path
    return address


async def status_of_refusal(site, path, **options):
    """Return the HTTP status that a refused handshake got."""
    try:
        async with site.socket(path, **options):
            pytest.fail("expected a refusal, got an open socket at {}".format(path))
    except websockets.exceptions.InvalidHandshake as exc:
        return exc.response.status_code if hasattr(exc, "response") else exc.status_code


async def closing(ws):
    """Return the close code that ends what there is to read."""
    try:
        while True:
            await ws.recv()
    except websockets.exceptions.ConnectionClosed:
        return ws.close_code


def runner_of(block, runners):
    """Return what runs a block, of ``(language, pattern of its file, runner)`` the first; fail where nobody knows."""
    for language, file, run in runners:
        if block.language == language and re.search(file, block.file):
            return run
    return pytest.fail("nobody knows how to run {}: expected an entry in RUNNERS".format(block))


def have(conversation, site):
    """Talk with a site until everything is said, within the time-out."""
    loop = asyncio.new_event_loop()
    try:
        talk = conversation.talk(site, *conversation.arguments)
        loop.run_until_complete(asyncio.wait_for(talk, TIMEOUT))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
