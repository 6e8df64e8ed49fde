"""The whole site: nginx in front of the processes that Circus or systemd start."""

import contextlib
import copy
import http.client
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import threading
import time

import websockets

from ..servers.harness import eventually, free_port
from . import page, project

#: How long anything may take, in seconds.
PATIENCE = 20

#: What the page leaves to the rest of nginx.conf, and Debian to directories that only its own nginx may write to.
AROUND = """
pid {3};
{1}
http {{
    access_log off;
    client_body_temp_path {0}/body;
    proxy_temp_path {0}/proxy;
    fastcgi_temp_path {0}/fastcgi;
    uwsgi_temp_path {0}/uwsgi;
    scgi_temp_path {0}/scgi;
    {2}
}}
"""

VERSION = int(websockets.__version__.split(".")[0])


class Site:
    """The project of the page in a directory of its own, and the programs that serve it."""

    def __init__(self, directory, redis):
        self.directory = directory
        self.http, self.https = free_port(), free_port()
        for name in ("run", "ssl"):
            (directory / name).mkdir()
        self.project = project.write(directory)
        self.environment = dict(
            os.environ,
            PYTHONPATH=str(page.REPOSITORY / "src"),
            PYTHONIOENCODING="utf-8",
            DJANGO_SETTINGS_MODULE="project.settings",
            SECRET_KEY="vo8tuD3shohj6ioHeipai9ooqu7eiShaeghai0eeNg0quie9ahxohxah",
            REDIS_URL=redis.url,
        )
        self.manage("collectstatic", "--noinput")
        self.certify()

    def certify(self):
        """Make a certificate of its name, signed by itself."""
        crt, key = str(self.directory / "ssl" / "example.org.crt"), str(self.directory / "ssl" / "example.org.key")
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=example.org"]
        words += ["-addext", "subjectAltName=DNS:example.org", "-out", crt, "-keyout", key]
        subprocess.run(words, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.tls = ssl.create_default_context(cafile=crt)

    def manage(self, *words):
        """Run a command of manage.py."""
        return project.run(self.project, self.environment, "manage.py", *words)

    @property
    def unix_socket(self):
        """Where Uvicorn listens."""
        return str(self.directory / "run" / "http.sock")

    @contextlib.contextmanager
    def running(self, words, name, answers):
        """Run a program until the ``with`` block ends; yield its process once ``answers()``."""
        log = self.directory / (name + ".log")
        with open(str(log), "ab") as output:
            process = subprocess.Popen(
                words,
                cwd=str(self.project),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            ready = eventually(lambda: process.poll() is not None or answers(), PATIENCE)
            assert ready and process.poll() is None, log.read_text(errors="replace")[-3000:]
            yield process
        finally:
            end(process)

    # What the page configures

    def circus(self):
        """Run Circus with the configuration of the page, but two processes."""
        text = page.block("/etc/circus/project.ini", self.directory)
        (self.directory / "project.ini").write_text(text.replace("numprocesses = 4", "numprocesses = 2"))
        words = page.words_of(page.unit("circus.service", self.directory), "ExecStart")
        return self.running(words, "circus", lambda: len(pids(self.unix_socket)) == 2)

    def uvicorn(self, unix_socket, **options):
        """Run one process of Uvicorn with the options that the page gives it, but on a socket of its own."""
        cmd = page.block("/etc/circus/project.ini", self.directory).partition("cmd = ")[2].partition("\nuse_sockets")[0]
        for option, value in options.items():
            cmd += " --{} {}".format(option.replace("_", "-"), value)
        words = shlex.split(cmd.replace("--fd $(circus.sockets.project)", "--uds " + shlex.quote(unix_socket)))
        return self.running(words, "uvicorn", lambda: answers(unix_socket))

    def write_nginx(self, name="nginx", change=lambda text: text, main=lambda text: text):
        """Write the configuration of nginx, with changes to that of the project and to that around; return the words."""
        text = page.block("/etc/nginx/conf.d/project.conf", self.directory)
        text = text.replace("listen 80;", "listen 127.0.0.1:{};".format(self.http))
        text = text.replace("listen 443 ssl;", "listen 127.0.0.1:{} ssl;".format(self.https))
        # As root it would let its workers be somebody who may not open the socket of the tests.
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = main(page.blocks()["/etc/nginx/nginx.conf"]) + AROUND.format(
            self.directory, user, change(text), self.directory / (name + ".pid")
        )
        path = self.directory / (name + ".conf")
        path.write_text(configuration)
        return ["nginx", "-p", str(self.directory), "-c", str(path), "-e", str(self.directory / "error.log")]

    def nginx(self, name="nginx", **changes):
        """Run nginx."""
        words = self.write_nginx(name, **changes) + ["-g", "daemon off;"]
        return self.running(words, name, lambda: listens(self.https))

    @contextlib.contextmanager
    def again(self, name, **changes):
        """Yield the same site behind another nginx, with changes to its configuration."""
        other = copy.copy(self)
        other.http, other.https = free_port(), free_port()
        with other.nginx(name, **changes) as other.process:
            yield other

    # What its clients see

    def get(self, path="/", secure=True, **headers):
        """GET a page through nginx; return its status, headers and body."""
        if secure:
            connection = http.client.HTTPSConnection("127.0.0.1", self.https, timeout=PATIENCE, context=self.unchecked())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)
        headers.setdefault("Host", "example.org:{}".format(self.https))
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()

    @staticmethod
    def unchecked():
        """Return a context that accepts any certificate: the address is a number here."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self, path, origin=None, name="example.org", secure=True, headers=(), **options):
        """Return a socket through nginx, to be opened by ``async with``."""
        port = self.https
        address = "{}://{}:{}".format("wss" if secure else "ws", name, port)
        if secure:
            options.update(ssl=self.tls, server_hostname="example.org")
        if VERSION >= 15:
            options["proxy"] = None
        options["additional_headers" if VERSION >= 14 else "extra_headers"] = dict(headers)
        origin = origin or "https://example.org:{}".format(port)
        return websockets.connect(address + path, host="127.0.0.1", port=port, origin=origin, **options)

    async def refusal(self, path, **options):
        """Return the HTTP status that a handshake is refused with."""
        try:
            async with self.connect(path, **options):
                raise AssertionError("expected a refusal, got an open socket")
        except websockets.exceptions.InvalidHandshake as exc:
            return exc.response.status_code if hasattr(exc, "response") else exc.status_code


def end(process):
    """End a program as its supervisor does, and its group by force if it does not.

    Asked for kindly even where a test has failed: the processes of Circus are in groups of their own.
    """
    process.terminate()
    try:
        process.wait(PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def listens(port):
    """Return whether somebody listens to a port of loopback."""
    with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 1)):
        return True
    return False


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, as nginx speaks it."""

    def connect(self):
        """Connect to the path that is the host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def ask(unix_socket):
    """GET / at a Unix socket; return the body, or None where nobody answers with 200."""
    with contextlib.closing(UnixConnection(unix_socket, timeout=PATIENCE)) as connection:
        try:
            connection.request("GET", "/", headers={"Host": "example.org", "X-Forwarded-Proto": "https"})
            response = connection.getresponse()
            return response.read().decode() if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None


def answers(unix_socket):
    """Return whether somebody answers at a Unix socket."""
    return ask(unix_socket) is not None


def pids(unix_socket):
    """Return the processes that answer at a Unix socket; all of them, as good as certainly."""
    found = [ask(unix_socket) for _ in range(12)]
    return {json.loads(answer)["pid"] for answer in found if answer}


class Visitors(threading.Thread):
    """Somebody who asks for a page again and again while a ``with`` block lasts."""

    def __init__(self, *visits):
        super().__init__(daemon=True)
        self.visits = visits
        self.enough = threading.Event()
        # How many came, and those who were turned away.
        self.count, self.refused = 0, []

    def run(self):
        """Visit in turn, with a new connection each time."""
        while not self.enough.is_set():
            for visit in self.visits:
                self.count += 1
                answer = visit()
                if not answer:
                    self.refused.append((time.monotonic(), visit, answer))
            time.sleep(0.005)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.enough.set()
        self.join(PATIENCE)
