"""Real services as subprocesses on free ports of loopback, each with its files in a directory of its own.

``start``, ``stop``, ``restart`` one; its address is in ``port``. The fixtures ``postgresql`` and ``redis`` of
``tests/conftest.py`` run one of each for all tests of a session.
"""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from tests.parts import require

#: How long a service may take to answer or to end, in seconds.
PATIENCE = 60

#: Runs the program in its arguments as the user and group before it. (What ``subprocess`` has for that is newer, or a fork
#: among threads.)
BECOME_USER = """
import os, sys
uid, gid, *words = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
os.execv(words[0], words)
"""


class Service:
    """A program that runs in the foreground and listens on a port."""

    #: What it is called, and how to get it.
    name = None
    how_to_get_it = None

    def __init__(self):
        self.port = free_port()
        self.directory = None
        self.process = None

    @classmethod
    def program(cls, name):
        """Return the path of one of its programs, None where it is not installed."""
        return shutil.which(name)

    @classmethod
    def present(cls):
        """Return whether it is installed."""
        raise NotImplementedError

    def command(self):
        """Return the words that run it."""
        raise NotImplementedError

    def answers(self):
        """Return whether it is ready for its clients."""
        raise NotImplementedError

    def prepare(self):
        """Make what it needs, in ``directory``; called once."""

    # Its life

    def start(self):
        """Start it where it was, and wait until it answers; return it."""
        if self.directory is None:
            # Short, because the path of a Unix socket may have a hundred characters, and not below a directory of
            # pytest's, which only the user who runs the tests may enter.
            self.directory = tempfile.mkdtemp(prefix="pistoke-")
            own(self.directory)
            self.prepare()
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = self._run(subprocess.Popen, self.command(), stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise RuntimeError("{} did not start:\n{}".format(self.name, self.log[-3000:]))
            time.sleep(0.02)
        return self

    def stop(self, by=signal.SIGINT):
        """End it by a signal, and wait until it has ended."""
        if self.process is not None:
            self.process.send_signal(by)
            try:
                self.process.wait(PATIENCE)
            finally:
                self.process.kill()
                self.process.wait()
                self.process = None

    def restart(self, by=signal.SIGINT):
        """End it, and start it again on the same port with the same data."""
        self.stop(by)
        self.start()

    def remove(self):
        """End it and delete its files."""
        self.stop()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def log(self):
        """What it has printed."""
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def _run(self, run, words, **options):
        # A session of its own, so that a Ctrl-C is for the tests to handle.
        words = as_user() + words
        return run(words, cwd=self.directory, stdin=subprocess.DEVNULL, start_new_session=True, **options)


class PostgreSQL(Service):
    """PostgreSQL, as Debian installs it or as it is on the PATH.

    The superuser ``postgres`` needs no password. ``stop(by=signal.SIGINT)`` ends it as a restart does (it hangs up on its
    clients), ``SIGQUIT`` at once, as a crash would, and ``SIGTERM`` waits for the clients.
    """

    name = "PostgreSQL"
    how_to_get_it = "apt-get install postgresql"

    @classmethod
    def program(cls, name):
        """Return the newest version of a program."""
        found = glob.glob("/usr/lib/postgresql/*/bin/" + name)
        return max(found, key=lambda path: float(path.split("/")[4])) if found else shutil.which(name)

    @classmethod
    def present(cls):
        return cls.program("initdb") is not None and cls.program("postgres") is not None

    def prepare(self):
        options = "-D data --username postgres --auth trust --encoding UTF8 --locale=C --no-sync"
        self._run(subprocess.check_call, [self.program("initdb")] + options.split(), stdout=subprocess.DEVNULL)

    def command(self):
        settings = ["fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1"]
        settings += ["unix_socket_directories=" + self.directory, "port={}".format(self.port)]
        return [self.program("postgres"), "-D", "data"] + [word for line in settings for word in ("-c", line)]

    def answers(self):
        words = [self.program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.call(words) == 0

    def settings(self, **more):
        """Return what Django's ``DATABASES`` needs to connect to the database ``postgres``."""
        return dict(
            {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "postgres",
                "HOST": "127.0.0.1",
                "PORT": self.port,
            },
            **more
        )


class Redis(Service):
    """Redis, without persistence: a restart forgets."""

    name = "Redis"
    how_to_get_it = "apt-get install redis-server"

    @classmethod
    def present(cls):
        return cls.program("redis-server") is not None

    def command(self):
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory]
        return [self.program("redis-server")] + words + ["--save", "", "--appendonly", "no"]

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith(b"+PONG")
        except OSError:
            return False

    @property
    def url(self):
        """Its address as libraries want it."""
        return "redis://127.0.0.1:{}".format(self.port)


def running(kind):
    """Yield a running service, for a fixture; skip or fail where it is not installed."""
    require(kind.name, kind.present(), kind.how_to_get_it)
    service = kind()
    try:
        yield service.start()
    finally:
        service.remove()


def free_port():
    """Return a port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def own(path):
    """Give a directory to the user that services run as."""
    if os.geteuid() == 0:
        os.chown(path, *user())


def as_user():
    """Return the words that run a program as nobody in particular: PostgreSQL refuses to run as root."""
    return [sys.executable, "-c", BECOME_USER] + [str(number) for number in user()] if os.geteuid() == 0 else []


def user():
    """Return the user and group that services run as where the tests run as root."""
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return entry.pw_uid, entry.pw_gid
