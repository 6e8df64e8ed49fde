"""Topics: publish from anywhere, follow from a view.

``publish("room.lobby", …)`` reaches every socket, in any process, whose view is inside of
``async with request.follow("room.lobby")``, and every coroutine inside of ``async with subscribe("room.lobby")``.
"""

import logging
import typing
from functools import partial

from django.db import DEFAULT_DB_ALIAS, transaction
from django.dispatch import Signal

from .._compat import running_loop_or_none, send_robust
from ..exceptions import BrokerUnavailable, PubSubError, SlowMember
from .broker import DEFAULT, Broker, brokers
from .hub import gap_detected
from .member import BUFFER, Subscription
from .message import Message, Position, check_topic, encode
from .presence import present, present_sync
from .signout import adisconnect, disconnect

__all__ = [
    "BrokerUnavailable",
    "Message",
    "Position",
    "PubSubError",
    "SlowMember",
    "adisconnect",
    "apublish",
    "aposition",
    "disconnect",
    "gap_detected",
    "position",
    "present",
    "present_sync",
    "publish",
    "publish_failed",
    "subscribe",
]

logger: logging.Logger = logging.getLogger("pistoke.pubsub")

#: Sent where something that waited for a commit could not be published after it: ``topic``, ``data``, ``exception``.
publish_failed = Signal()


def publish(
    topic: str,
    data: object,
    *,
    on_commit: bool = True,
    database: str = DEFAULT_DB_ALIAS,
    using: str = DEFAULT
) -> "Position | None":
    """Publish data to a topic, from synchronous code.

    ``data`` are ``str``, ``bytes`` or a JSON value. Inside of ``transaction.atomic`` on ``database`` the
    commit is waited for, unless ``on_commit`` is False. ``using`` names a broker of ``PISTOKE_PUBSUB``.

    Returns the position of the message; None where the topic keeps no history, and where it waits for a commit. Raises
    :class:`~pistoke.exceptions.BrokerUnavailable` where the engine cannot be reached; after a commit that is logged, and
    sent as :data:`publish_failed`.
    """
    if running_loop_or_none() is not None:
        raise RuntimeError("expected 'await apublish(…)' in asynchronous code, got publish(), which would block it")
    broker, topic, payload = brokers[using], check_topic(topic), encode(data)
    if on_commit and transaction.get_connection(database).in_atomic_block:
        transaction.on_commit(partial(_publish_late, broker, topic, payload, data), using=database)
        return None
    return broker.publish(topic, payload)


def _publish_late(broker: Broker, topic: str, payload: str, data: object) -> None:
    try:
        broker.publish(topic, payload)
    except Exception as exc:
        # The transaction is done: what comes after it goes on.
        logger.exception("a message of %s could not be published after the commit it waited for", topic)
        send_robust(publish_failed, type(broker), topic=topic, data=data, exception=exc)


async def apublish(topic: str, data: object, *, using: str = DEFAULT) -> "Position | None":
    """Publish data to a topic, from a coroutine; see :func:`publish`.

    It is published at once: a transaction belongs to synchronous code.
    """
    return await brokers[using].apublish(check_topic(topic), encode(data))


def subscribe(
    *topics: str,
    since: "str | Position | typing.Mapping[str, str | Position] | None" = None,
    slow: str = "close",
    buffer: int = BUFFER,
    gaps: bool = False,
    using: str = DEFAULT
) -> Subscription:
    """Return the messages of topics: ``async with subscribe("a", "b") as messages: async for message in messages: …``.

    ``since`` is a position (one for each topic, where a mapping), from which on everything is replayed first;
    ``messages.recovered`` is whether that was possible. ``slow`` is what happens when ``buffer`` messages wait for the
    reader: ``"close"`` raises :class:`~pistoke.exceptions.SlowMember` once they are read, ``"drop_oldest"`` drops the
    oldest, ``"latest"`` keeps one. With ``gaps`` there are messages whose ``gap`` is True where something may be missing.
    """
    return Subscription(brokers[using], checked(topics), since, slow, buffer, gaps)


def checked(topics: "typing.Sequence[str]") -> "tuple[str, ...]":
    """Return names of topics, each once; raise where one is no name, or there is none."""
    if not topics:
        raise TypeError("expected the name of a topic, got none")
    return tuple(dict.fromkeys(check_topic(topic) for topic in topics))


def position(topic: str, using: str = DEFAULT) -> "Position | None":
    """Return the position of the last message of a topic, from synchronous code: where a page that is rendered begins.

    None where the topic keeps no history. In a template: ``{% load pistoke %}{% position "room.lobby" %}``.
    """
    return brokers[using].position(check_topic(topic))


async def aposition(topic: str, using: str = DEFAULT) -> "Position | None":
    """Return the position of the last message of a topic, from a coroutine."""
    return await brokers[using].aposition(check_topic(topic))
