"""The published packages that build on this one work unmodified, over a real server.

They run in a process of their own: one installs a handler for the end of child processes, another changes Django's session
middleware.
"""

import contextlib
import html
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.cookies import SimpleCookie

import pytest

from tests.parts import importable, require

PACKAGES = ["xterm", "synkroni", "ilmoitus", "viestikanava", "django_sivumedia", "jsonpatch", "celery", "uvicorn"]
HOW = "pip install -e .[test] && pip install --no-deps -r tests/requirements-dependents.txt"

require("a package that builds on this one", importable(*PACKAGES), HOW, exists=sys.version_info >= (3, 9))

import jsonpatch  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

TIMEOUT = 30  # seconds; nothing here takes more than one or two

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


class Browser:
    """Keeps cookies, loads pages and opens sockets."""

    def __init__(self, address):
        self.address = address
        self.cookies = SimpleCookie()

    def get(self, path):
        """Return the body of a page as text."""
        request = urllib.request.Request("http://{}{}".format(self.address, path), headers=self.headers())
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            for cookie in response.headers.get_all("Set-Cookie", ()):
                self.cookies.load(cookie)
            return response.read().decode()

    def headers(self):
        """Return the headers with the cookies."""
        pairs = ["{}={}".format(name, morsel.value) for name, morsel in self.cookies.items()]
        return {"Cookie": "; ".join(pairs)} if pairs else {}

    def json(self, path):
        """Return the content of a page that is JSON."""
        return json.loads(self.get(path))

    def token(self):
        """Return a CSRF token, with the cookie that belongs to it."""
        return self.json("/token/")["token"]

    def socket(self, path, **options):
        """Open a socket as a page of this site does; to be used in ``with``."""
        return connect(
            "ws://{}{}".format(self.address, path),
            origin="http://" + self.address,
            additional_headers=self.headers(),
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
            max_size=None,
            **options
        )


def receive(ws):
    """Return the next JSON message."""
    return json.loads(ws.recv(timeout=TIMEOUT))


def close_code(ws):
    """Return the code with which the server closes, having read whatever comes before."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            ws.recv(timeout=TIMEOUT)
    return caught.value.rcvd.code


def eventually(condition):
    """Wait until the condition holds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "expected it within {} s".format(TIMEOUT)
        time.sleep(0.02)


def free_port():
    """Return the number of a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_open(port):
    """Tell whether somebody listens on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def serving(application, log, **environment):
    """Serve an ASGI application with Uvicorn; yield the address; end it, and expect no error in its log."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--lifespan", "off"]
    with open(str(log), "wb") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=dict(os.environ, **environment), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        eventually(lambda: is_open(port) or server.poll() is not None)
        assert server.poll() is None, log.read_text()
        yield "127.0.0.1:{}".format(port)
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(TIMEOUT)
        server.kill()
        server.wait()
    assert not [line for line in log.read_text().splitlines() if is_error(line)], log.read_text()


def is_error(line):
    """Tell whether a line of a server's log says that something went wrong with a request.

    Uvicorn says so of each handshake that is refused. asyncio says so of the task in which django-xterm sends, when the
    browser leaves amid the output of its shell.
    """
    return "ERROR" in line and "without completing handshake" not in line and not line.startswith("ERROR asyncio")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Reach this machine itself without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of the project, with an empty database."""
    directory = tmp_path_factory.mktemp("dependents")
    environment = {"DEPENDENTS_DIRECTORY": str(directory), "DJANGO_SETTINGS_MODULE": "tests.dependents.settings"}
    command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.check_call(command, cwd=ROOT, env=dict(os.environ, **environment), timeout=TIMEOUT)
    with serving("tests.dependents.asgi:application", directory / "log", **environment) as address:
        yield address


@pytest.fixture
def browser(address):
    """A browser without cookies."""
    return Browser(address)


def test_system_checks_have_nothing_to_say_about_them(tmp_path):
    environment = {"DEPENDENTS_DIRECTORY": str(tmp_path), "DJANGO_SETTINGS_MODULE": "tests.dependents.settings"}
    command = [sys.executable, "-m", "django", "check", "--fail-level", "INFO"]
    subprocess.check_call(command, cwd=ROOT, env=dict(os.environ, **environment), timeout=TIMEOUT)


# django-xterm --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def terminal(browser):
    """Yield a socket with a shell behind it that has said that it is ready."""
    token = browser.token()
    with browser.socket("/terminal/") as ws:
        ws.send(json.dumps({"csrfmiddlewaretoken": token}))
        read_until(ws, r"\$ $")
        yield ws


def read_until(ws, pattern):
    """Return what the terminal shows, as soon as it matches a pattern."""
    shown = ""
    while not re.search(pattern, shown, re.M):
        shown += ws.recv(timeout=TIMEOUT)
    return shown


def type_in(ws, text):
    """Send keys as the widget sends them."""
    ws.send(text.encode())


