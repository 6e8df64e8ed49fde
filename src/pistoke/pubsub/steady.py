"""What links have in common whose engine may be away: they connect, and connect again, with pauses."""

import asyncio
import logging
import random
import typing
from typing import Any

from .._compat import get_running_loop
from ..exceptions import BrokerUnavailable
from .broker import Link

if typing.TYPE_CHECKING:
    from .hub import Hub

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: The pause before a connection is made anew: the first, and the longest, in seconds. Each is twice the one before, and
#: drawn at random from its second half, so that the processes of a site do not come all at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5

#: For how long nobody asks again whether the engine is back, in seconds: who wants to subscribe is told at once.
TOLD_AT_ONCE = 0.5


class SteadyLink(Link):
    """A link that has one task, in which it connects, stays connected, and after a pause connects again."""

    def __init__(self, broker: Any, hub: "Hub") -> None:
        self._broker = broker
        self._hub = hub
        self._loop = hub.loop
        # What waits until there is a connection.
        self._waiting: "dict[str, asyncio.Future[None]]" = {}
        # Whether there is one; what ended the last, and when.
        self._up = False
        self._error: object = None
        self._failed_at = 0.0
        # Done when the connection is lost, and when the pause before a new one is over.
        self._lost: "asyncio.Future[BaseException]" = self._loop.create_future()
        self._pausing: "asyncio.Future[None] | None" = None
        self._task = self._loop.create_task(self._run())

    # What a kind of link does

    async def _connect(self, again: bool) -> None:
        """Subscribe to every topic that the hub follows, ``again`` after a loss; return when all is confirmed.

        Raises BrokerUnavailable.
        """
        raise NotImplementedError

    def _ask(self, topic: str) -> "asyncio.Future[None]":
        """Subscribe to a topic while there is a connection; return what is done when that is confirmed."""
        raise NotImplementedError

    async def _restore(self) -> None:
        """Pass on what was missed."""
        await self._hub.restored()

    def _hang_up(self) -> None:
        """Close what is left of a connection."""
        raise NotImplementedError

    # What the hub calls

    def subscribe(self, topic: str) -> "asyncio.Future[None]":
        """Ask for the messages of a topic."""
        if self._up:
            return self._ask(topic)
        future: "asyncio.Future[None]" = self._loop.create_future()
        if self._error is not None and self._loop.time() - self._failed_at < TOLD_AT_ONCE:
            fail(future, self._unavailable(self._error))
        else:
            self._waiting[topic] = future
            self._end_pause()
        return future

    def unsubscribe(self, topic: str) -> None:
        """Wait no more for a topic."""
        waiting = self._waiting.pop(topic, None)
        if waiting is not None:
            waiting.cancel()

    def close(self) -> None:
        """End the connection."""
        stop(self._task)
        self._down(ConnectionError("the connection was closed"))

    # The task

    async def _run(self) -> None:
        was_up, failures = False, 0
        while True:
            self._lost = self._loop.create_future()
            try:
                await self._connect(was_up)
            except BrokerUnavailable as exc:
                failures += 1
                # The first time is news.
                logger.log(logging.DEBUG if failures > 1 else logging.WARNING, "no connection: %s", exc)
                self._down(exc.reason)
            else:
                failures = 0
                logger.info("the engine of broker %r is %s", self._broker.alias, "back" if was_up else "connected")
                self._ready()
                await self._stay(was_up)
                was_up = True
            await self._pause(failures)

    def _ready(self) -> None:
        """Tell those who have waited for a connection."""
        self._up = True
        self._error = None
        while self._waiting:
            _, future = self._waiting.popitem()
            if not future.done():
                future.set_result(None)

    async def _stay(self, again: bool) -> None:
        """Return when the connection is lost."""
        restoring = self._loop.create_task(self._restore_or_lose()) if again else None
        try:
            error = await self._lost
        finally:
            if restoring is not None:
                stop(restoring)
        logger.warning("the connection of broker %r to its engine was lost: %s", self._broker.alias, error)
        self._down(error)

    async def _restore_or_lose(self) -> None:
        try:
            await self._restore()
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            # Whatever it was, what comes now must not wait for ever.
            logger.exception("what was missed could not be found out")
            self._lose(exc)

    def _lose(self, error: BaseException) -> None:
        """Have the connection made anew."""
        if not self._lost.done():
            self._lost.set_result(error)

    def _down(self, error: object) -> None:
        """Close what is left of a connection, and tell those who wait for one."""
        self._up = False
        self._error = error
        self._failed_at = self._loop.time()
        self._hang_up()
        while self._waiting:
            _, future = self._waiting.popitem()
            fail(future, self._unavailable(error))

    def _unavailable(self, reason: object) -> BrokerUnavailable:
        return BrokerUnavailable(self._broker.alias, reason)

    async def _pause(self, failures: int) -> None:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures)
        self._pausing = self._loop.create_future()
        timer = self._loop.call_later(random.uniform(longest / 2, longest), self._end_pause)
        try:
            await self._pausing
        finally:
            timer.cancel()
            self._pausing = None

    def _end_pause(self) -> None:
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)


def fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    """Let a future fail, whether or not somebody looks at it."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def stop(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended: ``wait_for`` before Python 3.12, in whatever a library does, may swallow it once."""
    if not task.done():
        task.cancel()
        get_running_loop().call_later(0.1, stop, task)
