"""Signals of what happens on sockets, for metrics, traces and audit logs. They cost nothing where nobody listens.

Receivers are plain functions, called on the event loop, in the thread and the task that did what the signal tells: they may
not block; whoever has something to wait for starts a task. One that raises is logged to ``django.dispatch``, and harms
nothing. Connect them when the project starts (in ``AppConfig.ready``): whether anybody listens is looked at when a socket
asks to be opened. The sender is the class of the ASGI application, ``pistoke.handler.WebsocketHandler`` or a subclass.

Each signal has the argument ``request``: the request of the view, whose ``resolver_match.route`` is the pattern of its URL.
Where middleware has refused a socket before its URL was resolved, or there is no such URL, ``resolver_match`` is None. For a
path that is no UTF-8 there is no request: then it is None itself, and only ``websocket_refused`` is sent.

Each handshake ends in ``websocket_opened`` or ``websocket_refused``, each socket that was opened in ``websocket_closed``.
"""

import typing
from typing import Any

from django.dispatch import Signal

from ._compat import iscoroutinefunction


class SocketSignal(Signal):
    """A signal whose receivers are plain functions."""

    def connect(self, receiver: "typing.Callable[..., Any]", *args: Any, **kwargs: Any) -> None:
        """Connect a receiver; the arguments are those of Django's signals.

        Raises TypeError for an ``async def``: nobody would await it.
        """
        if iscoroutinefunction(receiver):
            raise TypeError(
                "expected a plain function as a receiver, got {!r}, an async def; start a task from a plain "
                "function".format(receiver)
            )
        super().connect(receiver, *args, **kwargs)


#: A handshake was accepted. Arguments: ``request``; ``subprotocol``, which was agreed on, or None; ``seconds`` that the
#: handshake took, middleware included.
websocket_opened: SocketSignal = SocketSignal(use_caching=True)

#: A handshake came to nothing. Arguments: ``request``; ``status`` that the client got (403 over a server that can say
#: nothing else), None where it left before there was an answer; ``seconds`` that it took.
websocket_refused: SocketSignal = SocketSignal(use_caching=True)

#: A socket that was open is over, and its view has ended. Arguments: ``request``; ``code`` and ``reason`` of the close;
#: ``by_client``, whether the code is one that the client chose, or stands for its vanishing; ``seconds`` that it was open.
websocket_closed: SocketSignal = SocketSignal(use_caching=True)

#: A message came from the server, whether or not the view reads it; over a server that takes its time to open a socket, one
#: that came along with the handshake may be told before ``websocket_opened``. Arguments: ``request``; ``message`` as it
#: came, ``str`` or ``bytes``; ``size`` in bytes.
message_received: SocketSignal = SocketSignal(use_caching=True)

#: The server has taken a message, of the view or of a topic that it follows. Arguments: as above.
message_sent: SocketSignal = SocketSignal(use_caching=True)


def somebody_listens() -> bool:
    """Return whether any of these signals has a receiver."""
    return bool(
        websocket_opened.receivers
        or websocket_refused.receivers
        or websocket_closed.receivers
        or message_received.receivers
        or message_sent.receivers
    )
