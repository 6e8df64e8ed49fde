"""One process: nothing to install, nothing to run."""

import collections
import threading
import time
import typing
import uuid

from .broker import Broker, Link, Missed
from .message import Message, Position

if typing.TYPE_CHECKING:
    from .broker import History
    from .hub import Hub


#: After how many messages, beside one for each topic, it is looked after what is too old everywhere.
SWEEP_EVERY = 100

#: How many messages may wait for an event loop before those who publish in other threads have to wait; how long they look
#: away each time, and how long they wait at most, in seconds.
BACKLOG = 1000
PAUSE, PATIENCE = 0.001, 1


class Log:
    """What a topic keeps."""

    __slots__ = ("messages", "offset")

    def __init__(self) -> None:
        self.offset: int = 0
        # Messages and when they were published, in seconds.
        self.messages: "collections.deque[tuple[float, Message]]" = collections.deque()

    def append(self, message: Message, now: float, rule: "History") -> None:
        """Keep a message, and forget those that are too many or too old."""
        self.messages.append((now, message))
        while len(self.messages) > rule.size:
            self.messages.popleft()
        self.expire(now, rule)

    def expire(self, now: float, rule: "History") -> None:
        """Forget what is too old."""
        while rule.ttl is not None and self.messages and self.messages[0][0] <= now - rule.ttl:
            self.messages.popleft()


class MemoryBroker(Broker):
    """A broker for one process: the default, and the reference of what a broker does."""

    shared = False

    def __init__(self, *args: typing.Any) -> None:
        super().__init__(*args)
        # Guards all of the below; what is published meets the members in one order.
        self._lock = threading.Lock()
        self._epoch = uuid.uuid4().hex[:12]
        self._logs: "dict[str, Log]" = {}
        # How many messages it is until old ones are looked for in topics that nobody publishes to any more.
        self._until_sweep = SWEEP_EVERY
        self._links: "set[MemoryLink]" = set()

    def publish(self, topic: str, payload: str) -> "Position | None":
        """Publish from any thread; wait there while the event loops have more to deliver than they can.

        They have a second for it; one that has stopped is nobody to wait for.
        """
        position, deadline = self._publish(topic, payload), time.monotonic() + PATIENCE
        while self._is_behind() and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return position

    def _is_behind(self) -> bool:
        with self._lock:
            return any(link.hub.backlog > BACKLOG and link.hub.loop.is_running() for link in self._links)

    def _publish(self, topic: str, payload: str) -> "Position | None":
        with self._lock:
            message = self._logged(topic, payload)
            for link in list(self._links):
                try:
                    link.hub.arrived_elsewhere(message)
                except RuntimeError:
                    # Its event loop has ended.
                    self._links.discard(link)
        return message.position

    async def apublish(self, topic: str, payload: str) -> "Position | None":
        """Publish, and wait until it has gone to everybody here."""
        position = self._publish(topic, payload)
        hub = self.hub()
        # Without waiting for the next turn of the loop.
        hub.deliver()
        await hub.delivered()
        return position

    def _logged(self, topic: str, payload: str) -> Message:
        rule = self.history_of(topic)
        if rule is None:
            return Message(topic, payload)
        log = self._logs.setdefault(topic, Log())
        log.offset += 1
        message = Message(topic, payload, Position(self._epoch, log.offset))
        now = time.monotonic()
        log.append(message, now, rule)
        self._until_sweep -= 1
        if self._until_sweep < 0:
            self._sweep(now)
        return message

    def _sweep(self, now: float) -> None:
        """Forget what is too old; the offsets stay."""
        for topic, log in self._logs.items():
            rule = self.history_of(topic) if log.messages else None
            if rule is not None:
                log.expire(now, rule)
        self._until_sweep = SWEEP_EVERY + len(self._logs)

    def position(self, topic: str) -> "Position | None":
        """Return the position of the last message."""
        if self.history_of(topic) is None:
            return None
        with self._lock:
            return Position(self._epoch, self._logs[topic].offset if topic in self._logs else 0)

    async def aposition(self, topic: str) -> "Position | None":
        """Return the position of the last message."""
        return self.position(topic)

    async def missed(self, topic: str, since: "Position | None") -> Missed:
        """Return what was published since a position."""
        rule, now = self.history_of(topic), self.position(topic)
        if rule is None or now is None or since is None or since.epoch != self._epoch or since.offset > now.offset:
            return Missed([], False, now)
        with self._lock:
            log = self._logs.get(topic) or Log()
            log.expire(time.monotonic(), rule)
            messages = [message for _, message in log.messages]
        later = [message for message in messages if message.position.offset > since.offset]  # type: ignore[union-attr]
        return Missed(later, len(later) == now.offset - since.offset, now)

    def connect(self, hub: "Hub") -> Link:
        """Return a connection without anything between."""
        link = MemoryLink(self, hub)
        with self._lock:
            self._links.add(link)
        return link

    def disconnect(self, link: "MemoryLink") -> None:
        """Bring no more messages to a link."""
        with self._lock:
            self._links.discard(link)


class MemoryLink(Link):
    """Everything arrives: the hub knows what it wants."""

    def __init__(self, broker: MemoryBroker, hub: "Hub") -> None:
        self._broker = broker
        self.hub = hub

    def close(self) -> None:
        """Hear no more."""
        self._broker.disconnect(self)
