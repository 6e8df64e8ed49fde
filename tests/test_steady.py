"""A link whose engine is away: how often it tries, and what it tells those who come meanwhile."""
import asyncio

import pytest

from pistoke.exceptions import BrokerUnavailable
from pistoke.pubsub import steady

from .test_brokers import soon


class Broker:
    alias = "default"


class Hub:
    """Nobody follows anything."""

    def __init__(self):
        self.loop = asyncio.get_event_loop()
        self.restorations = 0

    async def restored(self):
        self.restorations += 1


class Link(steady.SteadyLink):
    """A link to an engine that is there or not."""

    def __init__(self, there=False):
        self.there = there
        self.attempts = 0
        super().__init__(Broker(), Hub())

    async def _connect(self, again):
        self.attempts += 1
        if not self.there:
            raise BrokerUnavailable("default", "nobody there")

    def _ask(self, topic):
        future = self._loop.create_future()
        future.set_result(None)
        return future

    def _hang_up(self):
        pass

    async def closed(self):
        self.close()
        await asyncio.wait([self._task])


@pytest.fixture
def pauses(monkeypatch):
    """Return the ranges that pauses are drawn from; none is waited for."""
    drawn = []

    def uniform(shortest, longest):
        drawn.append((shortest, longest))
        return 0

    monkeypatch.setattr(steady.random, "uniform", uniform)
    return drawn


async def test_pauses_become_longer_and_are_drawn_at_random(pauses):
    link = Link()
    await soon(lambda: len(pauses) >= 10)
    await link.closed()
    assert pauses[:3] == [(0.05, 0.1), (0.1, 0.2), (0.2, 0.4)]
    assert pauses[6:9] == [(2.5, 5)] * 3


async def test_first_pause_after_a_loss_is_short(pauses):
    link = Link(there=True)
    await soon(lambda: link._up)
    link._lose(OSError("gone"))
    await soon(lambda: link.attempts == 2 and link._up)
    await link.closed()
    assert pauses == [(0.025, 0.05)]


async def test_who_comes_meanwhile_is_told_at_once():
    link = Link()
    await soon(lambda: link.attempts)
    with pytest.raises(BrokerUnavailable, match="nobody there"):
        await link.subscribe("t")
    await link.closed()


async def test_who_comes_later_has_it_tried_at_once(monkeypatch):
    monkeypatch.setattr(steady, "TOLD_AT_ONCE", 0)
    monkeypatch.setattr(steady, "FIRST_PAUSE", 100)
    link = Link()
    await soon(lambda: link.attempts)
    link.there = True
    await asyncio.wait_for(link.subscribe("t"), 5)
    await link.closed()


async def test_what_was_missed_is_restored_after_each_loss(pauses):
    link = Link(there=True)
    for number in range(1, 4):
        await soon(lambda: link._up)
        link._lose(OSError("gone"))
        await soon(lambda number=number: link._hub.restorations == number)
    await link.closed()


async def test_restoration_that_fails_is_tried_again(pauses, caplog):
    link = Link(there=True)
    await soon(lambda: link._up)

    async def fail():
        link._hub.restored = restored
        raise LookupError("what was that?")

    restored, link._hub.restored = link._hub.restored, fail
    link._lose(OSError("gone"))
    await soon(lambda: link._hub.restorations)
    await link.closed()
    assert "what was that?" in caplog.text


async def test_cancellation_that_is_swallowed_is_repeated():
    async def stubborn():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(100)

    task = asyncio.ensure_future(stubborn())
    await asyncio.sleep(0)
    steady.stop(task)
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
