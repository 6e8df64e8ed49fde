"""The page on monitoring and that on logging: their blocks become a project, whose sockets are watched as they say."""
import contextlib
import gzip
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import django
import pytest

from tests.pages import blocks_of
from tests.parts import importable, require

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
BLOCKS = [
    *blocks_of("monitoring", DOCS / "howto" / "monitoring.md"),
    *blocks_of("logging", DOCS / "reference" / "logging.md"),
]

SETTINGS = """
SECRET_KEY = "not secret"
ALLOWED_HOSTS = ["testserver"]
ADMINS = {admins!r}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
ROOT_URLCONF = "project.urls"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}}
USE_TZ = True
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "pistoke.middleware.WebsocketMiddleware",
]
"""
APPS = """"django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "shop.apps.Shop", """

VIEWS = """

async def fails(request, number):
    await request.send("1")
    raise ValueError("oops")
"""


def test_each_block_has_its_test():
    files = [block.file for block in BLOCKS if block.file]
    assert sorted(files) == sorted(
        ["project/settings.py"] * 2
        + ["project/urls.py", "project/telemetry.py", "project/asgi.py", "shop/views.py", "shop/users.py", "shop/apps.py"]
    )
    others = [block for block in BLOCKS if not block.file]
    assert [block.language for block in others] == ["bash", "text", "bash"]


def test_what_is_installed_is_an_extra():
    extras = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for block in BLOCKS:
        if block.language == "bash":
            name = re.match(r'pip install "django-pistoke\[(\w+)\]"', block.text).group(1)
            assert re.search("^{} = ".format(name), extras, re.M)


# The project -----------------------------------------------------------------------------------------------------------


def text_of(file, page="monitoring"):
    """Return the block of a file."""
    block, = (block for block in BLOCKS if block.file == file and block.page == page)
    return block.text


