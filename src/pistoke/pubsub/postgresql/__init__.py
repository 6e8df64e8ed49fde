"""PostgreSQL: the project's own database carries the messages, with nothing new to run.

``LISTEN`` and ``NOTIFY`` carry them. What a topic keeps is in two tables, and so is a message that is too long for a
notification (8,000 bytes). They are made when they are first needed, and not by migrations: who has the application has its
migrations, and those would make tables in the databases of all who use another broker, or none. They are in a schema of
their own, so that neither ``search_path`` nor a tenant's schema decides which ones are meant, and ``DROP SCHEMA pistoke
CASCADE`` is all it takes to be rid of them.

One statement appends, counts and notifies. The row of the topic is locked by it until the transaction ends, so that numbers
are given in the order of the commits, and without gaps.
"""

import asyncio
import logging
import re
import typing
from typing import Any, Mapping

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS

from ..._compat import get_running_loop
from ...exceptions import BrokerUnavailable, PistokeException
from ..broker import Broker, Missed, forget_closed
from ..message import Message, Position
from . import statements as sql
from .blocking import connection_to
from .commands import Commands
from .link import PostgreSQLLink
from .session import in_a_line
from .statements import channel_of, filled, from_wire, kind_of, notice, numbered, to_wire

if typing.TYPE_CHECKING:
    from ..hub import Hub

    Param = typing.Union[str, float, None]
    Row = typing.Sequence[Any]

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: What PostgreSQL says where our schema, a table or a function is not there.
NOT_INSTALLED = ("3F000", "42P01", "42883")

#: More messages than a topic will ever have.
ALL = 2 ** 62


