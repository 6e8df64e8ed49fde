"""The connections that synchronous code publishes over."""

import contextlib
import os
import threading
import time
import typing
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.db.transaction import TransactionManagementError
from django.db.utils import ConnectionDoesNotExist  # type: ignore[attr-defined]  # Django 3.1 has it nowhere else

if typing.TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from psycopg import Connection

    Rows = typing.Sequence[typing.Tuple[Any, ...]]

#: How long a connection is trusted after it was used, in seconds.
TRUSTED = 1

#: What Django passes to psycopg and libpq does not know.
NOT_OF_LIBPQ = ("context", "cursor_factory", "prepare_threshold", "row_factory", "autocommit")


class DjangoConnections:
    """The connections that Django has to a database of ``DATABASES``, one for each thread: no new one, one statement.

    In ``transaction.atomic`` what is published is part of the transaction.
    """

    #: What they raise; a transaction that is broken is not the engine's fault.
    errors: "type[Exception]" = Error
    not_errors: "type[Exception]" = TransactionManagementError

    def __init__(self, alias: str) -> None:
        self.alias = alias
        try:
            vendor = connections[alias].vendor
        except ConnectionDoesNotExist as exc:
            raise ImproperlyConfigured(
                "expected an alias of DATABASES or a connection string as LOCATION of the PostgreSQL broker, "
                "got {!r}".format(alias)
            ) from exc
        if vendor != "postgresql":
            raise ImproperlyConfigured(
                "expected a PostgreSQL database as LOCATION of the PostgreSQL broker, got {!r}, which is {}".format(
                    alias, vendor
                )
            )

    def params(self) -> "dict[str, Any]":
        """Return what psycopg needs to connect as Django does."""
        connection = connections[self.alias]
        params = {name: value for name, value in connection.get_connection_params().items() if name not in NOT_OF_LIBPQ}
        if "database" in params:
            # As psycopg2 calls it.
            params["dbname"] = params.pop("database")
        return params

    @property
    def role(self) -> "str | None":
        """The role that Django takes when it has connected."""
        role: "str | None" = connections[self.alias].settings_dict["OPTIONS"].get("assume_role")
        return role

    def fetch(self, sql: str, *params: "str | float | None") -> "Rows":
        """Return the rows of a statement."""
        connection = connections[self.alias]
        self._check(connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            rows: "Rows" = cursor.fetchall()
        connection._pistoke_used = time.monotonic()  # type: ignore[attr-defined]  # ours
        return rows

    def _check(self, connection: "BaseDatabaseWrapper") -> None:
        """Let go of a connection that does not work any more: in a process without requests nobody else does."""
        used, connection._pistoke_used = getattr(connection, "_pistoke_used", 0), 0  # type: ignore[attr-defined]  # ours
        if connection.connection is None or connection.in_atomic_block or not connection.get_autocommit():
            return
        if time.monotonic() - used > TRUSTED and not connection.is_usable():
            connection.close()

    def install(self, sql: str) -> None:
        """Execute statements on a connection of their own, outside of any transaction that is going on."""
        connection = connections[self.alias].copy()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            connection.close()

    def close(self) -> None:
        """Do nothing: Django closes its connections."""


class OwnConnection:
    """A connection that the threads of a process share, where Django has none: ``LOCATION`` is a connection string."""

    role = None

    def __init__(self, location: str) -> None:
        self._location = location
        # Guards all of the below.
        self._lock = threading.Lock()
        self._connection: "Connection[Any] | None" = None
        # The process that has made it, and when it was used last.
        self._pid: "int | None" = None
        self._used: float = 0.0

    @property
    def errors(self) -> "type[Exception]":
        """What it raises."""
        import psycopg

        return psycopg.Error

    not_errors: "tuple[()]" = ()

    def params(self) -> "dict[str, Any]":
        """Return what psycopg needs to connect."""
        from psycopg.conninfo import conninfo_to_dict

        return dict(conninfo_to_dict(self._location))

    def fetch(self, sql: str, *params: "str | float | None") -> "Rows":
        """Return the rows of a statement."""
        with self._lock:
            connection = self._usable()
            try:
                rows = connection.execute(sql, params).fetchall()
            except self.errors:
                self._used = 0.0
                raise
            self._used = time.monotonic()
            return rows

    def _usable(self) -> "Connection[Any]":
        if self._connection is not None and self._pid != os.getpid():
            # The parent's: it goes on with it.
            self._connection = None
        if self._connection is not None and time.monotonic() - self._used > TRUSTED:
            self._check(self._connection)
        if self._connection is None:
            self._connection, self._pid = self._connect(), os.getpid()
        return self._connection

    def _check(self, connection: "Connection[Any]") -> None:
        try:
            connection.execute("SELECT 1")
        except self.errors:
            connection.close()
            self._connection = None

    def _connect(self) -> "Connection[Any]":
        import psycopg

        from .session import DEFAULTS

        # Prepared statements would not survive a pooler between.
        return psycopg.connect(autocommit=True, prepare_threshold=None, **dict(DEFAULTS, **self.params()))

    def install(self, sql: str) -> None:
        """Execute statements."""
        with self._lock:
            self._usable().execute(sql)

    def close(self) -> None:
        """Close it."""
        with self._lock, contextlib.suppress(Exception):
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None


def connection_to(location: str) -> "DjangoConnections | OwnConnection":
    """Return the connections to a database: an alias of ``DATABASES``, or what libpq takes to connect."""
    return OwnConnection(location) if "=" in location or "://" in location else DjangoConnections(location)
