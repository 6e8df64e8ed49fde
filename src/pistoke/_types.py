"""What passes between an ASGI server and an application, and what decorators make of views, as type checkers see it."""

from typing import TYPE_CHECKING, Any, Awaitable, Callable, MutableMapping, Union

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase
    from typing_extensions import ParamSpec

    #: A response of any kind.
    Response = HttpResponseBase

    #: What a view is called with. A decorated view is called with the same; what comes of it depends on the request.
    P = ParamSpec("P")

#: A connection, and something that happens on it. Dictionaries, both; Starlette calls them mappings too.
Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]

#: What a server gives to an application: where events come from, and where they go.
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

#: What translates a message on its way in and out.
Decode = Callable[[Union[str, bytes]], Any]
Encode = Callable[[Any], str]

#: A view, a function or a method: whatever it is called with, and whatever it answers.
View = Callable[..., Any]