def process_of(ws):
    """Return the process number of the shell."""
    type_in(ws, "echo pid=$$.\n")
    return int(re.search(r"pid=(\d+)\.", read_until(ws, r"pid=\d+\.")).group(1))


def is_running(pid):
    """Tell whether there is a process with this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_xterm_runs_a_shell(browser):
    with terminal(browser) as ws:
        type_in(ws, "echo h''i\n")
        assert "\r\nhi\r\n" in read_until(ws, "^hi\r$")


def test_xterm_sets_the_size_of_the_window(browser):
    with terminal(browser) as ws:
        ws.send(json.dumps({"cols": 71, "rows": 17}))
        type_in(ws, "stty size\n")
        read_until(ws, "^17 71\r$")


def test_xterm_ends_when_the_shell_does(browser):
    with terminal(browser) as ws:
        type_in(ws, "exit\n")
        assert close_code(ws) == 1000


def test_xterm_ends_with_control_c(browser):
    with terminal(browser) as ws:
        pid = process_of(ws)
        type_in(ws, "\x03")
        assert close_code(ws) == 1000
    eventually(lambda: not is_running(pid))


def test_xterm_ends_the_shell_when_the_browser_leaves(browser):
    with terminal(browser) as ws:
        pid = process_of(ws)
        assert is_running(pid)
    eventually(lambda: not is_running(pid))


def test_xterm_ends_the_shell_when_the_browser_leaves_amid_output(browser):
    with terminal(browser) as ws:
        pid = process_of(ws)
        type_in(ws, "while :; do echo y; done\n")
        read_until(ws, "^y\r$")
        ws.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: not is_running(pid))


def test_xterm_wants_a_token(browser):
    with browser.socket("/terminal/") as ws:
        ws.send(json.dumps({"csrfmiddlewaretoken": "no"}))
        assert ws.recv(timeout=TIMEOUT) == "CSRF-avain puuttuu tai se on virheellinen!"
        assert close_code(ws) == 1000


def test_xterm_page_is_served(browser):
    assert 'id="xterm"' in browser.get("/terminal/")


# django-synkroni -----------------------------------------------------------------------------------------------------


class Page:
    """A page that edits a document, as far as the package's script in it goes."""

    def __init__(self, browser):
        self.browser = browser
        self.pk = browser.json("/document/")["pk"]
        page = browser.get("/editor/{}/".format(self.pk))
        # What the script reads from its own element.
        self.data = json.loads(re.search(r'id="synkroni-alkutilanne"[^>]*>(.*?)</script>', page).group(1))
        attributes = dict(re.findall(r"""data-(\w+)=(?:"([^"]*)"|'[^']*')""", page))
        self.address = attributes["websocket"]
        self.subprotocols = json.loads(html.unescape(attributes["protokolla"]))
        self.greeting = json.loads(re.search("data-kattely='([^']*)'", page).group(1))

    @contextlib.contextmanager
    def open(self):
        """Open the socket and greet; yield it when the document has arrived."""
        assert self.address == "ws://{}/editor/{}/".format(self.browser.address, self.pk)
        path = "/editor/{}/".format(self.pk)
        with self.browser.socket(path, subprotocols=self.subprotocols) as ws:
            ws.send(json.dumps(self.greeting))
            self.patch(receive(ws))
            yield ws

    def patch(self, patch):
        """Apply a change that the server has sent."""
        self.data = jsonpatch.apply_patch(self.data, patch)

    def stored(self):
        """Return what is in the database."""
        return self.browser.json("/document/{}/".format(self.pk))["data"]


@pytest.fixture
def page(browser):
    """The page of a new document."""
    return Page(browser)


def test_synkroni_agrees_on_its_subprotocol(page):
    with page.open() as ws:
        assert ws.subprotocol == "django-synkroni"


def test_synkroni_refuses_another_subprotocol(page):
    with pytest.raises(InvalidStatus), page.browser.socket("/editor/1/", subprotocols=["other"]):
        pass


def test_synkroni_brings_the_document_to_the_browser(page):
    assert page.data == {"id": page.pk}
    with page.open():
        assert page.data == {"name": "first", "rows": []}


def test_synkroni_brings_changes_of_the_server_to_the_browser(page):
    with page.open() as ws:
        ws.send(json.dumps({"toiminto_id": 7, "rename": {"name": "second"}}))
        page.patch(receive(ws))
        assert receive(ws) == {"toiminto_id": 7, "renamed": True}
    assert page.data["name"] == "second"


def test_synkroni_brings_changes_of_the_browser_to_the_database(page):
    with page.open() as ws:
        ws.send(json.dumps({"op": "add", "path": "/rows/0", "value": {"price": 1.5}}))
        ws.send(json.dumps({"op": "replace", "path": "/name", "value": "ääkköset"}))
    # Sent, and gone at once: nothing that was sent before is lost.
    eventually(lambda: page.stored() == {"name": "ääkköset", "rows": [{"price": "1.5"}]})


