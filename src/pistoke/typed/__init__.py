"""Typed messages: dataclasses, pydantic models and msgspec structs over a socket, as JSON objects.

::

    @messages(receives=Union[Say, Typing], sends=Said)
    async def chat(request):
        async for message in request.messages():
            if isinstance(message, Say):
                await request.send(Said(request.user.get_username(), message.text))

Which library reads and writes a class is seen from the class; none of them is imported that the project does not use.
Nothing of this package is imported before it is used. It needs Python 3.7: there are no dataclasses before.
"""

from .declaration import Declaration, messages
from .problems import BadMessage
from .reading import Messages

__all__ = ["BadMessage", "Declaration", "Messages", "messages"]
