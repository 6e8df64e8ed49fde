"""Metrics of sockets for Prometheus. Needs prometheus_client: ``pip install "django-pistoke[prometheus]"``.

Add ``"pistoke.contrib.prometheus.Prometheus"`` to ``INSTALLED_APPS``, or call :func:`enable` when the project starts; and
give :func:`metrics` a URL, unless the project shows what it counts in another way.

==================================== =========== ======================= =================================================
metric                               kind        labels                  what it counts
==================================== =========== ======================= =================================================
``pistoke_sockets_open``             gauge       ``route``               sockets that are open now
``pistoke_handshakes_total``         counter     ``route``, ``status``   handshakes by their answer: 101 where they were
                                                                         accepted, ``gone`` where the client had left
``pistoke_handshake_seconds``        histogram   ``route``               time that it took to accept them
``pistoke_sockets_closed_total``     counter     ``route``, ``code``     sockets that were open, by their close code
``pistoke_socket_seconds``           histogram   ``route``               time that they were open
``pistoke_message_bytes``            histogram   ``route``,              messages (``_count``), and their sizes; the
                                                 ``direction``           direction is ``received`` or ``sent``
==================================== =========== ======================= =================================================

The route is the pattern of the URL, never the path. Of the close codes that clients choose, those without a name of their
own count as ``3xxx`` and ``4xxx``: a client may send two thousand.
"""

import os
import typing
from typing import Any

from django.apps import AppConfig
from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from .measures import GONE, HANDSHAKE_SECONDS, MESSAGE_BYTES, SOCKET_SECONDS, code_of, listen, route_of

if typing.TYPE_CHECKING:
    from ..request import WebsocketRequest


class Prometheus(AppConfig):
    """An application that does nothing but call :func:`enable`."""

    name = "pistoke.contrib.prometheus"
    label: str = "pistoke_prometheus"

    def ready(self) -> None:
        """Begin to count."""
        enable()


class Metrics:
    """The metrics of one registry, and what counts them."""

    def __init__(self, registry: Any) -> None:
        self.open: Any = Gauge(
            "pistoke_sockets_open", "Sockets that are open", ["route"], registry=registry, multiprocess_mode="livesum"
        )
        self.handshakes: Any = Counter(
            "pistoke_handshakes_total", "Handshakes by their answer", ["route", "status"], registry=registry
        )
        self.handshake_seconds: Any = Histogram(
            "pistoke_handshake_seconds", "Time to accept a socket", ["route"], registry=registry, buckets=HANDSHAKE_SECONDS
        )
        self.closed: Any = Counter(
            "pistoke_sockets_closed_total", "Sockets by their close code", ["route", "code"], registry=registry
        )
        self.seconds: Any = Histogram(
            "pistoke_socket_seconds", "Time that sockets were open", ["route"], registry=registry, buckets=SOCKET_SECONDS
        )
        self.bytes: Any = Histogram(
            "pistoke_message_bytes", "Messages and their sizes", ["route", "direction"], registry=registry,
            buckets=MESSAGE_BYTES,
        )

    def _opened(self, request: "WebsocketRequest", seconds: float, **kwargs: Any) -> None:
        route = route_of(request)
        self.handshakes.labels(route, "101").inc()
        self.handshake_seconds.labels(route).observe(seconds)
        self.open.labels(route).inc()

    def _refused(self, request: "WebsocketRequest | None", status: "int | None", **kwargs: Any) -> None:
        self.handshakes.labels(route_of(request), GONE if status is None else str(status)).inc()

    def _closed(self, request: "WebsocketRequest", code: int, by_client: bool, seconds: float, **kwargs: Any) -> None:
        route = route_of(request)
        self.open.labels(route).dec()
        self.closed.labels(route, code_of(code, by_client)).inc()
        self.seconds.labels(route).observe(seconds)

    def _received(self, request: "WebsocketRequest", size: int, **kwargs: Any) -> None:
        self.bytes.labels(route_of(request), "received").observe(size)

    def _sent(self, request: "WebsocketRequest", size: int, **kwargs: Any) -> None:
        self.bytes.labels(route_of(request), "sent").observe(size)


#: What counts, by the identity of its registry. Receivers of signals are referred to weakly.
_enabled: "dict[int, Metrics]" = {}


def enable(registry: Any = REGISTRY) -> None:
    """Count what happens on sockets from now on, in a registry of prometheus_client's; do nothing where it does already."""
    if id(registry) not in _enabled:
        _enabled[id(registry)] = Metrics(registry)
        listen(_enabled[id(registry)])


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape: a view with the metrics of this process, or of all of them.

    All of them where ``PROMETHEUS_MULTIPROC_DIR`` names the directory in which they share what they count.
    """
    registry: Any = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