class PostgreSQLBroker(Broker):
    """A broker on PostgreSQL 10 or newer.

    ``LOCATION`` is an alias of ``DATABASES`` (``"default"`` if it is not given) or a connection string of libpq. Of
    ``OPTIONS``, ``schema`` is the name of the schema that the tables are in (``"pistoke"``), which keeps projects apart that
    share a database; ``listen`` is another location for the connection that listens, where ``LOCATION`` is a pooler that
    gives each transaction another connection.
    """

    def __init__(self, alias: str, location: Any, options: Mapping[str, Any], history: Mapping[str, Any]) -> None:
        super().__init__(alias, location, options, history)
        unknown = set(options) - {"schema", "listen"}
        if unknown:
            raise ImproperlyConfigured(
                "expected 'schema' and 'listen' in OPTIONS of the PostgreSQL broker, got {}".format(sorted(unknown))
            )
        self.schema: str = options.get("schema", "pistoke")
        if not re.fullmatch("[a-z_][a-z0-9_]{0,29}", self.schema):
            raise ImproperlyConfigured(
                "expected a schema of 1–30 lower-case letters, digits and underscores, got {!r}".format(self.schema)
            )
        self._database = connection_to(location or DEFAULT_DB_ALIAS)
        #: Where to connect for listening.
        self.listening = connection_to(options["listen"]) if "listen" in options else self._database
        # Whether the tables are there, as far as this process knows.
        self._is_installed = False
        # The connections of the event loops.
        self._commands: "dict[asyncio.AbstractEventLoop, Commands]" = {}

    # Publishing

    def publish(self, topic: str, payload: str) -> "Position | None":
        """Publish over Django's connection of this thread: in a transaction others see it once that is committed."""
        statement, params = self._publishing(topic, payload, sql.PUBLISH)
        rows = self._fetch(statement, *params)
        return Position.parse(rows[0][-1]) if self.history_of(topic) is not None else None

    async def apublish(self, topic: str, payload: str) -> "Position | None":
        """Publish over the connection of the running event loop."""
        statement, params = self._publishing(topic, payload, sql.PUBLISH_SOON)
        rows = await self._afetch(statement, *params)
        return Position.parse(rows[0][-1]) if self.history_of(topic) is not None else None

    def _publishing(self, topic: str, payload: str, appending: str) -> "tuple[str, tuple[Param, ...]]":
        """Return what publishes a message; ``appending`` is how the tables do."""
        rule, wire, channel = self.history_of(topic), to_wire(payload), channel_of(self.schema, topic)
        if rule is not None:
            return appending, (topic, channel, kind_of(rule), wire, rule.size, rule.ttl)
        text = notice(wire)
        if text is not None:
            return sql.NOTIFY, (channel, text)
        return appending, (topic, channel, kind_of(rule), wire, ALL, sql.FETCH_WITHIN)

    # Positions

    def position(self, topic: str) -> "Position | None":
        """Return the position of the last message."""
        if self.history_of(topic) is None:
            return None
        return position_in((self._fetch(sql.POSITION, topic) or self._begin(sql.POSITION, topic))[0])

    async def aposition(self, topic: str) -> "Position | None":
        """Return the position of the last message."""
        if self.history_of(topic) is None:
            return None
        return position_in((await self._afetch_begun(sql.POSITION, topic))[0])

    async def missed(self, topic: str, since: "Position | None") -> Missed:
        """Return what was published since a position."""
        rule = self.history_of(topic)
        if rule is None:
            return Missed([], False, None)
        offset = ALL if since is None else since.offset
        rows = await self._afetch_begun(sql.MISSED, topic, offset, rule.size)
        now, began = position_in(rows[0]), int(rows[0][2])
        if since is None or since.epoch != now.epoch or not began - sql.RECENT <= since.offset <= now.offset:
            return Missed([], False, now)
        messages = [
            Message(topic, from_wire(payload), Position(now.epoch, int(number)))
            for _, _, _, number, payload in rows
            if number is not None
        ]
        return Missed(messages, len(messages) == now.offset - max(since.offset, began), now)

    async def stored(self, topic: str, position: "Position | None") -> "str | None":
        """Return the payload at a position, None where it is kept no longer."""
        assert position is not None
        rows = await self._afetch(sql.STORED, topic, position.epoch, position.offset)
        return from_wire(rows[0][0]) if rows and rows[0][0] is not None else None

    # Connections

    def connect(self, hub: "Hub") -> PostgreSQLLink:
        """Return a connection that listens."""
        require_psycopg()
        return PostgreSQLLink(self, hub)

    def close(self) -> None:
        """Close what synchronous code has opened."""
        self._database.close()

    async def aclose(self) -> None:
        """Close what the coroutines of the running event loop have opened."""
        await super().aclose()
        commands = self._commands.pop(get_running_loop(), None)
        if commands is not None:
            await commands.aclose()

    def unavailable(self, reason: BaseException) -> BrokerUnavailable:
        """Return the exception that says why the engine does not answer."""
        exc = BrokerUnavailable(self.alias, in_a_line(reason))
        exc.__cause__ = reason
        return exc

    def _fetch(self, statement: str, *params: "Param") -> "typing.Sequence[Row]":
        try:
            if "{schema}" in statement and not self._is_installed:
                self.install()
            return self._database.fetch(filled(statement, self.schema), *params)
        except self._database.not_errors:
            raise
        except self._database.errors as exc:
            raise self._failed(exc) from exc

    async def _afetch(self, statement: str, *params: "Param") -> "typing.Sequence[Row]":
        require_psycopg()
        import psycopg

        commands = self._commands_here()
        try:
            if "{schema}" in statement and not self._is_installed:
                await self._ainstall(commands)
            return await commands.fetch(numbered(statement, self.schema), *params)
        except (psycopg.Error, OSError) as exc:
            raise self._failed(exc) from exc

    def _begin(self, statement: str, *params: "Param") -> "typing.Sequence[Row]":
        """Return the rows of a statement in tables that a crash has emptied."""
        self._fetch(sql.BEGIN)
        return self._fetch(statement, *params)

    async def _afetch_begun(self, statement: str, *params: "Param") -> "typing.Sequence[Row]":
        """Return the rows of a statement, although a crash may have emptied the tables."""
        rows = await self._afetch(statement, *params)
        if not rows:
            await self._afetch(sql.BEGIN)
            rows = await self._afetch(statement, *params)
        return rows

    def _failed(self, exc: Exception) -> BrokerUnavailable:
        # psycopg 3 and 2 call it differently, and Django has it in the cause of its own.
        for error in (exc, exc.__cause__):
            if getattr(error, "sqlstate", None) in NOT_INSTALLED or getattr(error, "pgcode", None) in NOT_INSTALLED:
                # Somebody has dropped them: the next call makes them anew.
                self._is_installed = False
        return self.unavailable(exc)

    def _commands_here(self) -> Commands:
        loop = get_running_loop()
        if loop not in self._commands:
            forget_closed(self._commands)
            self._commands[loop] = Commands(loop, self._database.params, self._database.role)
        return self._commands[loop]

    # Tables

    def install(self) -> None:
        """Make the tables and functions where they are not there; synchronous code only.

        That happens by itself when they are needed first. A project whose database role may not make a schema calls it once
        as a role that may.
        """
        if not self._database.fetch(filled(sql.INSTALLED, self.schema))[0][0]:
            self._database.install(filled(sql.INSTALL, self.schema))
        self._is_installed = True

    async def _ainstall(self, commands: Commands) -> None:
        rows = await commands.fetch(numbered(sql.INSTALLED, self.schema))
        if rows[0][0] != "t":
            await commands.fetch(numbered(sql.INSTALL, self.schema))
        self._is_installed = True

    async def prune(self) -> None:
        """Delete what has expired, unless that was done within the last minute."""
        await self._afetch(sql.PRUNE, sql.REMEMBER, sql.PRUNE_EVERY)

    async def prune_quietly(self) -> None:
        """The same for a link, now and then."""
        try:
            if self._is_installed:
                await self.prune()
        except PistokeException as exc:
            logger.warning("what has expired could not be deleted: %s", exc)


def position_in(row: "Row") -> Position:
    """Return the position in the first two columns of a row."""
    return Position(row[0], int(row[1]))


def require_psycopg() -> None:
    """Raise ImproperlyConfigured where psycopg 3 is not installed: event loops cannot do with psycopg 2."""
    try:
        import psycopg  # noqa: F401
    except ImportError as exc:
        raise ImproperlyConfigured(
            "expected psycopg 3 for the PostgreSQL broker, got none: pip install django-pistoke[postgresql]"
        ) from exc
