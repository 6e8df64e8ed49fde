"""The SQL of the broker, and what its notifications say."""

import functools
import hashlib
import itertools
import json
import typing

from ..message import Position

if typing.TYPE_CHECKING:
    from ..broker import History

#: The most bytes that PostgreSQL takes in a notification.
LIMIT = 7999

#: How long a message that is too long for a notification, of a topic that keeps no history, waits to be fetched, in seconds.
#: Who has not fetched it by then is told that something is missing.
FETCH_WITHIN = 60

#: How long a topic is remembered after the last of what it keeps has expired, in seconds; and how long before the numbers of
#: a topic begin a position of it may be, so that nothing can have been published between, in microseconds: a day less.
REMEMBER = 7 * 24 * 3600
RECENT = 6 * 24 * 3600 * 10 ** 6

#: How often what has expired is deleted, in seconds: by one of all processes that listen.
PRUNE_EVERY = 60

#: How long a coroutine waits for a topic in which another transaction has published that has not ended, in milliseconds.
LOCK_TIMEOUT = 2000

#: Not by ``to_regprocedure``: a session remembers until the end of its transaction what that has not found.
INSTALLED = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = '{schema}' AND p.proname = 'prune' AND p.pronargs = 2
)
"""

#: Made in one transaction, by one process at a time. Unlogged: a crash, a fail-over and a restored backup, all of which may
#: lose messages that somebody has seen, leave these tables empty, and so begin a new epoch; nothing else would tell.
#:
#: A topic that nobody has published in for long has no row, and to ask for its position writes none. Its position is that of
#: the topic '', the base: where the numbers of the next new topic begin. The base is raised, to the microseconds since 1970,
#: whenever rows are deleted. So no number of a topic is ever used twice, and a number says how old it is at least.
INSTALL = """
SELECT pg_advisory_xact_lock(hashtext('{schema}'), 0);

DO $$ BEGIN
    IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {schema}; END IF;
END $$;

