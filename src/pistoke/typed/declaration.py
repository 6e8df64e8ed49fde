"""Declaring the messages of a view, for ``request.messages()`` and for documents."""

import typing
from typing import Any

from ..decoration import SocketResponse, ViewDecorator, begin, call_view
from .models import Model, union_of
from .reading import check_on_error

if typing.TYPE_CHECKING:
    from .._types import P, View
    from ..request import WebsocketRequest
    from .reading import OnError


class Declaration:
    """What a view says of its messages: ``receives`` and ``sends`` are classes or unions of them, None for nothing said."""

    def __init__(self, receives: Any = None, sends: Any = None, on_error: "OnError" = "reply") -> None:
        self.receives = receives
        self.sends = sends
        self.on_error: "OnError" = check_on_error(on_error)
        # What is known of the classes. What is wrong with them is said where they are declared.
        self.received: "typing.Sequence[Model]" = models_of(receives)
        self.sent: "typing.Sequence[Model]" = models_of(sends)


def models_of(declared: Any) -> "typing.Sequence[Model]":
    """Return what is known of a class or of those of a union, nothing of None."""
    return () if declared is None else union_of((declared,)).models


class messages(ViewDecorator):
    """Declare the messages of a view: ``@messages(receives=Say | Typing, sends=Said)``.

    ``receives`` is what ``request.messages()`` expects where it is given nothing, ``on_error`` what it then does about
    others (see :meth:`~pistoke.request.WebsocketRequest.messages`). ``manage.py asyncapi`` writes all of it down. What is
    sent is not checked. Works on functions, on ``websocket`` methods and through ``method_decorator``, outside and inside of
    a protocol.

    Raises TypeError for what is no class of messages, or several that cannot be told apart.
    """

    declaration: Declaration

    if typing.TYPE_CHECKING:

        def __new__(
            cls, *, receives: Any = None, sends: Any = None, on_error: "OnError" = "reply"
        ) -> "messages": ...

    else:

        def __init__(self, *misplaced, receives=None, sends=None, on_error="reply"):
            if misplaced:
                raise TypeError("expected @messages(receives=…, sends=…), got what is neither: {!r}".format(misplaced[0]))
            self.declaration = Declaration(receives, sends, on_error)

    def __call__(self, view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]":
        """Return ``view`` decorated, with its declaration to be seen by who documents it."""
        declared = super().__call__(view)
        declared.websocket_messages = self.declaration  # type: ignore[attr-defined]  # it is a DecoratedView
        return declared

    async def session(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Run the view with its messages declared."""
        request._declaration = self.declaration
        return await call_view(view, *args, **kwargs)

    async def begin(
        self, view: "View", request: "WebsocketRequest", args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Call the view, and get out of the way of its messages."""
        request._declaration = self.declaration
        response = await begin(view, *args, **kwargs)
        return await response.begin() if type(response) is SocketResponse else response
