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
========================  ===========  ===========================================================================
"""

from typing import Any, Sequence

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