def make_project(directory):
    """Write the project of the pages."""
    admins = ["admin@example.com"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.com")]
    files = {
        "project/settings.py": SETTINGS.format(admins=admins)
        + text_of("project/settings.py").replace("...,", APPS)
        + text_of("project/settings.py", "logging"),
        "project/urls.py": "from shop import users, views\n"
        + text_of("project/urls.py").replace(
            "...,", 'path("orders/", views.orders), path("fails/<int:number>/", views.fails),'
        ),
        "project/telemetry.py": text_of("project/telemetry.py"),
        "project/asgi.py": "import project.telemetry\n" + text_of("project/asgi.py"),
        "shop/views.py": text_of("shop/views.py") + VIEWS,
        "shop/users.py": text_of("shop/users.py"),
        "shop/apps.py": text_of("shop/apps.py"),
        "project/__init__.py": "",
        "shop/__init__.py": "",
        "visits.py": (REPOSITORY / "tests" / "monitoring" / "visits.py").read_text(encoding="utf-8"),
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def collector():
    """Take what is exported; yield the address, and a list of (path, body)."""
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            encoding = self.headers.get("Content-Encoding")
            taken.append((self.path, {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(encoding, bytes)(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1:{}".format(server.server_port), taken
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Run the project; return what its script prints, its log, and what it has exported."""
    modern = sys.version_info >= (3, 10)
    require("A modern Python", modern, "Python 3.10", exists=modern)
    require("prometheus_client", importable("prometheus_client"), "pip install -e .[test]")
    require("sentry-sdk", importable("sentry_sdk"), "pip install -e .[test]")
    with_otlp = importable("opentelemetry") and importable("opentelemetry.exporter.otlp.proto.http")
    require("OpenTelemetry's exporter", with_otlp, "pip install -e .[test-once]")
    directory = tmp_path_factory.mktemp("monitoring")
    make_project(directory)
    with collector() as (address, taken):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "COV", "OTEL_"))}
        env.update(
            PYTHONPATH=os.pathsep.join([str(directory), str(REPOSITORY / "src"), str(REPOSITORY)]),
            SENTRY_DSN="http://key@{}/1".format(address),
            OTEL_EXPORTER_OTLP_ENDPOINT="http://" + address,
            NO_PROXY="127.0.0.1",
        )
        done = subprocess.run(
            [sys.executable, "visits.py"], cwd=str(directory), env=env, timeout=60, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True,
        )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout), log=done.stderr, exported=taken)


def test_prometheus_is_answered(watched):
    for line in (
        'pistoke_handshakes_total{route="orders/",status="101"} 1.0',
        'pistoke_handshakes_total{route="",status="404"} 1.0',
        'pistoke_sockets_closed_total{code="1011",route="fails/<int:number>/"} 1.0',
        'pistoke_message_bytes_sum{direction="sent",route="orders/"} 15.0',
        'pistoke_sockets_open{route="orders/"} 0.0',
    ):
        assert line in watched["metrics"]


def test_metrics_are_those_on_the_page_and_in_the_module(watched):
    page = (DOCS / "howto" / "monitoring.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(pistoke_\w+)`", page, re.M))
    families = re.findall(r"^# TYPE (pistoke_\w+) ", watched["metrics"], re.M)
    assert named == {name for name in families if not name.endswith("_created")}
    from pistoke.contrib import prometheus

    assert named == set(re.findall(r"^``(pistoke_\w+)``", prometheus.__doc__, re.M))


def test_queries_name_what_there_is():
    page = (DOCS / "howto" / "monitoring.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(pistoke_\w+)`", page, re.M))
    block, = (block for block in BLOCKS if block.language == "text")
    queried = set(re.findall(r"pistoke_\w+", block.text))
    assert {name[: -len("_bucket")] if name.endswith("_bucket") else name for name in queried} <= named


def test_opentelemetry_gets_traces_and_metrics(watched):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = {}
    for path, body in watched["exported"]:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.update((span.name, span) for span in scope.spans)
    assert {"GET orders/", "GET fails/<int:number>/", "GET", "order"} <= set(spans)
    assert spans["order"].parent_span_id == spans["GET orders/"].span_id
    assert spans["GET orders/"].trace_id == bytes.fromhex("a" * 32)
    assert any(path == "/v1/metrics" and b"pistoke.sockets.open" in body for path, body in watched["exported"])


def test_sentry_gets_the_exception_with_address_and_user(watched):
    events = []
    for path, body in watched["exported"]:
        if path.startswith("/api/1/"):
            lines = [json.loads(line) for line in body.splitlines() if line.startswith(b"{")]
            events += [line for line in lines if "exception" in line]
    event, = (event for event in events if event["exception"]["values"][-1]["value"] == "oops")
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "fails"
    assert event["request"]["url"] == "ws://testserver/fails/3/"
    assert event["user"]["id"] in (1, "1")


def test_admins_are_mailed_path_and_user(watched):
    subjects = [subject for subject, body in watched["mail"]]
    assert len(subjects) == 3 and all("ERROR" in subject for subject in subjects)
    body, = (body for subject, body in watched["mail"] if "Internal Server Error: /fails/3/" in subject)
    for line in ("ValueError at /fails/3/\noops", "Request Method: Websocket", "USER: anna", ", in fails\n"):
        assert line in body


def test_log_is_as_the_page_has_it(watched):
    time = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
    for line in (
        "ERROR django.request: Internal Server Error: /fails/3/$",
        "WARNING django.request: Not Found: /nowhere/$",
        "ERROR pistoke.pubsub: an error of pistoke.pubsub$",
        "INFO pistoke: a word of pistoke$",
        r"WARNING shop.sockets: /nowhere/ was refused with 404$",
    ):
        assert re.search(time + line, watched["log"], re.M), watched["log"]
    assert "ValueError: oops" in watched["log"]


# Loggers ---------------------------------------------------------------------------------------------------------------


def test_loggers_are_those_in_the_code():
    page = (DOCS / "reference" / "logging.md").read_text(encoding="utf-8")
    found = set()
    for path in (REPOSITORY / "src" / "pistoke").rglob("*.py"):
        if "testing" not in path.parts:
            found.update(re.findall(r'getLogger\("([\w.]+)"\)', path.read_text(encoding="utf-8")))
    # What the development server gives its handler to says nothing itself.
    assert found - {"uvicorn"} == set(re.findall(r"^\| `([\w.]+)` \|", page, re.M))
