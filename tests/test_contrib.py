"""What Prometheus and OpenTelemetry learn of sockets."""
import http
import importlib
import os
import subprocess
import sys

import pytest
from django.apps import AppConfig
from django.contrib.auth.decorators import user_passes_test
from django.test import RequestFactory

from pistoke import signals
from pistoke.contrib.measures import code_of, route_of
from pistoke.handler import WebsocketHandler
from pistoke.protocol import WebsocketProtocol, WebsocketSubprotocol
from tests.parts import importable, require

from .asgi import Server, urls

SIGNALS = [
    signals.websocket_opened,
    signals.websocket_refused,
    signals.websocket_closed,
    signals.message_received,
    signals.message_sent,
]


#: The last OpenTelemetry for Python 3.6 says it of itself.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated method __init__:DeprecationWarning")


@pytest.fixture
def unheard():
    """Let no listener outlive the test."""
    yield
    for signal in SIGNALS:
        with signal.lock:
            signal.receivers = []
            signal.sender_receivers_cache.clear()


# What things are called ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, by_client, expected",
    [
        (1000, True, "1000"),
        (1006, True, "1006"),
        (4401, True, "4401"),
        (4008, True, "4008"),
        (4001, False, "4001"),
        (4001, True, "4xxx"),
        (3123, True, "3xxx"),
    ],
)
def test_clients_cannot_make_up_labels(code, by_client, expected):
    assert code_of(code, by_client) == expected


def test_codes_that_clients_may_choose_are_few_labels():
    assert len({code_of(code, True) for code in range(1000, 5000)}) < 30 + len(http.HTTPStatus)


def test_route_of_nothing_is_empty():
    assert route_of(None) == ""
    assert route_of(RequestFactory().get("/")) == ""


# A few sockets ----------------------------------------------------------------------------------------------------------


async def echo(request):
    async for message in request:
        await request.send(message * 2)


async def fails(request):
    await request.send("1")
    raise ValueError


@user_passes_test(lambda user: False)
@WebsocketProtocol
async def refuses(request):
    raise AssertionError("not reached")


async def visits():
    """Let a socket be opened and used, one fail, one be refused, one be for nobody, and a client leave too early."""
    with urls(echo=WebsocketSubprotocol("v1")(echo), fails=fails, refuses=refuses):
        handler = WebsocketHandler()
        server = Server("/echo/", [("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")], subprotocols=["v1"])
        server.say("hello")
        server.leave(4001)
        await server.run(handler)
        await Server("/fails/").run(handler)
        await Server("/refuses/", extensions={}).run(handler)
        await Server("/nowhere/").run(handler)
        gone = Server("/echo/", subprotocols=["v1"])
        gone.send_failure = OSError()
        await gone.run(handler)


# Prometheus -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def prometheus(unheard):
    require("prometheus_client", importable("prometheus_client"), "pip install -e .[prometheus]")
    return importlib.import_module("pistoke.contrib.prometheus")


@pytest.fixture
def registry(prometheus):
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    prometheus.enable(registry)
    prometheus.enable(registry)
    return registry


async def test_prometheus_counts(registry):
    await visits()

    def value(name, *labels):
        pairs = zip(labels[::2], labels[1::2])
        return registry.get_sample_value("pistoke_" + name, dict(pairs))

    assert value("handshakes_total", "route", "echo/", "status", "101") == 1
    assert value("handshakes_total", "route", "echo/", "status", "gone") == 1
    assert value("handshakes_total", "route", "refuses/", "status", "403") == 1
    assert value("handshakes_total", "route", "", "status", "404") == 1
    assert value("sockets_open", "route", "echo/") == 0
    assert value("sockets_closed_total", "route", "echo/", "code", "4xxx") == 1
    assert value("sockets_closed_total", "route", "fails/", "code", "1011") == 1
    assert value("message_bytes_count", "route", "echo/", "direction", "received") == 1
    assert value("message_bytes_sum", "route", "echo/", "direction", "sent") == 10
    assert value("socket_seconds_count", "route", "echo/") == 1
    assert value("handshake_seconds_count", "route", "echo/") == 1


async def test_prometheus_sees_sockets_that_are_open(registry):
    with urls(echo=echo):
        server = Server("/echo/")
        server.say("1")
        task = server.start(WebsocketHandler())
        await server.until(2)
        assert registry.get_sample_value("pistoke_sockets_open", {"route": "echo/"}) == 1
        server.leave()
        await task
    assert registry.get_sample_value("pistoke_sockets_open", {"route": "echo/"}) == 0


SCRAPE = """
import asyncio, os, sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["pistoke.Pistoke", "pistoke.contrib.prometheus.Prometheus"],
    ROOT_URLCONF="tests.test_contrib", SECRET_KEY="not secret", ALLOWED_HOSTS=["testserver"],
)
django.setup()
from django.test import Client
from pistoke.handler import WebsocketHandler
from tests.asgi import Server
server = Server("/echo/")
server.say("1")
server.leave()
asyncio.get_event_loop_policy().new_event_loop().run_until_complete(server.run(WebsocketHandler()))
print(Client().get("/metrics/").content.decode())
"""


def urlpatterns():
    from django.urls import path

    from pistoke.contrib.prometheus import metrics

    return [path("echo/", echo), path("metrics/", metrics)]


if importable("prometheus_client"):
    urlpatterns = urlpatterns()


