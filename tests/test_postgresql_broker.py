"""The broker on PostgreSQL, beyond the contract of ``test_brokers.py``: its tables, limits and transactions."""
import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.test import override_settings

from pistoke.pubsub import (
    BrokerUnavailable,
    Position,
    aposition,
    apublish,
    gap_detected,
    position,
    publish,
    publish_failed,
    subscribe,
)
from pistoke.pubsub.broker import brokers, make_broker
from pistoke.pubsub.postgresql import PostgreSQLBroker, commands, link, session
from pistoke.pubsub.postgresql import statements as sql

from .parts import importable, require
from .test_brokers import persist, soon, take

BACKEND = "pistoke.pubsub.postgresql.PostgreSQLBroker"
HISTORY = {"kept.*": {"size": 100, "ttl": 60}, "brief.*": {"size": 10, "ttl": 0}, "ever.*": {"size": 3}}


def configured(**config):
    """Return ``PISTOKE_PUBSUB`` with one broker on PostgreSQL."""
    return {"default": dict({"BACKEND": BACKEND, "HISTORY": HISTORY}, **config)}


@pytest.fixture
def psycopg():
    """Return the library."""
    require("psycopg 3", importable("psycopg"), "pip install psycopg[binary]", exists=sys.version_info >= (3, 8))
    import psycopg

    return psycopg


@pytest.fixture
def ask(psycopg, postgresql):
    """Return a function that returns the rows of a statement."""

    def ask(statement, *params):
        with psycopg.connect(dsn(postgresql), autocommit=True) as connection:
            cursor = connection.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else None

    return ask


def dsn(postgresql):
    """Return the connection string of a service."""
    return "host=127.0.0.1 port={} user=postgres dbname=postgres".format(postgresql.port)


@pytest.fixture
def broker(ask, postgresql):
    """Return the default broker, on tables that are not there yet."""
    ask("DROP SCHEMA IF EXISTS pistoke CASCADE")
    with override_settings(PISTOKE_PUBSUB=configured(LOCATION=dsn(postgresql))):
        yield brokers["default"]
        brokers["default"].close()


@pytest.fixture
def database(broker, postgresql, django_db_blocker):
    """Let Django have the database, as ``pg``; return a function that runs synchronous code in a thread of its own."""
    connections.databases["pg"] = dict(connections.databases["default"], **postgresql.settings())
    executor = ThreadPoolExecutor(1)

    def run(func, *args):
        return asyncio.get_event_loop().run_in_executor(executor, func, *args)

    with django_db_blocker.unblock(), override_settings(PISTOKE_PUBSUB=configured(LOCATION="pg")):
        try:
            yield run
        finally:
            executor.submit(lambda: connections["pg"].close()).result()
            executor.shutdown()
            with contextlib.suppress(AttributeError):
                # Where this thread has looked at it.
                del connections["pg"]
            del connections.databases["pg"]


class listening:
    """Follow topics; close the broker at the end."""

    def __init__(self, *topics, **options):
        self._messages = subscribe(*topics, **options)

    async def __aenter__(self):
        return await self._messages.__aenter__()

    async def __aexit__(self, *exc_info):
        self._messages.leave()
        await brokers["default"].aclose()


class TestSettings:
    @pytest.mark.parametrize(
        "config, complaint",
        [
            ({}, "'default', which is sqlite"),
            ({"LOCATION": "nothing"}, "'nothing'"),
            ({"LOCATION": "host=x", "OPTIONS": {"prefix": "x"}}, "prefix"),
            ({"LOCATION": "host=x", "OPTIONS": {"schema": "a b"}}, "'a b'"),
            ({"LOCATION": "host=x", "OPTIONS": {"listen": "nothing"}}, "'nothing'"),
        ],
    )
    def test_what_is_wrong_is_named(self, config, complaint):
        with override_settings(PISTOKE_PUBSUB=configured(**config)):
            with pytest.raises(ImproperlyConfigured, match=complaint):
                make_broker("default")

    async def test_psycopg_is_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        broker = PostgreSQLBroker("default", "host=x", {}, {})
        with pytest.raises(ImproperlyConfigured, match=r"django-pistoke\[postgresql\]"):
            await broker.apublish("t", "s")
        with pytest.raises(ImproperlyConfigured, match="psycopg 3"):
            broker.hub()._open("t")

    async def test_nobody_there(self, psycopg):
        broker = PostgreSQLBroker("default", "host=127.0.0.1 port=1 dbname=x", {}, {})
        with pytest.raises(BrokerUnavailable, match="refused"):
            await broker.apublish("t", "s")