def test_synkroni_puts_together_a_large_change(page):
    text = "ä" * 1500000
    change = json.dumps({"op": "replace", "path": "/name", "value": text}, ensure_ascii=False)
    escaped = change.replace("\\", "\\\\").replace('"', '\\"')
    # As many characters as the package's script puts into a message.
    size = 1024 * 1024 - 21
    parts = [escaped[start:start + size] for start in range(0, len(escaped), size)]
    with page.open() as ws:
        for number, part in enumerate(parts, 1):
            ws.send('{"n": %d, "o": "%s"}' % (len(parts) - number, part))
        ws.send(json.dumps({"toiminto_id": 1, "yhteys_alustettu": {}}))
        assert receive(ws) == {"toiminto_id": 1}
    eventually(lambda: page.stored()["name"] == text)


def test_synkroni_wants_a_token(page):
    path = "/editor/{}/".format(page.pk)
    with page.browser.socket(path, subprotocols=page.subprotocols) as ws:
        ws.send(json.dumps(dict(page.greeting, csrfmiddlewaretoken="no")))
        assert receive(ws)["virhe"] == "CSRF-avain puuttuu tai se on virheellinen!"
        close_code(ws)


# django-celery-ilmoitus ----------------------------------------------------------------------------------------------


def notification(text, level=20, tags="alert-info"):
    """Return a notification as the browser gets it."""
    return {"level": level, "message": text, "tags": tags}


@contextlib.contextmanager
def notifications(browser):
    """Yield a socket that has brought the one notification of before, and waits for more."""
    browser.get("/notify/?text=before")
    with browser.socket("/notifications/") as ws:
        assert receive(ws) == notification("before")
        eventually(lambda: browser.json("/listeners/")["listeners"] == 1)
        yield ws


def test_ilmoitus_brings_what_a_request_says(browser):
    with notifications(browser) as ws:
        browser.get("/notify/?text=now")
        assert receive(ws) == notification("now")
        browser.get("/notify/?text=again")
        assert receive(ws) == notification("again")


def test_ilmoitus_brings_what_is_said_outside_of_requests(browser):
    with notifications(browser) as ws:
        browser.get("/notify-from-outside/?text=outside")
        assert receive(ws) == notification("outside", 30, "alert-warning")


def test_ilmoitus_stops_listening_when_the_browser_leaves(browser):
    with notifications(browser):
        pass
    eventually(lambda: browser.json("/listeners/")["listeners"] == 0)


def test_ilmoitus_answers_without_a_socket_too(browser):
    browser.get("/notify/?text=hello")
    assert browser.json("/notifications/") == [notification("hello")]


# A chat --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def chat(browser):
    """Yield the socket of a chat that has passed the check of its token."""
    token = browser.token()
    with browser.socket("/chat/") as ws:
        ws.send(json.dumps({"csrfmiddlewaretoken": token}))
        assert receive(ws) == {"teksti": "welcome"}
        yield ws


def test_chat_goes_back_and_forth(browser):
    with chat(browser) as ws:
        ws.send(json.dumps({"teksti": "hello, chat"}))
        while receive(ws) != {"teksti": "hello, chat"}:
            pass


def test_chat_cleans_up_when_the_browser_leaves(browser):
    gone = browser.json("/chat/")["remarks"].count("gone")
    with chat(browser):
        pass
    eventually(lambda: browser.json("/chat/")["remarks"].count("gone") > gone)


def test_chat_wants_a_token(browser):
    with browser.socket("/chat/") as ws:
        ws.send(json.dumps({"csrfmiddlewaretoken": "no"}))
        assert receive(ws)["teksti"] == "CSRF-avain puuttuu tai se on virheellinen!"
        close_code(ws)


# A table -------------------------------------------------------------------------------------------------------------


def test_table_answers_each_query(browser):
    with browser.socket("/table/") as ws:
        for draw, start in enumerate([0, 10, 20], 1):
            ws.send("draw={}&start={}&length=2&search%5Bvalue%5D=".format(draw, start))
            assert receive(ws) == {"draw": draw, "recordsTotal": 100, "data": [[start], [start + 1]]}


# django-protoni ------------------------------------------------------------------------------------------------------


def test_protoni_serves_sockets(tmp_path):
    require("django-protoni", importable("protoni"), HOW, exists=sys.version_info >= (3, 11))
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.dependents.protoni_settings",
        "PROTONI": str(tmp_path),
    }
    with serving("protoni.asgi:application", tmp_path / "log", **environment) as address:
        browser = Browser(address)
        with pytest.raises(InvalidStatus) as refused, browser.socket("/no-such-path/"):
            pass
        assert refused.value.response.status_code == 404
        with pytest.raises(urllib.error.HTTPError) as missing:
            browser.get("/no-such-path/")
        missing.value.close()
        assert missing.value.code == 404
