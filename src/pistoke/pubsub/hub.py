"""The members of one process: who follows which topic, and how a message comes to each of them."""

import asyncio
import collections
import itertools
import logging
import typing

from django.dispatch import Signal

from .._compat import send_robust
from ..exceptions import PistokeException
from .delivery import MEMBERS_PER_TURN, deliver
from .message import Gap, Message, Position

if typing.TYPE_CHECKING:
    from .broker import Broker, Link, Missed
    from .member import Member

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: Sent where members may have missed something: ``broker``, ``topic``.
gap_detected = Signal()

#: How long the connection is kept when nobody follows anything any more, in seconds.
LINGER = 5

#: Of how many topics the histories are asked for at once: each alone would wait for its answer.
TOPICS_AT_ONCE = 100

#: The first and the longest pause between attempts to read a history, in seconds; each is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2


class Channel:
    """A topic that somebody follows here."""

    __slots__ = ("members", "position", "ready", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        # In the order they came; the values mean nothing.
        self.members: "dict[Member, None]" = {}
        # What is done when each further message will come; None where that is so from the beginning.
        self.ready: "asyncio.Future[None] | None" = None
        # That of the last message that came, where the topic keeps a history: none up to it comes again.
        self.position: "Position | None" = None

    def is_known(self, position: "Position | None") -> bool:
        """Return whether the message at a position, and so all before it, came already."""
        return self.position is not None and position is not None and follows(self.position, position)


def follows(later: Position, earlier: Position) -> bool:
    """Return whether a position is that of another one or a later one."""
    return later.epoch == earlier.epoch and later.offset >= earlier.offset


class Hub:
    """The members of one event loop for one broker.

    All but :meth:`arrived_elsewhere` is called in that loop.
    """

    def __init__(self, broker: "Broker", loop: asyncio.AbstractEventLoop) -> None:
        self.broker = broker
        self.loop = loop
        self._link: "Link | None" = None
        self._channels: "dict[str, Channel]" = {}
        # What has come and not yet gone to every member; the members that the first of it has yet to go to.
        self._inbox: "collections.deque[Message]" = collections.deque()
        self._rest: "typing.Iterator[Member] | None" = None
        # Those that follow its topic still.
        self._following: "typing.Container[Member]" = ()
        # Whether the inbox is about to be looked at, and who waits until it is empty.
        self._scheduled = False
        self._waiters: "list[asyncio.Future[None]]" = []
        self._closing: "asyncio.TimerHandle | None" = None

    @property
    def topics(self) -> "list[str]":
        """The topics that somebody follows."""
        return list(self._channels)

    @property
    def backlog(self) -> int:
        """How many messages have come and not yet gone to every member."""
        return len(self._inbox)

    def members(self, topic: str) -> "list[Member]":
        """Return who follows a topic."""
        channel = self._channels.get(topic)
        return [] if channel is None else list(channel.members)

    # Joining and leaving

    async def join(self, member: "Member", topic: str, since: "str | Position | None" = None) -> "bool | None":
        """Let a member follow a topic, from a position on where one is given.

        Returns whether all since then could be replayed, None where no position was given. Every message that is published
        once this has returned comes to the member.
        """
        channel = self._channels.get(topic) or self._open(topic)
        channel.members[member] = None
        member.hold(topic)
        try:
            if channel.ready is not None:
                await asyncio.shield(channel.ready)
            return await self._recover(member, channel, since)
        except BaseException:
            self.leave(member, topic)
            raise

    async def _recover(
        self, member: "Member", channel: Channel, since: "str | Position | None"
    ) -> "bool | None":
        if not since:
            member.release(channel.topic, ())
            return None
        position = since if isinstance(since, Position) else Position.parse(since)
        missed = await self.broker.missed(channel.topic, position)
        # What is being brought to the members at this moment may be part of it.
        await self.delivered()
        member.release(channel.topic, missed.messages if missed.recovered else (), missed.position)
        return missed.recovered

    def _open(self, topic: str) -> Channel:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._link is None:
            self._link = self.broker.connect(self)
        channel = self._channels[topic] = Channel(topic)
        subscribed = self._link.subscribe(topic)
        if subscribed is not None or self.broker.history_of(topic) is not None:
            channel.ready = self.loop.create_task(self._prepare(channel, subscribed))
            # Whoever waited for it may be gone.
            channel.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        return channel

    async def _prepare(self, channel: Channel, subscribed: "asyncio.Future[None] | None") -> None:
        if subscribed is not None:
            await subscribed
        if self.broker.history_of(channel.topic) is not None:
            # From here on a message that the connection to the engine loses is known to be missing.
            position = await self.broker.aposition(channel.topic)
            if channel.position is None:
                # Nothing has come while it was asked for.
                channel.position = position
        channel.ready = None

    def leave(self, member: "Member", topic: str) -> None:
        """Let a member follow a topic no more."""
        channel = self._channels.get(topic)
        if channel is None or channel.members.pop(member, member) is member or channel.members:
            return
        del self._channels[topic]
        if self._link is not None:
            self._link.unsubscribe(topic)
        if not self._channels:
            self._closing = self.loop.call_later(LINGER, self.close)

    def close(self) -> None:
        """End the connection to the engine, if nobody follows anything."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._link is not None and not self._channels:
            self._link.close()
            self._link = None

    # Messages

    def arrived(self, message: Message) -> None:
        """Let a message go to the members of its topic, after those before it; called in the loop's own thread."""
        self._inbox.append(message)
        self.deliver()

    def arrived_late(self, message: Message) -> None:
        """The same, for one of many that come at once because they could not come at their time."""
        message.late = True
        self.arrived(message)

    def arrived_elsewhere(self, message: Message) -> None:
        """The same, called in any thread; raises RuntimeError where the loop has ended."""
        self._inbox.append(message)
        self.loop.call_soon_threadsafe(self.deliver)

    def deliver(self) -> None:
        """Bring what has come to the members, unless that is going on."""
        if self._rest is None and not self._scheduled:
            self._deliver()

    def _deliver(self) -> None:
        self._scheduled = False
        turns = MEMBERS_PER_TURN
        while self._inbox:
            message = self._inbox[0]
            if self._rest is None:
                rest = self._rest = self._members_for(message)
            else:
                # Some may have left since the turn before.
                rest = filter(self._following.__contains__, self._rest)
            some = list(itertools.islice(rest, turns))
            deliver(message, some)
            turns -= len(some)
            if not turns:
                self._scheduled = True
                self.loop.call_soon(self._deliver)
                return
            self._rest = None
            self._inbox.popleft()
        while self._waiters:
            waiter = self._waiters.pop()
            if not waiter.done():
                waiter.set_result(None)

    def _members_for(self, message: Message) -> "typing.Iterator[Member]":
        channel = self._channels.get(message.topic)
        if channel is None or channel.is_known(message.position):
            return iter(())
        if message.position is not None:
            channel.position = message.position
        self._following = channel.members
        return iter(list(channel.members))

    async def delivered(self) -> None:
        """Wait until everything that has come has gone to its members: who brings more waits for that first."""
        if self._inbox:
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    # The engine

    async def restored(self) -> None:
        """Bring the members what was published while the engine could not be heard, or tell them that they missed it.

        Called by a link that has subscribed to all :attr:`topics` again, before it passes on what comes then.
        """
        topics = self.topics
        for start in range(0, len(topics), TOPICS_AT_ONCE):
            await asyncio.gather(*map(self._restore, topics[start : start + TOPICS_AT_ONCE]))

    async def _restore(self, topic: str) -> None:
        channel = self._channels.get(topic)
        if channel is not None and await self._was_heard(channel):
            await self._catch_up(channel)

    async def _was_heard(self, channel: Channel) -> bool:
        """Return whether a topic may have missed something: not where it is followed since the engine is back."""
        if channel.ready is None:
            return True
        # It may have been subscribed before and not know its position yet.
        await asyncio.wait([channel.ready])
        return channel.position is not None

    async def catch_up(self, topic: str) -> None:
        """Bring the members of a topic what they have missed, or tell them: called by a link that has lost a message."""
        channel = self._channels.get(topic)
        if channel is not None:
            await self._catch_up(channel)

    async def _missed(self, channel: Channel) -> "Missed | None":
        """Return what a topic has missed, None where that cannot be read: an engine that is back may not be ready yet."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self.broker.missed(channel.topic, channel.position)
            except PistokeException as exc:
                if pause > LONGEST_PAUSE:
                    logger.warning("the history of %s could not be read: %s", channel.topic, exc)
                    return None
            await asyncio.sleep(pause)
            pause *= 2

    async def _catch_up(self, channel: Channel) -> None:
        if channel.position is not None:
            missed = await self._missed(channel)
            if missed is not None and missed.recovered:
                for message in missed.messages:
                    self.arrived_late(message)
                return
            if missed is not None:
                channel.position = missed.position or channel.position
        logger.warning(
            "messages of %s may have been missed while the engine of broker %r was away", channel.topic, self.broker.alias
        )
        self.arrived(Gap(channel.topic))
        send_robust(gap_detected, type(self.broker), broker=self.broker, topic=channel.topic)