class TestNotice:
    @pytest.mark.parametrize("kind", "pn")
    @pytest.mark.parametrize("wire", ["s", "stext with spaces", "j{}", "z\"s\\u0000\""])
    def test_of_a_position(self, kind, wire):
        notice = sql.read_notice("{}abc-12 {}".format(kind, wire))
        assert notice == (Position("abc", 12), kind == "p", sql.from_wire(wire))
        assert sql.read_notice("{}abc-12".format(kind.upper())) == (Position("abc", 12), kind == "p", None)

    @pytest.mark.parametrize("text", ["", "p", "n", "x1-1 s", "pabc s", "p1-1", "p1-1 ", "P1-1 s", "Pabc", "N", " "])
    def test_of_somebody_else(self, text):
        with pytest.raises(ValueError, match="expected a notification of a broker"):
            sql.read_notice(text)

    def test_equal_ones_differ(self):
        first, second = sql.notice("sx"), sql.notice("sx")
        assert first != second
        assert sql.read_notice(first)[1:] == sql.read_notice(second)[1:] == (False, "sx")

    @pytest.mark.parametrize("character", ["x", "ä", "€", "😀"])
    def test_as_long_as_can_be(self, character):
        size = len(character.encode())
        fits = "s" + character * ((sql.LIMIT - 20) // size)
        assert len(sql.notice(fits).encode()) <= sql.LIMIT
        assert sql.notice(fits + character * (40 // size)) is None

    @pytest.mark.parametrize("payload", ["s", "s\0", "sa\0b\0", "bAA==", "j{}", "s\\u0000"])
    def test_nul_is_carried(self, payload):
        assert "\0" not in sql.to_wire(payload)
        assert sql.from_wire(sql.to_wire(payload)) == payload

    def test_channel_is_an_identifier(self):
        channels = {sql.channel_of("x" * 30, topic) for topic in ("a", "b", "x" * 200, "x" * 199 + "y")}
        assert len(channels) == 4
        assert all(len(channel) <= 63 and channel.isidentifier() for channel in channels)


class TestLimit:
    @pytest.mark.parametrize("topic", ["t", "kept.t"])
    async def test_both_sides_of_it(self, broker, ask, topic):
        """Around 8,000 bytes, whatever the head of the notification takes, and in any alphabet."""
        texts = ["x" * length for length in range(7950, 8005)] + ["ä" * length for length in range(3975, 4002)]
        async with listening(topic, buffer=1000) as messages:
            for text in texts:
                await apublish(topic, text)
            assert await take(messages, len(texts)) == texts
        assert 0 < ask("SELECT count(*) FROM pistoke.message")[0][0] <= len(texts)

    async def test_long_ones_and_short_ones_keep_their_order(self, broker):
        sent = [str(number) * (1 if number % 3 else 5000) for number in range(30)]
        async with listening("t", "kept.t", buffer=1000) as messages:
            for text in sent:
                await apublish("t", text)
                await apublish("kept.t", text)
            received = [await messages.__anext__() for _ in range(60)]
        for topic in ("t", "kept.t"):
            assert [message.data for message in received if message.topic == topic] == sent

    async def test_megabytes(self, broker):
        async with listening("t", "kept.t") as messages:
            await apublish("t", "x" * 5000000)
            await apublish("kept.t", "y" * 5000000)
            assert [len(text) for text in await take(messages, 2)] == [5000000, 5000000]

    @pytest.mark.parametrize("topic, came", [("t", ["gap", "after"]), ("kept.t", ["x" * 9000, "after"])])
    async def test_one_that_cannot_be_fetched_is_reported(self, broker, monkeypatch, topic, came):
        async def nothing(*args):
            return None

        monkeypatch.setattr(broker, "stored", nothing)
        async with listening(topic, gaps=True) as messages:
            await apublish(topic, "x" * 9000)
            await apublish(topic, "after")
            # What keeps a history finds it there.
            assert await take(messages, 2) == came


class TestTables:
    async def test_are_made_when_they_are_needed(self, broker, ask):
        async with listening("t") as messages:
            await apublish("t", "small")
            assert await take(messages, 1) == ["small"]
        assert ask("SELECT to_regnamespace('pistoke')") == [(None,)]
        await apublish("kept.t", 1)
        await broker.aclose()
        assert ask("SELECT count(*) FROM pistoke.message") == [(1,)]

    def test_are_made_by_synchronous_code(self, broker, ask):
        assert position("kept.t").offset + 1 == publish("kept.t", 1).offset

    def test_are_made_once(self, broker, postgresql):
        failed = []

        def make():
            try:
                one = PostgreSQLBroker("default", dsn(postgresql), {}, {})
                one.install()
                one.close()
            except BaseException as exc:
                failed.append(exc)

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed

    async def test_are_made_anew_after_somebody_has_dropped_them(self, broker, ask):
        await apublish("kept.t", 1)
        ask("DROP SCHEMA pistoke CASCADE")
        with pytest.raises(BrokerUnavailable, match="pistoke"):
            await apublish("kept.t", 2)
        assert await apublish("kept.t", 3) == await aposition("kept.t")
        await broker.aclose()

    def test_rights_are_missing(self, broker, ask, postgresql):
        ask("DROP ROLE IF EXISTS nobody")
        ask("CREATE ROLE nobody LOGIN")
        one = PostgreSQLBroker("default", dsn(postgresql).replace("user=postgres", "user=nobody"), {}, HISTORY)
        with pytest.raises(BrokerUnavailable, match="permission denied"):
            one.publish("kept.t", "s")
        one.close()

    async def test_schemas_keep_projects_apart(self, broker, ask, postgresql):
        ask("DROP SCHEMA IF EXISTS another CASCADE")
        another = PostgreSQLBroker("another", dsn(postgresql), {"schema": "another"}, HISTORY)
        async with listening("t", "kept.t") as messages:
            await another.apublish("t", "sno")
            await another.apublish("kept.t", "sno")
            await another.aclose()
            await apublish("kept.t", "yes")
            assert await take(messages, 1) == ["yes"]

    async def test_listening_elsewhere(self, ask, postgresql):
        # A pooler that gives each transaction another connection cannot be listened to.
        elsewhere = {"listen": dsn(postgresql) + " application_name=listens"}
        with override_settings(PISTOKE_PUBSUB=configured(LOCATION=dsn(postgresql), OPTIONS=elsewhere)):
            async with listening("t") as messages:
                await apublish("t", 1)
                assert await take(messages, 1) == [1]
                assert ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'listens'") == [(1,)]


class TestTransactions:
    async def test_others_see_it_after_the_commit(self, database, ask):
        committed = threading.Event()

        def work():
            with transaction.atomic(using="pg"):
                first = publish("kept.t", "first", on_commit=False, database="pg")
                publish("t", "same", on_commit=False, database="pg")
                publish("t", "same", on_commit=False, database="pg")
                time.sleep(0.2)
                committed.set()
            return first

        async with listening("kept.t", "t") as messages:
            working = database(work)
            assert await take(messages, 3) == ["first", "same", "same"]
            assert committed.is_set()
            assert await working == await aposition("kept.t")

    async def test_what_is_rolled_back_has_no_number(self, database):
        def work():
            before = publish("kept.t", "before")
            with pytest.raises(ZeroDivisionError), transaction.atomic(using="pg"):
                publish("kept.t", "never", on_commit=False, database="pg")
                raise ZeroDivisionError
            return before.offset, publish("kept.t", "after").offset

        async with listening("kept.t") as messages:
            before, after = await database(work)
            assert after == before + 1
            assert await take(messages, 2) == ["before", "after"]

    async def test_the_commit_is_waited_for_without_asking(self, database):
        def work():
            with transaction.atomic(using="pg"):
                assert publish("kept.t", 1, database="pg") is None
                return position("kept.t").offset

        async with listening("kept.t") as messages:
            offset = await database(work)
            assert await take(messages, 1) == [1]
            assert (await aposition("kept.t")).offset == offset + 1

    async def test_django_s_connection_is_used(self, database, ask):
        def work():
            for number in range(20):
                publish("kept.t", number)
                publish("t", number)
            with connections["pg"].cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
                return cursor.fetchone()[0]

        before = ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")[0][0]
        # The one that asked may be still there.
        assert before <= await database(work) <= before + 1

    async def test_one_statement(self, database):
        from django.test.utils import CaptureQueriesContext

        def work():
            publish("kept.t", 0)
            with CaptureQueriesContext(connections["pg"]) as queries:
                publish("kept.t", 1)
                publish("t", 1)
                publish("t", "x" * 9000)
            return len(queries)

        assert await database(work) == 3

    async def test_tables_are_made_outside_of_the_transaction(self, database, ask):
        def work():
            with pytest.raises(ZeroDivisionError), transaction.atomic(using="pg"):
                publish("kept.t", 1, on_commit=False, database="pg")
                raise ZeroDivisionError

        await database(work)
        assert ask("SELECT count(*) FROM pistoke.message") == [(0,)]

    async def test_a_topic_that_a_transaction_holds_stops_nobody_for_long(self, database, monkeypatch):
        monkeypatch.setattr(sql, "PUBLISH_SOON", sql.PUBLISH_SOON.replace("'2000'", "'100'"))
        holding, release = threading.Event(), threading.Event()

        def hold():
            publish("kept.held", 0)
            with transaction.atomic(using="pg"):
                publish("kept.held", 1, on_commit=False, database="pg")
                holding.set()
                release.wait(10)

        async with listening("kept.held", "kept.free") as messages:
            working = database(hold)
            await soon(holding.is_set)
            with pytest.raises(BrokerUnavailable, match="lock timeout"):
                await apublish("kept.held", "too early")
            assert (await aposition("kept.held")) is not None
            await apublish("kept.free", 2)
            assert await take(messages, 2) == [0, 2]
            release.set()
            await working
            assert await take(messages, 1) == [1]

    async def test_broken_transaction_is_django_s_to_report(self, database):
        def work():
            with contextlib.suppress(ZeroDivisionError), transaction.atomic(using="pg"):
                with contextlib.suppress(ZeroDivisionError), transaction.atomic(using="pg", savepoint=False):
                    raise ZeroDivisionError
                with pytest.raises(transaction.TransactionManagementError):
                    publish("t", 1, on_commit=False, database="pg")
                raise ZeroDivisionError

        await database(work)

    @pytest.mark.skipif(django.VERSION < (4, 2), reason="Django has no assume_role before 4.2")
    async def test_role_that_django_takes(self, database, ask):
        """What coroutines do is done by the role that synchronous code has."""
        if not ask("SELECT to_regrole('taken')")[0][0]:
            ask("CREATE ROLE taken")
            ask("GRANT CREATE ON DATABASE postgres TO taken")
        connections.databases["pg"]["OPTIONS"] = {"assume_role": "taken"}
        await apublish("kept.t", 1)
        await brokers["default"].aclose()
        assert ask("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'pistoke'") == [("taken",)]

    async def test_engine_that_is_gone_after_the_commit(self, database, postgresql):
        failed = []

        def note(sender, exception, **kwargs):
            failed.append(exception)

        def work():
            publish("kept.t", 1)
            with transaction.atomic(using="pg"):
                publish("kept.t", 2, database="pg")
                transaction.on_commit(postgresql.stop, using="pg")
                # Runs what waits for the commit in the order it was said: the other way round.
                hooks = connections["pg"].run_on_commit
                hooks.reverse()

        publish_failed.connect(note)
        try:
            await database(work)
        finally:
            publish_failed.disconnect(note)
            postgresql.start()
        assert len(failed) == 1 and isinstance(failed[0], BrokerUnavailable)
        # Its connection is gone; nobody but the broker would notice.
        assert await database(publish, "kept.t", 3) is not None


class TestNumbers:
    async def test_many_publish_at_once(self, database, broker):
        """Numbers have no gaps, and messages arrive in their order."""
        start, ends = await aposition("kept.many"), []

        def numbers():
            for number in range(25):
                if number % 5:
                    publish("kept.many", number)
                else:
                    with contextlib.suppress(ZeroDivisionError), transaction.atomic(using="pg"):
                        publish("kept.many", number, on_commit=False, database="pg")
                        ends.append(1 / (number % 2))
            connections["pg"].close()

        threads = [threading.Thread(target=numbers) for _ in range(6)]
        async with listening("kept.many", buffer=1000) as messages:
            for thread in threads:
                thread.start()
            for number in range(50):
                await apublish("kept.many", number)
            await soon(lambda: not any(thread.is_alive() for thread in threads))
            total = 50 + 6 * 20 + len(ends)
            places = [(await messages.__anext__()).position for _ in range(total)]
            assert await aposition("kept.many") == places[-1]
        assert places == [Position(start.epoch, start.offset + number) for number in range(1, total + 1)]

    async def test_a_look_writes_nothing(self, broker, ask):
        await apublish("kept.t", 1)
        before = ask("SELECT count(*) FROM pistoke.topic")
        await aposition("kept.never")
        assert (await broker.missed("kept.never", None)).position == await aposition("kept.never")
        assert ask("SELECT count(*) FROM pistoke.topic") == before
        await broker.aclose()

    async def test_position_of_a_topic_that_is_new(self, broker):
        since = await aposition("kept.new")
        await broker._afetch(sql.PRUNE, sql.REMEMBER, 0)
        assert await aposition("kept.new") != since
        assert (await broker.missed("kept.new", since)).recovered
        for number in range(3):
            await apublish("kept.new", number)
        async with listening("kept.new", since=since) as messages:
            assert messages.recovered
            assert await take(messages, 3) == [0, 1, 2]

    async def test_topic_that_was_forgotten(self, broker, ask):
        """Its old positions are no good any more, and no number comes twice."""
        old = await apublish("kept.gone", 1)
        # A week has passed.
        ask("UPDATE pistoke.topic SET expires = now() - interval '1 day' WHERE topic = 'kept.gone'")
        ask("UPDATE pistoke.topic SET began = began - 10^12, number = number - 10^12 WHERE topic = 'kept.gone'")
        old = Position(old.epoch, old.offset - 10 ** 12)
        assert await aposition("kept.gone") == old
        await broker._afetch(sql.PRUNE, 3600, 0)
        assert ask("SELECT topic FROM pistoke.topic") == [("",)]
        missed = await broker.missed("kept.gone", old)
        assert (missed.messages, missed.recovered) == ([], False)
        new = await apublish("kept.gone", 2)
        assert new.offset > old.offset + 10 ** 11
        assert not (await broker.missed("kept.gone", old)).recovered
        await broker.aclose()

    async def test_base_is_not_raised_while_somebody_makes_a_topic(self, database, broker, ask):
        """Else a look would see a number that the new topic has yet to use."""
        made, release = threading.Event(), threading.Event()

        def hold():
            with transaction.atomic(using="pg"):
                publish("kept.slow", 1, on_commit=False, database="pg")
                made.set()
                release.wait(10)

        await apublish("kept.t", 1)
        working = database(hold)
        await soon(made.is_set)
        before = await aposition("kept.slow")
        await broker._afetch(sql.PRUNE, sql.REMEMBER, 0)
        assert await aposition("kept.slow") == before
        release.set()
        await working
        assert (await aposition("kept.slow")).offset == before.offset + 1
        await brokers["default"].aclose()
        await broker.aclose()


class TestPruning:
    async def test_as_many_as_there_should_be(self, broker, ask):
        for number in range(20):
            await apublish("ever.t", number)
        assert ask("SELECT payload FROM pistoke.message ORDER BY number") == [("j17",), ("j18",), ("j19",)]
        await broker.aclose()

    async def test_settings_that_keep_less_than_before(self, broker, ask):
        for number in range(250):
            await apublish("kept.t", number)
        channel = sql.channel_of("pistoke", "kept.t")
        for _ in range(260):
            await broker._afetch(sql.PUBLISH, "kept.t", channel, "p", "s", 3, 60)
        assert ask("SELECT count(*) FROM pistoke.message") == [(3,)]
        await broker.aclose()

    async def test_what_has_expired_goes(self, broker, ask):
        for topic in ("brief.t", "ever.t", "kept.t"):
            await apublish(topic, 1)
        await apublish("t", "x" * 9000)
        ask("UPDATE pistoke.message SET expires = expires - interval '60 s'")
        await broker.prune()
        # Not twice within a minute.
        assert ask("SELECT count(*) FROM pistoke.message") == [(4,)]
        await broker._afetch(sql.PRUNE, sql.REMEMBER, 0)
        assert ask("SELECT topic FROM pistoke.message") == [("ever.t",)]
        assert ask("SELECT count(*) FROM pistoke.topic") == [(5,)]
        await broker.aclose()

    async def test_a_link_prunes_now_and_then(self, broker, monkeypatch):
        pruned = []

        async def prune():
            pruned.append(1)
            raise BrokerUnavailable("default", "no reason")

        monkeypatch.setattr(link, "HEARTBEAT", 0.01)
        monkeypatch.setattr(broker, "prune", prune)
        async with listening("kept.t"):
            await soon(lambda: len(pruned) > 2)


class TestConnections:
    async def test_none_is_left(self, broker, ask, monkeypatch):
        def others():
            mine = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
            return ask("SELECT count(*) FROM pg_stat_activity WHERE " + mine)[0][0]

        monkeypatch.setattr(commands, "IDLE", 0.2)
        monkeypatch.setattr("pistoke.pubsub.hub.LINGER", 0.2)
        await soon(lambda: others() == 0)
        async with subscribe(*["t{}".format(number) for number in range(1200)]) as messages:
            await apublish("t7", 1)
            await apublish("t1100", 2)
            assert await take(messages, 2) == [1, 2]
            assert others() == 2
        # Without closing anything.
        await soon(lambda: others() == 0)

    async def test_crash_begins_a_new_epoch(self, broker, postgresql):
        """A crash may lose messages that were seen: nobody is told that nothing is missing."""
        seen = []

        def note(sender, topic, **kwargs):
            seen.append(topic)

        gap_detected.connect(note)
        async with listening("kept.t", gaps=True) as messages:
            before = await apublish("kept.t", 1)
            assert await take(messages, 1) == [1]
            postgresql.restart(signal.SIGQUIT)
            assert await take(messages, 1) == ["gap"]
            assert (await persist(lambda: aposition("kept.t"))).epoch != before.epoch
            after = await apublish("kept.t", 2)
            assert await take(messages, 1) == [2]
            assert after.epoch != before.epoch
            assert not (await broker.missed("kept.t", before)).recovered
        gap_detected.disconnect(note)
        assert seen == ["kept.t"]

    async def test_receiver_that_fails_stops_nothing(self, broker, postgresql, caplog):
        def fail(sender, **kwargs):
            raise ZeroDivisionError

        async with listening("t", "u") as messages:
            gap_detected.connect(fail)
            await asyncio.get_event_loop().run_in_executor(None, postgresql.restart)
            await soon(lambda: "Error calling" in caplog.text)
            gap_detected.disconnect(fail)
            await apublish("t", 1)
            assert await take(messages, 1) == [1]

    def test_look_after_a_crash(self, broker, postgresql):
        before = publish("kept.t", 1)
        postgresql.restart(signal.SIGQUIT)
        broker._database._used = 0
        after = position("kept.t")
        assert after.epoch != before.epoch
        assert publish("kept.t", 2) == Position(after.epoch, after.offset + 1)

    async def test_connection_that_says_nothing_any_more(self, broker, ask, monkeypatch, caplog):
        async with listening("t", gaps=True) as messages:
            monkeypatch.setattr(link, "HEARTBEAT", 0.05)
            monkeypatch.setattr(session, "PATIENCE", 0.3)
            # The next heartbeat is that of the next connection.
            broker.hub()._link._session._lose(ConnectionError("for the test"))
            assert await take(messages, 1) == ["gap"]
            pid = ask("SELECT pid FROM pg_stat_activity WHERE query = 'SELECT 1' OR query LIKE 'LISTEN%'")[0][0]
            os.kill(pid, signal.SIGSTOP)
            try:
                assert await take(messages, 1) == ["gap"]
            finally:
                os.kill(pid, signal.SIGCONT)
            await apublish("t", 1)
            assert await take(messages, 1) == [1]
        assert "no answer within" in caplog.text

    async def test_what_others_say_is_not_ours(self, broker, ask, caplog):
        async with listening("t") as messages:
            ask("SELECT pg_notify(%s, 'hello')", sql.channel_of("pistoke", "t"))
            await apublish("t", 1)
            assert await take(messages, 1) == [1]
        assert "'hello'" in caplog.text

    async def test_publisher_that_goes_away_leaves_the_connection_in_order(self, broker):
        publishing = [asyncio.ensure_future(apublish("kept.t", number)) for number in range(20)]
        await asyncio.sleep(0)
        for one in publishing[::2]:
            one.cancel()
        done = await asyncio.gather(*publishing, return_exceptions=True)
        assert all(isinstance(one, Position) for one in done[1::2])
        await apublish("kept.t", "last")
        await broker.aclose()

    def test_uvloop(self, broker):
        uvloop = pytest.importorskip("uvloop")

        async def once():
            async with listening("t", "kept.t") as messages:
                await apublish("t", "x" * 2000000)
                await apublish("kept.t", 2)
                return [len(str(data)) for data in await take(messages, 2)]

        loop = uvloop.new_event_loop()
        assert loop.run_until_complete(once()) == [2000000, 1]
        loop.close()

    def test_loops_that_end_without_closing(self, broker, ask):
        async def once():
            async with subscribe("t") as messages:
                await apublish("t", 1)
                return await take(messages, 1)

        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(once()) == [1]
            loop.close()
        assert len(broker._commands) == 1
