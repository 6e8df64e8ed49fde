"""The fixtures for pytest, in projects of their own: they load by themselves, and do no harm where they are not needed."""
import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import importable, require

REPOSITORY = Path(__file__).resolve().parent.parent

SETTINGS = """
SECRET_KEY = "x"
ROOT_URLCONF = "app"
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = ["pistoke.Pistoke", "django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
"""

VIEWS = """
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path

async def names(request):
    async for name in request:
        if name:
            await sync_to_async(User.objects.create)(username=name)
        names = await sync_to_async(lambda: sorted(user.username for user in User.objects.all()))()
        await request.send(",".join(names))

urlpatterns = [path("names/", names), path("page/", lambda request: HttpResponse(User.objects.count()))]
"""


class Project:
    """A directory with tests, in which the package is installed as far as pytest can see."""

    def __init__(self, directory):
        self.directory = directory
        self.write("config.py", SETTINGS)
        self.write("app.py", VIEWS)
        install(directory)

    def write(self, name, text):
        (self.directory / name).write_text(text, encoding="utf-8")

    def run(self, tests, *arguments, settings="config"):
        """Run tests and return what pytest says."""
        self.write("test_it.py", tests)
        env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(self.directory), str(REPOSITORY / "src")]))
        for name in ("DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
            env.pop(name, None)
        if settings:
            env["DJANGO_SETTINGS_MODULE"] = settings
        # Other plugins that are installed here are none of the project's, and take their time.
        without = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
        command = [sys.executable, "-m", "pytest", "-q", "test_it.py"] + without
        return subprocess.run(
            command + list(arguments), cwd=str(self.directory), env=env, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
        ).stdout  # fmt: skip


def install(directory):
    """Let pytest see the package as installed in a directory of its path."""
    info = directory / "django_pistoke-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: django-pistoke\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pytest11]\npistoke = {}\n".format(entry_point()))


def entry_point():
    """Return what pyproject.toml tells pytest to load."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.entry-points.pytest11]")[2].partition("[")[0]
    parser = configparser.ConfigParser()
    parser.read_string("[it]" + section)
    return parser["it"]["pistoke"].strip('"')


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_synchronous_client(project):
    said = project.run("""
import pytest
from django.contrib.auth.models import User

@pytest.mark.django_db
def test_client(websocket_client):
    User.objects.create(username="pia")
    with websocket_client.websocket("/names/") as ws:
        ws.send("mats")
        ws.expect("mats,pia")

@pytest.mark.django_db
def test_nothing_is_left():
    assert not User.objects.exists()

def test_without_database(websocket_client):
    websocket_client.websocket("/nowhere/").assert_refused(404)

def test_forbidden_database(websocket_client):
    with pytest.raises(RuntimeError, match="django_db"), websocket_client.websocket("/names/") as ws:
        ws.send("")
        ws.receive()
""")
    assert "4 passed" in said, said


def test_asynchronous_client(project):
    require("anyio", importable("anyio"), "pip install anyio", exists=sys.version_info >= (3, 8))
    said = project.run("""
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.django_db
@pytest.mark.parametrize("time", [1, 2])
async def test_client(async_websocket_client, time):
    await sync_to_async(User.objects.create)(username="pia")
    async with async_websocket_client.websocket("/names/") as ws:
        await ws.send("mats")
        await ws.expect("mats,pia")

@pytest.mark.django_db
async def test_fixtures_of_the_test_are_seen(db, async_websocket_client, user):
    async with async_websocket_client.websocket("/names/") as ws:
        await ws.send("")
        await ws.expect("before")

@pytest.fixture
def user(db):
    return User.objects.create(username="before")

async def test_forbidden_database(async_websocket_client):
    with pytest.raises(RuntimeError, match="django_db"):
        async with async_websocket_client.websocket("/names/") as ws:
            await ws.send("")
            await ws.receive()
""")
    assert "4 passed" in said, said


def test_live_server(project):
    require("Uvicorn", importable("uvicorn", "websockets"), "pip install uvicorn websockets")
    said = project.run("""
import asyncio
import pytest
import warnings
from urllib.request import urlopen
from django.contrib.auth.models import User

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import websockets

async def ask(url):
    async with websockets.connect(url) as ws:
        await ws.send("mats")
        return await ws.recv()

def test_live(live_websocket_server):
    User.objects.create(username="pia")
    assert urlopen(live_websocket_server + "/page/").read() == b"1"
    assert asyncio.new_event_loop().run_until_complete(ask(live_websocket_server.ws_url + "/names/")) == "mats,pia"
    assert str(live_websocket_server) in repr(live_websocket_server)
    assert User.objects.count() == 2

@pytest.mark.django_db(reset_sequences=True)
def test_again(live_websocket_server):
    assert urlopen(live_websocket_server.url + "/page/").read() == b"0"
""")
    assert "2 passed" in said, said


TRIVIAL = "def test_it(): pass\n"
USING = "def test_it(websocket_client): assert websocket_client.websocket('/nowhere/').assert_refused(404)\n"


def test_project_without_django(project):
    # The package itself is the configuration of an application, and that needs the class.
    alone = "import sys\ndef test_it(): assert not {'django.conf', 'django.db', 'pistoke.testing'} & set(sys.modules)\n"
    assert "1 passed" in project.run(alone, "-p", "no:django", settings="")


def test_without_pytest_django(project):
    assert "1 passed" in project.run(USING, "-p", "no:django")


@pytest.mark.parametrize("arguments", [(), ("-p", "no:django")])
def test_without_settings(project, arguments):
    assert "1 passed" in project.run(TRIVIAL, *arguments, settings="")
    said = project.run(USING, "-rs", *arguments, settings="")
    assert "1 skipped" in said and "no Django settings" in said, said


def test_failures_read_well(project):
    said = project.run("""
def test_it(websocket_client):
    with websocket_client.websocket("/names/", timeout=0.05) as ws:
        ws.receive()
""", settings="config")
    assert "SocketTimeout: expected a message within 0.05 s, got nothing" in said
    assert 'in names\nE               async for name in request:' in said
    assert "session.py" not in said and "futures" not in said, said