@pytest.mark.parametrize("several", [False, True])
def test_application_shows_what_it_counts_of_all_processes(prometheus, tmp_path, several):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_SETTINGS", "COV"))}
    env["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path or ".") for path in sys.path)
    if several:
        env["PROMETHEUS_MULTIPROC_DIR"] = env["prometheus_multiproc_dir"] = str(tmp_path)
    shown = [
        subprocess.check_output([sys.executable, "-W", "ignore", "-c", SCRAPE], env=env, timeout=60).decode()
        for _ in range(2)
    ]
    count = 'pistoke_handshakes_total{route="echo/",status="101"} '
    assert count + "1.0" in shown[0]
    assert count + ("2.0" if several else "1.0") in shown[1]
    assert 'pistoke_sockets_open{route="echo/"} 0.0' in shown[1]


# OpenTelemetry ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def opentelemetry(unheard, monkeypatch):
    require("OpenTelemetry", importable("opentelemetry"), "pip install opentelemetry-sdk")
    module = importlib.import_module("pistoke.contrib.opentelemetry")
    monkeypatch.setattr(module, "_enabled", [])
    return module


@pytest.fixture
def spans(opentelemetry):
    """Return what exports spans, and the provider of their tracer."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, provider


async def test_opentelemetry_measures(opentelemetry):
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    opentelemetry.enable(meter_provider=provider, spans=False)
    opentelemetry.enable(meter_provider=provider)
    await visits()
    points = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = getattr(point, "sum", None) if hasattr(point, "sum") else point.value
                    attributes = point.attributes.items()
                    points[(metric.name, *sorted((name.rpartition(".")[2], text) for name, text in attributes))] = value
    echo_route = ("route", "echo/")
    assert points["pistoke.sockets.open", echo_route] == 0
    assert points["pistoke.handshakes", echo_route, ("status_code", 101)] == 1
    assert points["pistoke.handshakes", echo_route] == 1
    assert points["pistoke.handshakes", ("route", "refuses/"), ("status_code", 403)] == 1
    assert points["pistoke.sockets.closed", ("code", "4xxx"), echo_route] == 1
    assert points["pistoke.message.size", ("direction", "receive"), echo_route] == 5
    assert points["pistoke.message.size", ("direction", "transmit"), echo_route] == 10
    assert 0 <= points["pistoke.socket.duration", echo_route] < 10
    assert 0 <= points["pistoke.handshake.duration", echo_route] < 10
    provider.shutdown()


async def test_opentelemetry_traces(opentelemetry, spans):
    exporter, provider = spans
    opentelemetry.enable(tracer_provider=provider)
    await visits()
    echoed, failed, refused, nowhere, gone = exporter.get_finished_spans()
    assert (echoed.name, echoed.kind.name) == ("GET echo/", "SERVER")
    assert echoed.parent.trace_id == int("a" * 32, 16) and echoed.parent.span_id == int("b" * 16, 16)
    assert dict(echoed.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 101,
        "http.route": "echo/",
        "network.protocol.name": "websocket",
        "pistoke.close.code": 4001,
        "pistoke.close.reason": "",
        "pistoke.subprotocol": "v1",
        "url.path": "/echo/",
        "url.scheme": "ws",
    }
    assert [event.name for event in echoed.events] == ["opened"]
    assert echoed.status.is_unset and echoed.start_time < echoed.end_time
    assert not failed.status.is_ok and failed.attributes["error.type"] == "1011" and failed.parent is None
    assert (refused.attributes["http.response.status_code"], refused.status.is_unset) == (403, True)
    assert (nowhere.name, nowhere.attributes["http.response.status_code"]) == ("GET", 404)
    assert "http.response.status_code" not in gone.attributes
    assert not opentelemetry._spans


async def test_opentelemetry_has_messages_as_events_where_that_is_wanted(opentelemetry, spans):
    exporter, provider = spans
    opentelemetry.enable(tracer_provider=provider, message_events=True)
    await visits()
    events = exporter.get_finished_spans()[0].events
    assert [(event.name, dict(event.attributes)) for event in events] == [
        ("opened", {}), ("received", {"pistoke.message.size": 5}), ("sent", {"pistoke.message.size": 10})
    ]


async def test_span_of_a_socket_can_be_the_parent_of_others(opentelemetry, spans):
    from opentelemetry import trace

    exporter, provider = spans
    opentelemetry.enable(tracer_provider=provider)

    async def view(request):
        await request.send("1")
        with trace.use_span(opentelemetry.span_of(request)):
            with provider.get_tracer("test").start_as_current_span("work"):
                pass

    with urls(view=view):
        await Server("/view/").run(WebsocketHandler())
    work, socket = exporter.get_finished_spans()
    assert work.parent.span_id == socket.context.span_id
    assert not opentelemetry.span_of(RequestFactory().get("/")).is_recording()


@pytest.mark.parametrize("name", ["prometheus.Prometheus", "opentelemetry.OpenTelemetry"])
def test_integrations_are_applications(name, unheard):
    module, _, config = name.partition(".")
    require(module, importable({"prometheus": "prometheus_client"}.get(module, module)), "pip install -e .[test]")
    made = AppConfig.create("pistoke.contrib." + name)
    assert (made.name, made.label) == ("pistoke.contrib." + module, "pistoke_" + module)
    importlib.import_module("pistoke.contrib." + module)._enabled.clear()
    if module == "opentelemetry":
        made.ready()
        assert all(signal.receivers for signal in SIGNALS)
        importlib.import_module("pistoke.contrib." + module)._enabled.clear()
