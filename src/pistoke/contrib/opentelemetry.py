"""Metrics and traces of sockets for OpenTelemetry. Needs its API: ``pip install "django-pistoke[opentelemetry]"``.

Add ``"pistoke.contrib.opentelemetry.OpenTelemetry"`` to ``INSTALLED_APPS``, or call :func:`enable` when the project starts,
which has arguments. Where the data go is the business of the SDK, which the project sets up as for anything else.

=============================== =================== ============================================ =======================
instrument                      kind, unit          attributes                                   what it counts
=============================== =================== ============================================ =======================
``pistoke.sockets.open``        up-down counter     ``http.route``                               sockets that are open
``pistoke.handshakes``          counter             ``http.route``,                              handshakes; no status
                                                    ``http.response.status_code``                where the client had left
``pistoke.handshake.duration``  histogram, s        ``http.route``                               time to accept them
``pistoke.sockets.closed``      counter             ``http.route``, ``pistoke.close.code``       sockets that were open
``pistoke.socket.duration``     histogram, s        ``http.route``                               time that they were
``pistoke.message.size``        histogram, By       ``http.route``, ``network.io.direction``     messages and their sizes
=============================== =================== ============================================ =======================

Attributes are those of the semantic conventions for HTTP and networks; there are none for WebSockets, so that instruments
and the close code have names of ours. The route is the pattern of the URL, never the path.

Each handshake begins a span of kind SERVER, a child of the one whose ``traceparent`` the client sends, if it does; it lasts
as long as the socket. It is an error where the view has failed: refused with 500 or more, or closed with 1011.
"""

import time
import typing
from typing import Any
from weakref import WeakKeyDictionary

from django.apps import AppConfig
from opentelemetry import metrics, propagate, trace

from .. import __version__
from ..connection import INTERNAL_ERROR
from .measures import code_of, listen, route_of

if typing.TYPE_CHECKING:
    from ..request import WebsocketRequest


class OpenTelemetry(AppConfig):
    """An application that does nothing but call :func:`enable`."""

    name = "pistoke.contrib.opentelemetry"
    label: str = "pistoke_opentelemetry"

    def ready(self) -> None:
        """Begin to measure."""
        enable()


class Meters:
    """The instruments of one meter, and what feeds them."""

    def __init__(self, meter: Any) -> None:
        self.open: Any = meter.create_up_down_counter("pistoke.sockets.open", "{socket}", "Sockets that are open")
        self.handshakes: Any = meter.create_counter("pistoke.handshakes", "{handshake}", "Handshakes by their answer")
        self.handshake: Any = meter.create_histogram("pistoke.handshake.duration", "s", "Time to accept a socket")
        self.closed: Any = meter.create_counter("pistoke.sockets.closed", "{socket}", "Sockets by their close code")
        self.duration: Any = meter.create_histogram("pistoke.socket.duration", "s", "Time that sockets were open")
        self.size: Any = meter.create_histogram("pistoke.message.size", "By", "Messages and their sizes")

    def _opened(self, request: "WebsocketRequest", seconds: float, **kwargs: Any) -> None:
        route = {"http.route": route_of(request)}
        self.handshakes.add(1, dict(route, **{"http.response.status_code": 101}))
        self.handshake.record(seconds, route)
        self.open.add(1, route)

    def _refused(self, request: "WebsocketRequest | None", status: "int | None", **kwargs: Any) -> None:
        attributes: "dict[str, Any]" = {"http.route": route_of(request)}
        if status is not None:
            attributes["http.response.status_code"] = status
        self.handshakes.add(1, attributes)

    def _closed(self, request: "WebsocketRequest", code: int, by_client: bool, seconds: float, **kwargs: Any) -> None:
        route = {"http.route": route_of(request)}
        self.open.add(-1, route)
        self.closed.add(1, dict(route, **{"pistoke.close.code": code_of(code, by_client)}))
        self.duration.record(seconds, route)

    def _received(self, request: "WebsocketRequest", size: int, **kwargs: Any) -> None:
        self.size.record(size, {"http.route": route_of(request), "network.io.direction": "receive"})

    def _sent(self, request: "WebsocketRequest", size: int, **kwargs: Any) -> None:
        self.size.record(size, {"http.route": route_of(request), "network.io.direction": "transmit"})


