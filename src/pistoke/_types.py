"""What passes between an ASGI server and an application, as type checkers see it."""

from typing import Any, Awaitable, Callable, MutableMapping

#: A connection, and something that happens on it. Dictionaries, both; Starlette calls them mappings too.
Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]

#: What a server gives to an application: where events come from, and where they go.
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
