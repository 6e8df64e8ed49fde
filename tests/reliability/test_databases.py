"""Hundreds of sockets share a few database connections, and survive the loss of them all.

The same sockets stay open through all tests of a database: that they answer in the next test is part of each.
"""

import itertools
import signal
import time

import pytest

from tests.servers.harness import eventually

from .crowd import SIZE, Crowd, Watch
from .databases import ACCOUNTS, HAS_ASYNC_ORM, THREADS

one_thread = pytest.mark.skipif(THREADS == 1, reason="on Python 3.6 all sockets share one thread and its transaction")
#: How long the ordinary run waits for connections to be closed, in seconds.
PATIENCE = 10


def each_account():
    """Return an order for each account."""
    return [{"account": number} for number in range(1, ACCOUNTS + 1)]


class TestConnections:
    def test_synchronous_code_shares_those_of_the_threads(self, crowd, database, connections):
        with Watch(connections) as watch:
            assert crowd.ask("count") == [ACCOUNTS] * len(crowd)
            crowd.ask("pauses", times=2)
        assert 1 <= watch.most <= database.most

    @pytest.mark.skipif(not HAS_ASYNC_ORM, reason="an older Django has no asynchronous ORM")
    def test_the_asynchronous_orm_shares_them_too(self, crowd, database, connections):
        before = database.balances()
        with Watch(connections) as watch:
            crowd.ask("deposit", each=each_account(), amount=0)
            assert crowd.ask("balances") == [before] * len(crowd)
        assert 1 <= watch.most <= database.most

    def test_so_do_cursors_on_the_server(self, crowd, database, connections):
        with Watch(connections) as watch:
            assert crowd.ask("iterate") == [ACCOUNTS] * len(crowd)
        assert 1 <= watch.most <= database.most

    def test_an_idle_socket_keeps_none(self, crowd, database, connections):
        if database.kept_for > PATIENCE and SIZE < 500:
            pytest.skip("`make reliability` waits for {} s".format(database.kept_for))
        crowd.ask("count")
        assert eventually(lambda: database.kept(connections, crowd) == 0, database.kept_for + PATIENCE)
        assert crowd.ask("count") == [ACCOUNTS] * len(crowd)

    @one_thread
    def test_they_have_three_times_the_throughput_of_one_thread_at_least(self, crowd, database):
        # One socket makes one query at a time, as a single thread would for all of them.
        one = crowd.ask_one("pauses", times=40)
        began = time.perf_counter()
        crowd.ask("pauses", times=4)
        all_of_them = (time.perf_counter() - began) / len(crowd) / 4
        ratio = one / 40 / all_of_them
        print("{}: {:.0f} queries a second, {:.0f} by one thread: {:.1f} times".format(
            database, 1 / all_of_them, 40 / one, ratio
        ))
        assert ratio >= 3


@one_thread
class TestTransactions:
    def test_none_is_torn_between_threads_or_mixed_with_another(self, crowd, database):
        expected, orders = database.balances(), []
        for number in range(len(crowd)):
            source, target, changes = number % 7 + 1, number % 11 + 10, number % 3 == 0
            orders.append({"source": source, "target": target, "changes": changes})
            if not changes:
                expected[source - 1] -= 1
                expected[target - 1] += 1
        seen = crowd.ask("transfer", each=orders)
        assert [moves for moves in seen if moves[0] != moves[1]] == []
        assert database.transactions(seen) == len(crowd)
        assert database.balances() == expected

    def test_what_a_socket_leaves_open_is_rolled_back(self, server, crowd, database):
        before = database.balances()
        leaving = Crowd(server.address, ["/orders/"] * database.writers)
        leaving.order("leave_open", each=each_account())
        leaving.wait()
        leaving.vanish()
        # These would wait for the rows, or see what was done to them.
        crowd.ask("transfer", each=[{"source": 1, "target": 2, "changes": True}])
        assert database.balances() == before


class TestRestart:
    @pytest.mark.parametrize("idle", [0, 1.2], ids=["used-just-now", "idle"])
    @pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
    def test_the_next_query_of_each_socket_works(self, crowd, database, by, idle):
        crowd.ask("count")
        time.sleep(idle)
        restart(database, by)
        assert crowd.ask("count") == [ACCOUNTS] * len(crowd)

    @pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
    def test_calls_in_flight_are_lost_and_no_later_one(self, crowd, database, by):
        crowd.order("persist", seconds=1.5)
        time.sleep(0.3)
        restart(database, by)
        back = time.time()
        outcomes = [answer["result"] for answer in crowd.answers()]
        assert all(done for done, _ in outcomes)
        failures = list(itertools.chain.from_iterable(failed for _, failed in outcomes))
        assert [(began - back, error) for began, error in failures if began > back] == []
        assert crowd.ask("count") == [ACCOUNTS] * len(crowd)
        assert sum(database.balances()) == 0


def restart(database, by):
    """Restart the server of a database."""
    if not hasattr(database, "service"):
        pytest.skip("SQLite has no server")
    database.service.restart(by)