CREATE UNLOGGED TABLE IF NOT EXISTS {schema}.topic (
    topic text PRIMARY KEY, epoch text NOT NULL, began bigint NOT NULL, number bigint NOT NULL, expires timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE IF NOT EXISTS {schema}.message (
    topic text, number bigint, payload text NOT NULL, expires timestamptz NOT NULL, PRIMARY KEY (topic, number)
);

CREATE INDEX IF NOT EXISTS message_expires ON {schema}.message (expires) WHERE expires < 'infinity';

CREATE OR REPLACE FUNCTION {schema}.now() RETURNS bigint LANGUAGE sql AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

CREATE OR REPLACE FUNCTION {schema}.begin() RETURNS void LANGUAGE sql AS $$
    INSERT INTO {schema}.topic (topic, epoch, began, number, expires)
        SELECT '', substr(md5(random()::text || clock_timestamp()::text), 1, 12), began, began, 'infinity'
        FROM {schema}.now() AS began
        ON CONFLICT DO NOTHING
$$;

CREATE OR REPLACE FUNCTION {schema}.publish(
    a_topic text, a_channel text, a_kind text, a_payload text, a_size bigint, a_ttl double precision
) RETURNS text LANGUAGE plpgsql
-- A plan that was made while the tables were almost empty is kept while they grow: 40 times slower after 25,000 messages.
SET enable_seqscan = off AS $$
DECLARE
    its_epoch text;
    its_number bigint;
    its_expiry timestamptz := coalesce(clock_timestamp() + make_interval(secs => a_ttl), 'infinity');
    its_position text;
BEGIN
    -- Whoever publishes here next waits until this transaction has ended: nobody sees a number before the one below it.
    UPDATE {schema}.topic AS t SET number = t.number + 1, expires = its_expiry
        WHERE t.topic = a_topic RETURNING t.epoch, t.number INTO its_epoch, its_number;
    IF NOT FOUND THEN
        PERFORM {schema}.begin();
        -- Locked, so that the base is not raised before others can see this row.
        INSERT INTO {schema}.topic AS t (topic, epoch, began, number, expires)
            SELECT a_topic, b.epoch, b.number, b.number + 1, its_expiry
            FROM {schema}.topic AS b WHERE b.topic = '' FOR SHARE
            ON CONFLICT (topic) DO UPDATE SET number = t.number + 1, expires = its_expiry
            RETURNING t.epoch, t.number INTO its_epoch, its_number;
    END IF;
    INSERT INTO {schema}.message AS m (topic, number, payload, expires)
        VALUES (a_topic, its_number, a_payload, its_expiry)
        ON CONFLICT (topic, number) DO UPDATE SET payload = a_payload, expires = its_expiry;
    -- Those that are one too many; now and then all, because there may have been more before somebody changed the settings.
    -- Never from the first one on: an index is full of those that were deleted.
    DELETE FROM {schema}.message AS m WHERE m.topic = a_topic AND m.number <= its_number - a_size
        AND m.number > CASE WHEN its_number % 256 = 0 THEN 0 ELSE its_number - a_size - 2 END;
    its_position := its_epoch || '-' || its_number;
    IF octet_length(a_payload) + octet_length(its_position) + 2 <= 7999 THEN
        PERFORM pg_notify(a_channel, a_kind || its_position || ' ' || a_payload);
    ELSE
        PERFORM pg_notify(a_channel, upper(a_kind) || its_position);
    END IF;
    RETURN its_position;
END $$;

CREATE OR REPLACE FUNCTION {schema}.prune(remember double precision, every double precision)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- One process at a time, and none while somebody makes a row.
    PERFORM FROM {schema}.topic WHERE topic = '' AND number <= {schema}.now() - every * 1000000 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        DELETE FROM {schema}.message WHERE expires <= clock_timestamp() AND expires < 'infinity';
        DELETE FROM {schema}.topic WHERE topic IN (
            SELECT topic FROM {schema}.topic WHERE expires <= clock_timestamp() - make_interval(secs => remember)
            FOR UPDATE SKIP LOCKED
        );
        UPDATE {schema}.topic SET number = greatest(number + 1, {schema}.now()) WHERE topic = '';
    END IF;
END $$;

SELECT {schema}.begin();
"""

#: Of a message that needs no table.
NOTIFY = "SELECT pg_notify(%s, %s)"

PUBLISH = "SELECT {schema}.publish(%s, %s, %s, %s, %s, %s)"

#: In a coroutine the others wait as well.
PUBLISH_SOON = "SELECT set_config('lock_timeout', '{}', true), ".format(LOCK_TIMEOUT) + PUBLISH[len("SELECT "):]

#: Makes the base, where a crash has emptied the tables and nothing was published since.
BEGIN = "SELECT {schema}.begin()"

POSITION = """
SELECT coalesce(t.epoch, b.epoch), coalesce(t.number, b.number)
FROM {schema}.topic AS b LEFT JOIN {schema}.topic AS t ON t.topic = %s WHERE b.topic = ''
"""

#: One statement sees one moment: the last number, and the messages up to it.
MISSED = """
SELECT coalesce(t.epoch, b.epoch), coalesce(t.number, b.number), coalesce(t.began, b.number), m.number, m.payload
FROM {schema}.topic AS b
LEFT JOIN {schema}.topic AS t ON t.topic = %s
LEFT JOIN {schema}.message AS m ON m.topic = t.topic
    AND m.number > %s AND m.number > t.number - %s
    AND m.expires > clock_timestamp()
WHERE b.topic = ''
ORDER BY m.number
"""

STORED = """
SELECT m.payload FROM {schema}.topic AS t JOIN {schema}.message AS m USING (topic)
WHERE t.topic = %s AND t.epoch = %s AND m.number = %s
"""

PRUNE = "SELECT {schema}.prune(%s, %s)"

# Two publications of the same text in one transaction would be one notification: PostgreSQL sends equal ones once.
_count = itertools.count()


def channel_of(schema: str, topic: str) -> str:
    """Return the channel of a topic: identifiers have at most 63 characters, topics more."""
    return "{}_{}".format(schema, hashlib.blake2b(topic.encode(), digest_size=16).hexdigest())


@functools.lru_cache(maxsize=None)
def filled(statement: str, schema: str) -> str:
    """Return a statement with the name of the schema in it."""
    return statement.format(schema=schema)


@functools.lru_cache(maxsize=None)
def numbered(statement: str, schema: str) -> bytes:
    """Return a statement with the name of the schema and, as libpq wants it, with ``$1`` for ``%s``."""
    first, *rest = filled(statement, schema).split("%s")
    return (first + "".join("${}{}".format(*pair) for pair in enumerate(rest, 1))).encode()


# Payloads ------------------------------------------------------------------------------------------------------------


def to_wire(payload: str) -> str:
    """Return a payload without the one character that PostgreSQL has not."""
    return "z" + json.dumps(payload) if "\0" in payload else payload


def from_wire(text: str) -> str:
    """Return the payload again."""
    return json.loads(text[1:]) if text.startswith("z") else text


# Notifications -------------------------------------------------------------------------------------------------------


def kind_of(rule: "History | None") -> str:
    """Return the letter of a message of a topic that keeps a history, and of one that does not."""
    return "n" if rule is None else "p"


def notice(wire: str) -> "str | None":
    """Return the notification of a message of a topic that keeps no history; None where it is too long for one."""
    text = "n{} {}".format(next(_count), wire)
    # Four bytes are the most that a character takes.
    return text if len(text) * 4 <= LIMIT or len(text.encode()) <= LIMIT else None


class Notice(typing.NamedTuple):
    """What a notification says.

    ``position`` is where the message stands among those of its topic, None where nobody counts; ``is_kept`` is whether the
    topic keeps a history, which is when others see the position; ``payload`` is None where it has to be fetched.
    """

    position: "Position | None"
    is_kept: bool
    payload: "str | None"


def read_notice(text: str) -> Notice:
    """Return what a notification says; raise ValueError where it is none of ours.

    ``p`` and a position, or ``n`` and a number where the topic keeps no history, a space, the payload; ``P`` or ``N`` and a
    position where the payload has to be fetched.
    """
    head, space, wire = text.partition(" ")
    position = Position.parse(head[1:])
    kind = head[:1]
    if kind in ("p", "n") and space and wire and (position or kind == "n"):
        return Notice(position, kind == "p", from_wire(wire))
    if kind in ("P", "N") and position and not space:
        return Notice(position, kind == "P", None)
    raise ValueError("expected a notification of a broker, got {!r}".format(text[:100]))
