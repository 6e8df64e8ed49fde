"""Hundreds of sockets share a few database connections, and survive the loss of them all.

The same sockets stay open through all tests: that they answer in the next test is part of each.
"""

import itertools
import signal
import time

import pytest

from tests.parts import require
from tests.servers.harness import eventually

from .crowd import THOROUGH, Crowd, Watch
from .databases import ACCOUNTS, HAS_ASYNC_ORM, POSTGRESQL, THREADS

one_thread = pytest.mark.skipif(THREADS == 1, reason="on Python 3.6 all sockets share one thread and its transaction")
thorough = pytest.mark.skipif(not THOROUGH, reason="`make reliability` has the time")

#: How PostgreSQL is told to end: hang up on everybody, or end as in a crash.
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT


def each_account():
    """Return an order for each account."""
    return [{"account": number} for number in range(1, ACCOUNTS + 1)]


class TestConnections:
    def test_synchronous_code_shares_those_of_the_threads(self, crowd, database, ask, connections):
        with Watch(connections) as watch:
            assert ask("count") == [ACCOUNTS] * len(crowd)
            ask("pauses", times=1)
        assert 1 <= watch.most <= database.most

    @pytest.mark.skipif(not HAS_ASYNC_ORM, reason="an older Django has no asynchronous ORM")
    def test_the_asynchronous_orm_shares_them_too(self, crowd, database, ask, connections):
        total = sum(database.balances())
        with Watch(connections) as watch:
            ask("deposit", each=each_account(), amount=1)
            balances = ask("balances")
        assert {sum(found) for found in balances} == {total + len(crowd)}
        assert 1 <= watch.most <= database.most

    def test_so_do_cursors_on_the_server(self, crowd, database, ask, connections):
        with Watch(connections) as watch:
            assert ask("iterate") == [ACCOUNTS] * len(crowd)
        assert 1 <= watch.most <= database.most

    @one_thread
    def test_they_have_three_times_the_throughput_of_one_thread_at_least(self, crowd, database, ask):
        # One socket makes one query at a time, as a single thread would for all of them.
        one = crowd.ask_one("pauses", using=database.name, times=40) / 40
        began = time.perf_counter()
        ask("pauses", times=2)
        each = (time.perf_counter() - began) / len(crowd) / 2
        print("{}: {:.0f} queries a second, {:.0f} by one thread".format(database, 1 / each, 1 / one))
        assert one / each >= 3

    def test_idle_sockets_keep_none(self, crowd, database, ask, connections):
        if database.kept_for > (100 if THOROUGH else 10):
            pytest.skip("nobody waits for {} s".format(database.kept_for))
        ask("count")
        assert eventually(lambda: database.kept(crowd, connections) == 0, database.kept_for + 10)


@one_thread
class TestTransactions:
    def test_none_is_torn_between_threads_or_mixed_with_another(self, crowd, database, ask):
        expected, orders = database.balances(), []
        for number in range(len(crowd)):
            source, target, changes = number % 7 + 1, number % 11 + 10, number % 3 == 0
            orders.append({"source": source, "target": target, "changes": changes})
            if not changes:
                expected[source - 1] -= 1
                expected[target - 1] += 1
        seen = ask("transfer", each=orders)
        assert [moves for moves in seen if moves[0] != moves[1]] == []
        assert database.transactions(seen) == len(crowd)
        assert database.balances() == expected

    def test_what_a_socket_leaves_open_is_rolled_back(self, server, database, ask):
        before = database.balances()
        leaving = Crowd(server.address, ["/orders/"] * database.writers)
        leaving.order("leave_open", each=each_account(), using=database.name)
        leaving.wait()
        leaving.vanish()
        # These would wait for the rows, or see what was done to them.
        ask("transfer", source=1, target=2, changes=True)
        assert database.balances() == before


class TestRestart:
    @pytest.mark.parametrize(
        ("by", "idle"),
        [(FAST, 0), (IMMEDIATE, 1.2), pytest.param(FAST, 1.2, marks=thorough), pytest.param(IMMEDIATE, 0, marks=thorough)],
        ids=["fast", "immediate-idle", "fast-idle", "immediate"],
    )
    def test_the_next_query_of_each_socket_works(self, crowd, postgresql, each_way, by, idle):
        assert crowd.ask("count", each=each_way) == [ACCOUNTS] * len(crowd)
        time.sleep(idle)
        postgresql.restart(by)
        assert crowd.ask("count", each=each_way) == [ACCOUNTS] * len(crowd)

    @pytest.mark.parametrize("by", [IMMEDIATE, pytest.param(FAST, marks=thorough)], ids=["immediate", "fast"])
    def test_calls_in_flight_are_lost_and_no_later_one(self, crowd, postgresql, each_way, by):
        total = sum(POSTGRESQL[0].balances())
        crowd.order("persist", each=each_way, seconds=1.5, transfers=THREADS > 1)
        time.sleep(0.3)
        postgresql.restart(by)
        back = time.time()
        outcomes = [answer["result"] for answer in crowd.answers()]
        failures = list(itertools.chain.from_iterable(failed for _, failed in outcomes))
        assert [(began - back, error) for began, error in failures if began > back] == []
        assert crowd.ask("count", each=each_way) == [ACCOUNTS] * len(crowd)
        assert sum(POSTGRESQL[0].balances()) == total
        print("{} of {} calls were lost".format(len(failures), len(failures) + sum(done for done, _ in outcomes)))


@pytest.fixture
def each_way():
    """Return orders for PostgreSQL in each way to connect to it: the sockets share them, and the threads have them all."""
    ways = [{"using": database.name} for database in POSTGRESQL if database.present()]
    require("a driver", bool(ways), "pip install psycopg[binary,pool]")
    return ways
