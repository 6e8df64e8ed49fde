"""One connection to PostgreSQL in an event loop: statements one after the other, and notifications at any time.

psycopg opens it. What comes then is done with libpq as psycopg wraps it: ``AsyncConnection`` hears notifications only while
``notifies()`` is iterated, and executes nothing meanwhile; and each of its statements costs half as much again.
"""

import asyncio
import collections
import contextlib
import functools
import typing

from ..._compat import get_running_loop

if typing.TYPE_CHECKING:
    from psycopg import AsyncConnection

    #: Statement, parameters, and the future of the rows.
    Statement = typing.Tuple[bytes, typing.Tuple[object, ...], "asyncio.Future[Rows]"]
    Rows = typing.List[typing.Tuple[typing.Optional[str], ...]]

#: How long a statement may take before the connection counts as dead, in seconds.
PATIENCE = 10

#: Parameters of libpq, where nothing else is said: a connection is made or refused soon, and a dead one noticed.
DEFAULTS = {"connect_timeout": 5, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


async def open_session(params: "typing.Mapping[str, typing.Any]") -> "Session":
    """Connect, and return the session; raise ``psycopg.Error`` where that is not possible."""
    return Session(await connection_class().connect(autocommit=True, **dict(DEFAULTS, **params)))


@functools.lru_cache(maxsize=None)
def connection_class() -> "type[AsyncConnection[typing.Any]]":
    """Return the class of the connections. Where psycopg is not installed, this module can be imported all the same."""
    from psycopg import AsyncConnection

    class Connection(AsyncConnection[typing.Any]):
        """A connection that may be forgotten together with an event loop that has ended: there is nobody to close it."""

        def __del__(self, *args: typing.Any) -> None:
            with contextlib.suppress(Exception):
                self.pgconn.finish()

    return Connection


class Session:
    """A connection that one event loop uses."""

    def __init__(self, connection: "AsyncConnection[typing.Any]") -> None:
        import psycopg

        self._psycopg = psycopg
        self._loop = get_running_loop()
        # Closed when it is thrown away, so it is kept for as long as the session.
        self._connection = connection
        self._pgconn = connection.pgconn
        self._socket = self._pgconn.socket
        # Called for each notification with its channel and its text, and when the connection is lost with the reason.
        self.notified: "typing.Callable[[str, str], None]" = lambda channel, text: None
        self.lost: "typing.Callable[[Exception], None]" = lambda reason: None
        # Why there is no connection any more.
        self.reason: "Exception | None" = None
        # Statements that wait for the one under way; its future, what it has returned, and when it was sent.
        self._statements: "collections.deque[Statement]" = collections.deque()
        self._current: "asyncio.Future[Rows] | None" = None
        self._rows: "Rows" = []
        self._error: "Exception | None" = None
        self._sent: float = 0.0
        # When the session was last used, in the loop's time.
        self.used: float = self._loop.time()
        # Looks at times whether the statement under way takes too long.
        self._timer: "asyncio.TimerHandle | None" = None
        self._is_writing = False
        self._loop.add_reader(self._socket, self._readable)

    @property
    def is_busy(self) -> bool:
        """Whether a statement is under way."""
        return self._current is not None

    def execute(self, statement: bytes, *params: object) -> "asyncio.Future[Rows]":
        """Return a future of the rows of a statement, which fails with ``psycopg.Error``."""
        future: "asyncio.Future[Rows]" = self._loop.create_future()
        if self.reason is not None:
            future.set_exception(self.reason)
        else:
            self._statements.append((statement, params, future))
            self._send()
        return future

    def close(self, reason: "Exception | None" = None) -> None:
        """Close the connection; what was asked of it fails."""
        if self.reason is not None:
            return
        self.reason = reason or self._psycopg.OperationalError("the connection is closed")
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        if self._timer is not None:
            self._timer.cancel()
        self._pgconn.finish()
        waiting = [future for _, _, future in self._statements]
        for future in waiting + ([self._current] if self._current is not None else []):
            if not future.done():
                future.set_exception(self.reason)
        self._statements.clear()
        self._current = None

    def _lose(self, reason: Exception) -> None:
        if self.reason is None:
            self.close(reason)
            self.lost(reason)

    # Out

    def _send(self) -> None:
        """Send the next statement, unless one is under way."""
        while self._current is None and self._statements:
            statement, params, future = self._statements.popleft()
            if not future.cancelled():
                self._current = future
                self._watch()
                self._start(statement, params)

    def _start(self, statement: bytes, params: "tuple[object, ...]") -> None:
        try:
            if params:
                values = [None if value is None else str(value).encode() for value in params]
                self._pgconn.send_query_params(statement, values)
            else:
                self._pgconn.send_query(statement)
            self._flush()
        except self._psycopg.Error as exc:
            self._lose(exc)

    def _flush(self) -> None:
        """Write as much as the socket takes; come back for the rest."""
        is_left = bool(self._pgconn.flush())
        if is_left and not self._is_writing:
            self._loop.add_writer(self._socket, self._writable)
        elif not is_left and self._is_writing:
            self._loop.remove_writer(self._socket)
        self._is_writing = is_left

    def _writable(self) -> None:
        try:
            self._flush()
        except self._psycopg.Error as exc:
            self._lose(exc)

    # In

    def _readable(self) -> None:
        try:
            self._pgconn.consume_input()
            if self._is_writing:
                self._flush()
            self._take_results()
            self._take_notifications()
        except self._psycopg.Error as exc:
            self._lose(exc)

    def _take_results(self) -> None:
        while self._current is not None and not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                self._done(self._current)
            elif result.status in (self._psycopg.pq.ExecStatus.TUPLES_OK, self._psycopg.pq.ExecStatus.COMMAND_OK):
                columns = range(result.nfields)
                self._rows += [
                    tuple(decoded(result.get_value(row, column)) for column in columns) for row in range(result.ntuples)
                ]
            else:
                self._error = self._psycopg.errors.error_from_result(result)

    def _done(self, future: "asyncio.Future[Rows]") -> None:
        rows, error = self._rows, self._error
        self._rows, self._error, self._current = [], None, None
        self.used = self._loop.time()
        if not future.done():
            if error is None:
                future.set_result(rows)
            else:
                future.set_exception(error)
        self._send()

    def _take_notifications(self) -> None:
        while self.reason is None:
            notification = self._pgconn.notifies()
            if notification is None:
                return
            self.notified(notification.relname.decode(), notification.extra.decode(errors="replace"))

    # Patience

    def _watch(self) -> None:
        """Note that a statement is sent now. One timer does for many of them."""
        self._sent = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        self._timer = None
        left = self._sent + PATIENCE - self._loop.time()
        if self._current is None:
            return
        if left <= 0:
            self._lose(self._psycopg.OperationalError("no answer within {} s".format(PATIENCE)))
        else:
            self._timer = self._loop.call_later(left, self._look)


def decoded(value: "bytes | None") -> "str | None":
    """Return a value as text."""
    return None if value is None else value.decode()


def in_a_line(reason: BaseException) -> str:
    """Return what libpq says in several lines in one."""
    return " ".join(str(reason).split()) or type(reason).__name__
