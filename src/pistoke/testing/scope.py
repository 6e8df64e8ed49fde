"""The two HTTP ends of a WebSocket in a test: the request that opens it and the response that refuses it."""

from http.cookies import SimpleCookie
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import unquote, urlencode, urlsplit

from django.http import HttpResponse
from django.utils.encoding import iri_to_uri

#: What a test may set of the scope itself, in the way of Django's AsyncClient.
SCOPE_KEYS = {"asgi", "client", "extensions", "http_version", "root_path", "scheme", "server", "state"}


Headers = Union[Mapping[str, object], Iterable[Tuple[Any, object]], None]


class Handshake:
    """A client's wish to open a socket, on its way to an ASGI scope.

    Headers are accepted in each form that a version of Django's clients does: ``HTTP_X_NAME=``, ``x_name=``,
    ``**{"X-Name": …}`` and ``headers={"X-Name": …}``; other names of ``request.META`` set what they are made from.
    """

    def __init__(self, path: object, secure: bool = False) -> None:
        parts = urlsplit(str(path))
        self.secure: bool = secure or parts.scheme in ("wss", "https")
        # Percent-encoded, as it goes over the wire.
        self.raw_path: str = iri_to_uri(parts.path) or "/"
        self.query_string: str = iri_to_uri(parts.query)
        # Each header once: name in lower case → value.
        self.headers: Dict[str, str] = {"host": parts.netloc} if parts.netloc else {}
        # Overrides of the scope, under its own keys.
        self.scope: Dict[str, Any] = {}
        self.server: List[Any] = [parts.hostname or "testserver", parts.port]
        self.remote: List[Any] = ["127.0.0.1", 50000]

    def update(self, extra: Mapping[str, Any]) -> None:
        """Take over the ``extra`` keyword arguments of a client."""
        for name, value in extra.items():
            if name == "headers":
                self._set_headers(value)
            elif name == "query_params":
                self._set_query(value)
            elif name in SCOPE_KEYS:
                self.scope[name] = value
            else:
                self._set_meta(name, value)

    def _set_headers(self, headers: Headers) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        for name, value in pairs:
            self._set_header(_text(name), value)

    def _set_header(self, name: str, value: object) -> None:
        self.headers[name.lower().replace("_", "-")] = _text(value)

    def _set_query(self, parameters: Optional[Mapping[str, Any]]) -> None:
        if parameters:
            self.query_string = urlencode(parameters, doseq=True)

    def _set_meta(self, name: str, value: Any) -> None:
        if name == "QUERY_STRING":
            self.query_string = iri_to_uri(_text(value))
        elif name == "REMOTE_ADDR":
            self.remote[0] = value
        elif name == "REMOTE_PORT":
            self.remote[1] = int(value)
        elif name == "SERVER_NAME":
            self.server[0] = value
        elif name == "SERVER_PORT":
            self.server[1] = int(value)
        elif name == "SCRIPT_NAME":
            self.scope["root_path"] = value
        elif name == "wsgi.url_scheme":
            self.secure = value in ("https", "wss")
        elif not name.startswith("wsgi."):
            self._set_header(name[len("HTTP_"):] if name.startswith("HTTP_") else name, value)

    def add_cookies(self, cookies: "SimpleCookie") -> None:
        """Send ``cookies``, a :class:`http.cookies.SimpleCookie`, beside those of a ``Cookie`` header."""
        pairs = sorted("{}={}".format(morsel.key, morsel.coded_value) for morsel in cookies.values())
        given = self.headers.get("cookie")
        if pairs:
            self.headers["cookie"] = "; ".join(([given] if given else []) + pairs)

    def as_scope(self, subprotocols: Sequence[str] = ()) -> Dict[str, Any]:
        """Return the scope that a server would make of it."""
        host, port = self.server
        default_port = 443 if self.secure else 80
        port = port or default_port
        headers = {
            "host": host if port == default_port else "{}:{}".format(host, port),
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        if subprotocols:
            headers["sec-websocket-protocol"] = ", ".join(subprotocols)
        headers.update(self.headers)
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if self.secure else "ws",
            "server": (host, port),
            "client": tuple(self.remote),
            "root_path": "",
            "path": unquote(self.raw_path),
            "raw_path": self.raw_path.encode("ascii"),
            "query_string": self.query_string.encode("ascii"),
            "headers": [[name.encode("latin-1"), value.encode("latin-1")] for name, value in headers.items()],
            "subprotocols": list(subprotocols),
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }
        scope.update(self.scope)
        return scope


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def as_response(status: int, headers: Iterable[Tuple[bytes, bytes]], content: bytes) -> HttpResponse:
    """Return the :class:`~django.http.HttpResponse` that ``status``, ``headers`` (pairs of bytes) and ``content`` make."""
    response = HttpResponse(content, status=status, content_type="text/html")
    del response["Content-Type"]
    for name, value in ((_text(name), _text(value)) for name, value in headers):
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        elif response.has_header(name):
            response[name] = "{}, {}".format(response[name], value)
        else:
            response[name] = value
    if response.has_header("Location"):
        # As a redirect of Django's has it.
        response.url = response["Location"]  # type: ignore[attr-defined]
    return response
