"""The databases of the tests, in each way that Django can be told to connect to them."""

import contextlib
import importlib
import json
import os
import sqlite3
import sys

import django

from tests.parts import importable, require
from tests.services import PostgreSQL as Service

#: Django knows psycopg 3 from 4.2 on.
DRIVER = "psycopg" if django.VERSION >= (4, 2) else "psycopg2"

HAS_ASYNC_ORM = django.VERSION >= (4, 2)

#: The default of PISTOKE_DATABASE_THREADS; on Python 3.6 there is one thread.
THREADS = 8 if sys.version_info >= (3, 7) else 1

ACCOUNTS = 100


class Database:
    """A database, and one way to connect to it; what is in ``options`` goes to Django's settings of it."""

    #: How many connections there may be.
    most = THREADS
    exists = True
    #: How many sockets are to leave transactions open.
    writers = 20

    def __init__(self, name, **options):
        self.name = name
        self.options = options

    def __repr__(self):
        return self.name

    @classmethod
    def present(cls):
        """Return whether the tests can have it here."""
        return cls.exists

    def open(self, directory, service):
        """Make the accounts; ``directory`` is for files, ``service`` the PostgreSQL of the tests, if there is one."""
        self.directory, self.service = directory, service
        self.run("DROP TABLE IF EXISTS account")
        self.run("CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL)")
        values = ", ".join("({}, 0)".format(number + 1) for number in range(ACCOUNTS))
        self.run("INSERT INTO account VALUES " + values)

    def require(self):
        """Skip the test, or let it fail, where it cannot be had."""
        require("the pool of Django 5.1", True, "", exists=self.exists)

    def settings(self):
        """Return what Django is told about it."""
        raise NotImplementedError

    def connect(self):
        """Return a connection of the test's own."""
        raise NotImplementedError

    def run(self, statement):
        """Run a statement; return the rows that it has."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows

    @property
    def kept_for(self):
        """How long a connection is kept that is not used, in seconds."""
        age = self.options.get("CONN_MAX_AGE", 0)
        return float("inf") if age is None else max(1, age)

    def kept(self, crowd, connections):
        """Return how many connections are kept although nobody uses them."""
        return connections()

    def transactions(self, seen):
        """Return how many transactions were seen, of a number of pairs of connections and transactions."""
        return len({transaction for moves in seen for connection, transaction in moves})

    def balances(self):
        """Return what is in the accounts."""
        return [balance for balance, in self.run("SELECT balance FROM account ORDER BY id")]


class PostgreSQL(Database):
    """The PostgreSQL of the test session."""

    @classmethod
    def present(cls):
        return cls.exists and Service.present() and importable(DRIVER)

    def require(self):
        super().require()
        require(Service.name, Service.present(), Service.how_to_get_it)
        require("a driver", importable(DRIVER), "pip install {}[binary,pool]".format(DRIVER))

    def settings(self):
        options = dict({"application_name": self.name}, **self.options.get("OPTIONS", {}))
        return self.service.settings(**dict(self.options, OPTIONS=options))

    def connect(self):
        driver = importlib.import_module(DRIVER)
        return driver.connect(host="127.0.0.1", port=self.service.port, user="postgres", dbname="postgres")

    @contextlib.contextmanager
    def counter(self, server):
        """Yield a function that counts the connections of the project."""
        with contextlib.closing(self.connect()) as connection:
            # What a transaction sees of other connections does not change.
            connection.autocommit = True
            yield lambda: self._count(connection.cursor())

    def _count(self, cursor):
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [self.name])
        return cursor.fetchone()[0]


class Pooled(PostgreSQL):
    """The same with the pool of Django, which has four connections unless it is told otherwise."""

    most = 4
    exists = django.VERSION >= (5, 1)

    def kept(self, crowd, connections):
        # The pool itself keeps those that it has.
        size, available = crowd.ask_one("pool", using=self.name)
        return size - available


class SQLite(Database):
    """SQLite in a file."""

    # One writes at a time, and the others look now and then whether they may.
    writers = 3

    def settings(self):
        return dict({"ENGINE": "django.db.backends.sqlite3", "NAME": self.path, "OPTIONS": {"timeout": 60}}, **self.options)

    @property
    def path(self):
        """Where it is."""
        return os.path.join(self.directory, "accounts.sqlite3")

    def connect(self):
        return sqlite3.connect(self.path, timeout=60)

    def transactions(self, seen):
        # They have no names.
        return len(seen)

    @contextlib.contextmanager
    def counter(self, server):
        """Yield a function that counts how many times the project has the file open."""
        yield lambda: self._count("/proc/{}/fd".format(server.process.pid))

    def _count(self, descriptors):
        found = 0
        for name in os.listdir(descriptors):
            with contextlib.suppress(FileNotFoundError):
                found += os.readlink(os.path.join(descriptors, name)) == self.path
        return found


def write_settings(directory, databases):
    """Tell the project about its databases, by their aliases."""
    with open(os.path.join(str(directory), "databases.json"), "w") as file:
        json.dump(databases, file)


POSTGRESQL = [
    PostgreSQL("postgresql-0", CONN_MAX_AGE=0),
    PostgreSQL("postgresql-60", CONN_MAX_AGE=60),
    PostgreSQL("postgresql-none", CONN_MAX_AGE=None),
    Pooled("postgresql-pool", OPTIONS={"pool": True}),
]
DATABASES = POSTGRESQL + [SQLite("sqlite", CONN_MAX_AGE=0)]
