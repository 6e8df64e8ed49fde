"""Bringing a message to many members, none of whom waits for another.

To send is a coroutine of the server's, which as a rule has nothing to wait for. So one coroutine of ours awaits one send
after the other, stepped by hand as a view is by its driver. Where one has to wait after all, the coroutine is left to the
member that it waits for, and ends with it; another one goes on with the rest.
"""

import asyncio
import typing

from ..socket import resumed

if typing.TYPE_CHECKING:
    from .._types import Event
    from .member import Member
    from .message import Message

#: How many members get a message before the event loop gets a turn: ten thousand at once would let a ping wait for a tenth
#: of a second.
MEMBERS_PER_TURN = 256


def deliver(message: "Message", members: "typing.Sequence[Member]") -> None:
    """Bring a message to members, in their order."""
    while members:
        rest = iter(members)
        bringing = _bring(message, rest)
        try:
            awaited = bringing.send(None)
        except StopIteration:
            return
        except asyncio.CancelledError as exc:
            # Not anybody's task, but something that the server or a transform waits for.
            members, member = _split(members, rest)
            member.failed(message, exc)
        else:
            members, member = _split(members, rest)
            member.go_on(resumed(bringing, awaited), message)


def _split(
    members: "typing.Sequence[Member]", rest: "typing.Iterator[Member]"
) -> "tuple[list[Member], Member]":
    """Return those who are left, of whom the iterator then knows none, and the member before them."""
    left = list(rest)
    return left, members[-1 - len(left)]


async def _bring(message: "Message", members: "typing.Iterator[Member]") -> None:
    """Send a message to those who take it at once, and let the others see to it themselves.

    With a call of a method for each member, into the context of its view, a delivery to one of 500 sockets took a third
    longer.
    """
    event: "Event" = {}
    # Nobody's yet.
    encode: object = members
    gap = message.gap
    for member in members:
        socket = member.plain_socket
        if socket is None or member.busy or member.held or gap or not (socket.listened_to and socket.steppable):
            member.deliver(message)
            continue
        if socket.encode is not encode:
            try:
                event = message.event(socket.encode)
            except Exception:
                # The member says what is wrong.
                member.deliver(message)
                continue
            encode = socket.encode
        send = socket._asgi_send
        try:
            await send(event)
        except asyncio.CancelledError:
            raise
        except Exception:
            member.failed(message, socket.send_failed())
