"""A real server as a subprocess on loopback: its life, what it says and what it answers."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.parts import importable

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = "tests.servers.project.settings"

#: How long anything may take, in seconds: generous, because it is only waited for where something is wrong.
PATIENCE = 30

#: Lines of a server's output that say that something went wrong.
ALARMS = re.compile(
    r"\b(ERROR|CRITICAL)\b|Traceback|panicked|never retrieved|never awaited|"
    r"Unclosed|ResourceWarning|RuntimeWarning|DeprecationWarning"
)

#: A user, and the tables that sessions need.
PREPARATION = """
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
call_command("migrate", verbosity=0)
get_user_model().objects.create_user("aino")
"""


def environment(directory, **more):
    """Return the environment that the project runs in."""
    paths = [str(REPOSITORY)] + [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(paths),
        PYTHONUNBUFFERED="1",
        PYTHONIOENCODING="utf-8",
        PISTOKE_TEST_DIRECTORY=str(directory),
        DJANGO_SETTINGS_MODULE=SETTINGS,
        **more
    )


def prepare(directory):
    """Make the database of the project."""
    subprocess.run([sys.executable, "-c", PREPARATION], env=environment(directory), check=True, timeout=4 * PATIENCE)


def free_port():
    """Return a port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition, patience=PATIENCE):
    """Wait until ``condition()`` is true, and return what it was; the last one, if it never is."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result or time.monotonic() > deadline:
            return result
        time.sleep(0.02)


class Server:
    """A server of the project: ``start`` and ``stop`` it, read its ``output`` and the project's ``journal``."""

    #: What pytest calls it, what the table of docs/servers.md does, and which modules have to be there.
    name = None
    title = None
    modules = ()
    #: What to install, and whether it was ever made for this Python.
    package = None
    exists = True

    #: What marks of tests know some of its releases by.
    releases = {}

    #: How long it has to be left alone before it ends as it should, in seconds.
    housekeeping = 0
    #: Passages of its output that are known, and no fault of ours.
    noise = ()

    #: The paths of a certificate and its key, where it is to speak TLS.
    certificate = None

    def __init__(self, directory, application="asgi"):
        self.directory = Path(str(directory))
        self.application = "tests.servers.project.{}:application".format(application)
        self.port = None
        self.process = None
        # How many characters and records have been looked at, and what the last test expected of them.
        self.checked_output = 0
        self.checked_records = 0
        self.expected = []

    def __repr__(self):
        return self.name

    def seen(self, code):
        """Return what a client sees where the application closes with ``code``."""
        return code

    @classmethod
    def is_one_of(cls, names):
        """Return whether it, or its release here, goes by one of these names."""
        return cls.name in names or any(release.here for name, release in cls.releases.items() if name in names)

    @classmethod
    def present(cls):
        """Return whether all that it needs is installed."""
        return importable(*cls.modules)

    def command(self):
        """Return the arguments of Python that run the server."""
        raise NotImplementedError

    def tls(self, certificate, key):
        """Return the options that let it speak TLS."""
        if self.certificate is None:
            return []
        return [certificate, self.certificate[0], key, self.certificate[1]]

    # Its life

    def start(self):
        """Start it, and wait until it answers."""
        self.port = free_port()
        with open(str(self.directory / "output"), "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable] + self.command(),
                env=environment(self.directory),
                cwd=str(REPOSITORY),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: some have processes of their own, which must not be left behind.
                start_new_session=True,
            )
        if not eventually(lambda: self.process.poll() is not None or self.listens()) or self.process.poll() is not None:
            self.kill()
            raise RuntimeError("{} did not start:\n{}".format(self, self.output))
        return self

    def listens(self):
        """Return whether somebody answers at its port."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def answers(self):
        """Return whether it answers a request; a server that hangs does listen."""
        try:
            return self.get("/both/", patience=5)[:2] == (200, "over HTTP")
        except (OSError, http.client.HTTPException):
            return False

    def stop(self):
        """End it as a process manager does; return how long that took, in seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("{} did not end in {} s:\n{}".format(self, PATIENCE, self.output)) from None
        # Uvicorn ends by the very signal that it was sent, once all is done.
        assert status in (0, -signal.SIGTERM, 128 + signal.SIGTERM), (status, self.output)
        return time.monotonic() - began

    def kill(self):
        """End it and its processes by force, if they have not ended."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait(PATIENCE)

    # What it says

    @property
    def output(self):
        """Everything that it has printed."""
        return (self.directory / "output").read_text(encoding="utf-8", errors="replace")

    def alarms(self):
        """Return the alarming lines printed since the last call."""
        output = self.output
        text, self.checked_output = output[self.checked_output:], len(output)
        for pattern in self.noise:
            text = re.sub(pattern, "", text, flags=re.S)
        return [line for line in text.splitlines() if ALARMS.search(line)]

    def records(self):
        """Return what Django has logged since the last call."""
        records = self.journal(event="log")[self.checked_records:]
        self.checked_records += len(records)
        return records

    def journal(self, **wanted):
        """Return the events of the project that have these details."""
        path = self.directory / "journal"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        events = (json.loads(line) for line in lines)
        return [event for event in events if wanted.items() <= event.items()]

    def event(self, patience=PATIENCE, **wanted):
        """Wait for an event of the project, and return it."""
        found = eventually(lambda: self.journal(**wanted), patience)
        assert found, "no {} in {} s; the journal ends with {}; {} says:\n{}".format(
            wanted, patience, self.journal()[-5:], self, self.output[-3000:]
        )
        return found[0]

    # What it answers

    @property
    def address(self):
        """Its host and port."""
        return "127.0.0.1:{}".format(self.port)

    def get(self, path, patience=PATIENCE, **headers):
        """GET a page; return its status, body and the ``Cookie`` header that its cookies make."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            cookies = [value.partition(";")[0] for name, value in response.getheaders() if name.lower() == "set-cookie"]
            return response.status, response.read().decode(), "; ".join(cookies)
        finally:
            connection.close()
