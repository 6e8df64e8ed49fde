"""What is open on the database connections of a thread, and whether they still work."""

import contextlib
import logging
import select
import threading
import typing
import weakref
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from ._compat import thread_connections

if typing.TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger: logging.Logger = logging.getLogger("pistoke")

#: How long a connection is trusted after it was used, and the shortest time it is kept, in seconds.
IDLE_SECOND = 1

#: What the names of the threads begin with whose connections are looked after.
THREAD_NAME = "pistoke-"


def connected() -> "list[BaseDatabaseWrapper]":
    """Return the database connections of this thread that are open."""
    return [connection for connection in thread_connections() if connection.connection is not None]


def seconds_to_idle(connection: "BaseDatabaseWrapper") -> "float | None":
    """Return how long a connection is kept without being used, None for ever: ``CONN_MAX_AGE``, but a second at least.

    The data of an SQLite database in memory go with its connection, so Django does not close it.
    """
    age = connection.settings_dict["CONN_MAX_AGE"]
    in_memory = connection.vendor == "sqlite" and connection.is_in_memory_db()  # type: ignore[attr-defined]  # SQLite's
    return None if age is None or in_memory else max(age, IDLE_SECOND)


def is_pooled(connection: "BaseDatabaseWrapper") -> bool:
    """Return whether a connection is lent by a pool of Django's own."""
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def has_news(connection: "BaseDatabaseWrapper") -> bool:
    """Return whether a database has sent something that nobody has asked for: that it hangs up, as a rule.

    That costs a microsecond where the driver tells its file descriptor, and no database is asked.
    """
    fileno = getattr(connection.connection, "fileno", None)
    try:
        return fileno is not None and is_readable(fileno())
    except Exception:
        # The driver knows already that the connection is lost.
        return True


if hasattr(select, "poll"):

    def is_readable(descriptor: int) -> bool:
        """Return whether there is something to read."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

else:

    def is_readable(descriptor: int) -> bool:
        """Return whether there is something to read; Windows knows no better way."""
        return bool(select.select([descriptor], [], [], 0)[0])


def has_open_work(connection: "BaseDatabaseWrapper") -> bool:
    """Return whether the next query of a socket must meet the same connection."""
    return (
        connection.in_atomic_block
        or (not connection.autocommit and connection.settings_dict["AUTOCOMMIT"])
        or any(not getattr(cursor, "closed", False) for cursor in getattr(connection, "_pistoke_cursors", ()))
    )


def watch_cursors(connection: "BaseDatabaseWrapper", **kwargs: object) -> None:
    """Remember the server-side cursors of a connection of one of our threads."""
    if not threading.current_thread().name.startswith(THREAD_NAME) or "chunked_cursor" in vars(connection):
        return
    make = connection.chunked_cursor
    cursors: "weakref.WeakSet[Any]" = weakref.WeakSet()
    connection._pistoke_cursors = cursors  # type: ignore[attr-defined]  # ours

    def chunked_cursor(*args: Any, **kwargs: Any) -> Any:
        cursor = make(*args, **kwargs)
        cursors.add(cursor)
        return cursor

    connection.chunked_cursor = chunked_cursor  # type: ignore[method-assign]  # of this connection alone


connection_created.connect(watch_cursors, dispatch_uid="pistoke.threads")


def drop_open_work() -> None:
    """Close the server-side cursors of this thread's connections, and roll back their transactions."""
    for connection in connected():
        close_cursors(connection)
        if has_open_work(connection):
            # A connection closed inside of ``atomic`` remembers that it was: the next call makes a new one.
            del connections[connection.alias]
            try:
                connection.close()
            except Exception:
                logger.exception("a database connection could not be closed")


def close_cursors(connection: "BaseDatabaseWrapper") -> None:
    """Close the server-side cursors of a connection; one that does not let itself be closed is forgotten."""
    cursors: "set[Any]" = getattr(connection, "_pistoke_cursors", set())
    for cursor in list(cursors):
        cursors.discard(cursor)
        with contextlib.suppress(Exception):
            cursor.close()
