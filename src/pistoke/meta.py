"""``request.META``, made as it is asked for.

A page asks for all of it, a socket for its host and little else, and then keeps it as long as it is open. Made whole it
would be 25 µs of each handshake and 3 KiB of each idle socket, where a bare ASGI application takes 190 µs and 20 KiB.
"""

import functools
import typing
from typing import Any

if typing.TYPE_CHECKING:
    from .request import WebsocketRequest

    Environment = typing.Dict[str, Any]
else:
    Environment = dict

#: Headers that have no prefix in META.
BARE = ("CONTENT_LENGTH", "CONTENT_TYPE")


class Meta(Environment):
    """The environment of a request, as Django names its items.

    A header is looked up when it is asked for; anything else makes it an ordinary dictionary of everything.
    """

    __slots__ = ("_request",)

    def __init__(self, request: "WebsocketRequest") -> None:
        # Code in C, like that of json, looks behind __len__ for whether a dictionary is empty.
        super().__init__(REQUEST_METHOD=request.method)
        # What to look things up in; None when everything is here.
        self._request: "WebsocketRequest | None" = request

    def _find(self, key: object) -> bool:
        """Look an item up; return whether there is one."""
        if self._request is None:
            return False
        if not (isinstance(key, str) and key.startswith("HTTP_")):
            self.complete()
            return super().__contains__(key)
        name = name_of_header(key[5:])
        values = self._request.header_values(name) if name else []
        if not (name and values):
            return False
        self[key] = joined(name, values)
        return True

    def complete(self) -> None:
        """Look everything up; what has been set stays as it is."""
        if self._request is not None:
            request, self._request = self._request, None
            for key, value in items(request):
                super().setdefault(key, value)

    def __missing__(self, key: str) -> Any:
        if self._find(key):
            return self[key]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or self._find(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return an item, ``default`` where there is none."""
        try:
            return self[key]
        except KeyError:
            return default


def _completed_first(name: str) -> typing.Callable[..., Any]:
    method = getattr(dict, name)

    def whole(self: Meta, *args: Any, **kwargs: Any) -> Any:
        self.complete()
        return method(self, *args, **kwargs)

    whole.__name__, whole.__doc__ = name, method.__doc__
    return whole


for _name in ("delitem", "eq", "iter", "len", "ne", "reduce_ex", "repr"):
    setattr(Meta, "__{}__".format(_name), _completed_first("__{}__".format(_name)))
for _name in ("clear", "copy", "items", "keys", "pop", "popitem", "setdefault", "values"):
    setattr(Meta, _name, _completed_first(_name))


def items(request: "WebsocketRequest") -> "typing.Iterator[tuple[str, Any]]":
    """Yield all items, as Django names them for an HTTP request."""
    scope = request.scope
    yield "REQUEST_METHOD", request.method
    yield "QUERY_STRING", request._query_string
    yield "SCRIPT_NAME", request.script_name
    yield "PATH_INFO", request.path_info
    yield "wsgi.multithread", True
    yield "wsgi.multiprocess", True
    if scope.get("client"):
        yield "REMOTE_ADDR", scope["client"][0]
        yield "REMOTE_HOST", scope["client"][0]
        yield "REMOTE_PORT", scope["client"][1]
    server = scope.get("server") or ("unknown", 0)
    yield "SERVER_NAME", server[0]
    yield "SERVER_PORT", str(server[1] or 0)
    for name in {name.lower() for name, _ in scope.get("headers", ())}:
        # An underscore would be taken for a hyphen: a client could pass its header off as one that a proxy sets.
        if b"_" not in name:
            key = name.decode("latin-1").upper().replace("-", "_")
            yield key if key in BARE else "HTTP_" + key, joined(name, request.header_values(name))


@functools.lru_cache(maxsize=256)
def name_of_header(key: str) -> "bytes | None":
    """Return the name of a header as bytes, given its key without the prefix; None where it can be none's."""
    if key in BARE or key != key.upper() or "-" in key:
        return None
    return key.lower().replace("_", "-").encode("latin-1", "replace")


def joined(name: bytes, values: "list[bytes]") -> str:
    """Return the values of a header as one string."""
    # A browser sends one header of cookies, but HTTP/2 may split it (RFC 9113 section 8.2.3).
    return (b"; " if name == b"cookie" else b",").join(values).decode("latin-1")
