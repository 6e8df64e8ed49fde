"""The settings of this package: one table, read late, forgotten when a setting changes.

========================  ===========  ===========================================================================
setting                   default      meaning
========================  ===========  ===========================================================================
PISTOKE_DISCONNECT_GRACE  10 s         how long a view that reads may go on with its last message after its client
                                       has left; then it is cancelled. Long enough for a slow query, short enough
                                       that a deploy of clients does not pile up views.
PISTOKE_SHUTDOWN_GRACE    1 s          the same when the server itself is shutting down: process managers kill
                                       after ten seconds or so.
PISTOKE_DATABASE_THREADS  8            how many threads run the synchronous code (database queries) of all
                                       sockets of a process, and so the most database connections it opens to each
                                       database. PostgreSQL allows 100 by default: room for a dozen processes.
PISTOKE_SKIP_MIDDLEWARE   ()           dotted paths of middleware that sockets do without, added to
                                       ``pistoke.middleware.SKIPPED_MIDDLEWARE``.
PISTOKE_MAX_MESSAGE_SIZE  4 MiB        the largest message a client may send, in bytes; a larger one closes the
                                       socket with 1009. None: whatever the server lets through. Room for a million
                                       characters, which a browser counts, in any alphabet.
PISTOKE_INBOUND_MESSAGES  64           how many messages wait for a view that is busy with something else, before
                                       the socket is no longer read.
PISTOKE_INBOUND_BYTES     1 MiB        the same in bytes.
PISTOKE_PUBSUB            memory       the brokers of topics by name, like Django's ``CACHES``: ``BACKEND``,
                                       ``LOCATION``, ``OPTIONS`` and ``HISTORY`` of each. What processes tell each
                                       other of users who sign out goes over that which is called ``default``.
PISTOKE_SIGN_OUT          True         whether the sockets of users are closed when they are logged in no more.
PISTOKE_SESSION_CHECK     30 s         how often the sessions and users of open sockets are looked up, for changes
                                       that nobody is told of: two queries for 500 sockets. None: never.
========================  ===========  ===========================================================================

The following limits are off, that is None, unless they are set. Each is a limit of ``pistoke.decorators.limits`` too, as
are the last three above: what a view is decorated with is in the place of the setting.

===============================  =========  ======================================================================
setting                          unit       meaning
===============================  =========  ======================================================================
PISTOKE_MESSAGE_RATE             pair       how many messages a client may send at once, and in how many seconds
                                            as many again: ``(60, 10)``. One more closes the socket with 1008. What
                                            piles up while the view is busy is not held against the client.
PISTOKE_SEND_TIMEOUT             seconds    how long ``send()`` may wait for a client that does not read; then the
                                            socket is closed with 1008. It has to be enough for the largest message
                                            on the slowest line.
PISTOKE_IDLE_TIMEOUT             seconds    how long an open socket may pass no message either way; then it is
                                            closed with 1001. Pings do not count: servers keep them to themselves.
PISTOKE_MAX_SOCKETS              sockets    how many may be open in a process, or to the view that is decorated;
                                            one more is refused with HTTP 503 and ``Retry-After``.
PISTOKE_MAX_SOCKETS_PER_SESSION  sockets    the same for each session. A client without one is not counted.
===============================  =========  ======================================================================
"""

from typing import Any, Mapping, Sequence, Tuple

from django.conf import settings
from django.core.signals import setting_changed

DEFAULTS: "dict[str, Any]" = {
    "PISTOKE_DISCONNECT_GRACE": 10,
    "PISTOKE_SHUTDOWN_GRACE": 1,
    "PISTOKE_DATABASE_THREADS": 8,
    "PISTOKE_SKIP_MIDDLEWARE": (),
    "PISTOKE_MAX_MESSAGE_SIZE": 2 ** 22,
    "PISTOKE_INBOUND_MESSAGES": 64,
    "PISTOKE_INBOUND_BYTES": 2 ** 20,
    "PISTOKE_MESSAGE_RATE": None,
    "PISTOKE_SEND_TIMEOUT": None,
    "PISTOKE_IDLE_TIMEOUT": None,
    "PISTOKE_MAX_SOCKETS": None,
    "PISTOKE_MAX_SOCKETS_PER_SESSION": None,
    "PISTOKE_PUBSUB": {"default": {}},
    "PISTOKE_SIGN_OUT": True,
    "PISTOKE_SESSION_CHECK": 30,
}


class Conf:
    """The settings as attributes without their prefix: ``conf.DISCONNECT_GRACE``."""

    DISCONNECT_GRACE: float
    SHUTDOWN_GRACE: float
    DATABASE_THREADS: int
    SKIP_MIDDLEWARE: Sequence[str]
    MAX_MESSAGE_SIZE: "int | None"
    INBOUND_MESSAGES: int
    INBOUND_BYTES: int
    MESSAGE_RATE: "Tuple[int, float] | None"
    SEND_TIMEOUT: "float | None"
    IDLE_TIMEOUT: "float | None"
    MAX_SOCKETS: "int | None"
    MAX_SOCKETS_PER_SESSION: "int | None"
    PUBSUB: "Mapping[str, Mapping[str, Any]]"
    SIGN_OUT: bool
    SESSION_CHECK: "float | None"

    def __getattr__(self, name: str) -> Any:
        try:
            default = DEFAULTS["PISTOKE_" + name]
        except KeyError:
            raise AttributeError(name) from None
        value = getattr(settings, "PISTOKE_" + name, default)
        setattr(self, name, value)
        return value

    def forget(self, setting: str, **kwargs: object) -> None:
        """Read ``setting`` anew the next time."""
        self.__dict__.pop(setting[len("PISTOKE_"):], None)


conf: Conf = Conf()
setting_changed.connect(conf.forget, dispatch_uid="pistoke.conf")
