"""What the processes of a project tell each other beside what is published: a topic of their own, that is always heard.

A line neither raises nor gives up: where the engine cannot be reached it tries again and again, and whoever uses it is told
whenever something may have been missed.
"""

import asyncio
import logging
import random
import typing
from typing import Any

from .._compat import Context, get_running_loop
from .member import Member

if typing.TYPE_CHECKING:
    from .broker import Broker
    from .message import Message

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: How long to wait before the first and before any further attempt to be heard, at most, in seconds.
FIRST_DELAY = 1
LAST_DELAY = 30

#: How long to go on listening when nobody has a use for it any more, in seconds: a page that is left for the next one opens
#: its sockets again.
LINGER = 30


class Line(Member):
    """Hears a topic from its first use until a while after its last.

    ``on_message`` is called with the data of each message, ``on_gap`` without anything where something may have been missed:
    when the line begins to hear, too. All is called in the event loop whose hub the line is a member of.
    """

    def __init__(
        self,
        broker: "Broker",
        topic: str,
        on_message: "typing.Callable[[Any], None]",
        on_gap: "typing.Callable[[], None]",
    ) -> None:
        super().__init__(broker, (topic,), gaps=True)
        self._topic = topic
        self._on_message = on_message
        self._on_gap = on_gap
        # Whether everything that is published now will be heard.
        self.heard = False
        # The task that tries to join, and the timer of the end.
        self._joining: "asyncio.Task[None] | None" = None
        self._leaving: "asyncio.TimerHandle | None" = None

    def take(self) -> None:
        """Listen."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._joining is None and not self.heard:
            # Not in the context of the socket that happens to be the first: it would be kept as long as the line is.
            self._joining = Context().run(get_running_loop().create_task, self._join())

    async def _join(self) -> None:
        hub, delay = self._broker.hub(), FIRST_DELAY
        while True:
            try:
                await hub.join(self, self._topic)
                break
            except asyncio.CancelledError:
                raise
            except Exception as exc:
                logger.warning("%s cannot be heard: %s", self._topic, exc)
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, LAST_DELAY)
        self._hub, self.heard, self._joining = hub, True, None
        self._told(self._on_gap)

    def let_go(self) -> None:
        """Stop listening after a while, unless somebody has a use for it again."""
        if self._leaving is None and (self.heard or self._joining is not None):
            self._leaving = get_running_loop().call_later(LINGER, self.close)

    def close(self) -> None:
        """Stop listening."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._joining is not None:
            self._joining.cancel()
            self._joining = None
        self.heard = False
        self.leave()

    # What the hub calls

    def hold(self, topic: str) -> None:
        """Hear what comes, as early as it does."""

    def release(self, *args: Any) -> None:
        """Go on hearing."""

    def deliver(self, message: "Message") -> None:
        """Pass a message on; what that raises is no fault of other members."""
        if message.gap:
            self._told(self._on_gap)
        else:
            self._told(self._on_message, message)

    def _told(self, callback: "typing.Callable[..., None]", *messages: "Message") -> None:
        try:
            callback(*(message.data for message in messages))
        except Exception:
            logger.exception("what came over %s could not be understood", self._topic)