#: The spans of sockets that are open, by their requests.
_spans: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()


class Spans:
    """One span for each handshake, which lasts as long as its socket."""

    def __init__(self, tracer: Any) -> None:
        self.tracer: Any = tracer

    def _start(self, request: "WebsocketRequest | None", seconds: float) -> Any:
        route = route_of(request)
        attributes: "dict[str, Any]" = {"http.request.method": "GET", "network.protocol.name": "websocket"}
        headers: "dict[str, str]" = {}
        if request is not None:
            attributes.update({"url.path": request.path, "url.scheme": request.scope.get("scheme", "ws")})
            headers = {name.lower(): value for name, value in request.headers.items()}
        if route:
            attributes["http.route"] = route
        return self.tracer.start_span(
            # The convention for HTTP: «{method} {target}», the target being of few values; the method alone without one.
            "GET {}".format(route) if route else "GET",
            context=propagate.extract(headers),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=int((time.time() - seconds) * 1e9),
        )

    def _opened(self, request: "WebsocketRequest", subprotocol: "str | None", seconds: float, **kwargs: Any) -> None:
        span = _spans[request] = self._start(request, seconds)
        span.set_attribute("http.response.status_code", 101)
        if subprotocol is not None:
            span.set_attribute("pistoke.subprotocol", subprotocol)
        span.add_event("opened")

    def _refused(
        self, request: "WebsocketRequest | None", status: "int | None", seconds: float, **kwargs: Any
    ) -> None:
        span = self._start(request, seconds)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                fail(span, str(status))
        span.end()

    def _closed(self, request: "WebsocketRequest", code: int, reason: str, **kwargs: Any) -> None:
        span = _spans.pop(request, None)
        if span is None:
            return
        span.set_attributes({"pistoke.close.code": code, "pistoke.close.reason": reason})
        if code == INTERNAL_ERROR:
            fail(span, str(code))
        span.end()

    def _received(self, request: "WebsocketRequest", size: int, **kwargs: Any) -> None:
        span_of(request).add_event("received", {"pistoke.message.size": size})

    def _sent(self, request: "WebsocketRequest", size: int, **kwargs: Any) -> None:
        span_of(request).add_event("sent", {"pistoke.message.size": size})


def fail(span: Any, kind: str) -> None:
    """Mark a span as that of an error; what was raised is told where it was, by the log and by error trackers."""
    span.set_attribute("error.type", kind)
    span.set_status(trace.Status(trace.StatusCode.ERROR))


def span_of(request: "WebsocketRequest") -> Any:
    """Return the span of an open socket, one that records nothing where there is none.

    ``with trace.use_span(span_of(request)): …`` makes it the parent of what a view does there.
    """
    return _spans.get(request, trace.INVALID_SPAN)


#: What listens. Receivers of signals are referred to weakly.
_enabled: "list[object]" = []


def enable(
    meter_provider: Any = None, tracer_provider: Any = None, spans: bool = True, message_events: bool = False
) -> None:
    """Measure what happens on sockets from now on.

    The providers are those of the SDK's set-up where they are None. ``spans`` False measures without traces.
    ``message_events`` adds an event to the span for each message, which the SDK keeps until the socket closes, 128 of them
    by default.
    """
    if _enabled:
        return
    meters = Meters(metrics.get_meter("pistoke", __version__, meter_provider))
    listen(meters)
    _enabled.append(meters)
    if spans:
        tracing = Spans(trace.get_tracer("pistoke", __version__, tracer_provider))
        listen(tracing, message_events)
        _enabled.append(tracing)
