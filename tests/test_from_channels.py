"""The guide for projects on Channels: three projects are made of its blocks, and answer the same client the same.

Blocks name their project and file in the first line. `Channels:` is the project before, `Pistoke:` the one after, and
`Both:` is the one between, which has the files of both that it does not name itself.
"""
import asyncio
import contextlib
import json
import re
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest
import websockets

from tests import pages
from tests.parts import importable, require

require("the Django of the page", True, "", exists=sys.version_info >= (3, 10))
require("Channels", importable("channels", "channels_redis", "daphne"), "pip install channels channels_redis daphne")
require("Uvicorn", importable("uvicorn"), "pip install uvicorn")

PAGE = pages.REPOSITORY / "docs" / "from-channels.md"
KINDS = ("Channels", "Both", "Pistoke")

#: What a page of the project would call: the function that synchronous code announces with, and what a test sees of it.
PAGES = """
from django.http import HttpResponse
from django.urls import path
from chat.announcements import announce

def page(request, room):
    announce(room, request.GET["text"])
    return HttpResponse("announced")

pages = [path("announce/<slug:room>/", page)]
try:
    urlpatterns += pages
except NameError:
    urlpatterns = pages
"""

#: Make the database of the project, and somebody with a session in it.
LOGIN = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_user("aino"))
session = client.session
session["visits"] = 7
session.save()
print(session.session_key)
"""

Block = namedtuple("Block", "kind file text")


def blocks():
    """Return the Python blocks of the page."""
    texts = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [Block(*re.match(r"# (\w+): (\S+)\n", text).groups(), text) for text in texts]


def files_of(kind):
    """Return the files of a project: name → text. Several blocks for a file are one after the other."""
    files = {}
    for block in blocks():
        if block.kind == kind:
            files[block.file] = files.get(block.file, "") + block.text + "\n"
    if kind == "Both":
        channels, ours = files_of("Channels"), files_of("Pistoke")
        files["chat/consumers.py"] = channels["chat/consumers.py"] + files["chat/consumers.py"]
        files = {**channels, **ours, **files}
        # The tests of both sides hold.
        files["chat/tests.py"] = ours["chat/tests.py"]
    return files


class Project(pages.Project):
    """One of the three."""

    def __init__(self, kind, directory, redis):
        super().__init__(directory)
        self.python("-m", "django", "startproject", "project", ".")
        for name, text in files_of(kind).items():
            self.path(name).parent.mkdir(exist_ok=True)
            mode = "a" if name == "project/settings.py" else "w"
            with self.path(name).open(mode, encoding="utf-8") as file:
                file.write("\n" + text.replace("redis://localhost:6379", redis))
        self.path("chat/__init__.py").touch()
        with self.path("project/urls.py").open("a", encoding="utf-8") as urls:
            urls.write(PAGES)
        with self.path("project/settings.py").open("a", encoding="utf-8") as settings:
            settings.write('\nALLOWED_HOSTS = ["127.0.0.1", "testserver"]\n')
        self.path("login.py").write_text(LOGIN)
        self.session = self.python("login.py").strip()


@pytest.fixture(scope="module")
def projects(tmp_path_factory, redis):
    directories = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    with ThreadPoolExecutor() as pool:
        return dict(zip(KINDS, pool.map(lambda kind: Project(kind, directories[kind], redis.url), KINDS)))


@pytest.fixture(scope="module")
def sites(projects, tmp_path_factory):
    """Serve all three at once."""
    logs = tmp_path_factory.mktemp("logs")
    command = [part.format(project="project") for part in pages.UVICORN]
    sites = {}
    with contextlib.ExitStack() as stack:
        for kind, project in projects.items():
            site = stack.enter_context(pages.serve(project.directory, command, logs / kind))
            site.session = project.session
            sites[kind] = site
        yield sites


def connect(site, path, cookies="", origin=None, **options):
    headers = {"Accept-Language": "fi", "Cookie": cookies}
    uri = site.address.replace("http", "ws", 1) + path
    options["additional_headers"] = headers
    return websockets.connect(uri, origin=origin or site.address, proxy=None, **options)


async def refusal(site, path, **options):
    """Return the status that a handshake is refused with, None where it is not."""
    try:
        async with connect(site, path, **options):
            return None
    except websockets.exceptions.InvalidStatus as exc:
        return exc.response.status_code


# What a client says, and is told ---------------------------------------------------------------------------------


async def echo(site):
    async with connect(site, "/echo/") as ws:
        return [await pages.exchange(ws, message) for message in ("hello", b"\x00\xff", "ä")]


async def total(site):
    async with connect(site, "/total/") as ws:
        answers = [json.loads(await pages.exchange(ws, json.dumps(numbers))) for numbers in ([1, 2], [])]
        await ws.send('"bye"')
        return answers + [await pages.closing(ws)]


async def known(site):
    async with connect(site, "/known/") as ws:
        return [json.loads(await pages.exchange(ws, json.dumps(name))) for name in ("aino", "nobody")]


async def about(site):
    cookies = "taste=sweet; sessionid={}".format(site.session)
    async with connect(site, "/about/moi/?mood=good", cookies=cookies) as ws:
        return json.loads(await ws.recv())


async def members(site):
    async with connect(site, "/members/", cookies="sessionid={}".format(site.session)) as ws:
        return [await ws.recv(), await refusal(site, "/members/")]


async def versions(site):
    async with connect(site, "/versions/", subprotocols=["v3", "v2"]) as ws:
        answer = [ws.subprotocol, await ws.recv()]
    return answer + [await refusal(site, "/versions/", subprotocols=["v3"])]


async def room(site):
    async with connect(site, "/room/lobby/") as one, connect(site, "/room/lobby/") as two:
        # A consumer is in its group before it accepts, and a view a moment after: it is asked until it answers.
        said = [json.loads(await until_heard(one, two, "ready"))]
        await one.send('{"a": 1}')
        said += [json.loads(await next_of(ws)) for ws in (one, two)]
        await asyncio.get_running_loop().run_in_executor(None, site.get, "/announce/lobby/?text=Closing.")
        return said + [json.loads(await next_of(ws)) for ws in (one, two)]


async def until_heard(one, two, word):
    """Say a word again until both hear it; return it."""
    for ws in (one, two):
        heard = None
        while heard is None:
            await ws.send(json.dumps(word))
            try:
                heard = await asyncio.wait_for(ws.recv(), 0.3)
            except asyncio.TimeoutError:
                continue
    return heard


async def next_of(ws):
    """Return the next message that is none of the first words."""
    while True:
        message = await asyncio.wait_for(ws.recv(), pages.TIMEOUT)
        if message != '"ready"':
            return message


async def origins(site):
    return [await refusal(site, "/echo/", origin="https://elsewhere.example"), await refusal(site, "/echo/")]


EXPECTED = {
    echo: ["hello", b"\x00\xff", "ä"],
    total: [{"total": 3}, {"total": 0}, 4001],
    known: [{"known": True}, {"known": False}],
    about: {
        "greeting": "moi", "mood": "good", "language": "fi", "taste": "sweet", "user": "aino", "visits": 7,
        "address": "127.0.0.1", "path": "/about/moi/",
    },
    members: ["Welcome.", 403],
    versions: ["v2", "This is v2.", 403],
    room: ["ready", {"a": 1}, {"a": 1}, "Closing.", "Closing."],
    origins: [403, None],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("talk", EXPECTED, ids=lambda talk: talk.__name__)
async def test_all_answer_the_same(sites, talk, kind):
    assert await asyncio.wait_for(talk(sites[kind]), pages.TIMEOUT) == EXPECTED[talk]


@pytest.mark.parametrize("kind", KINDS)
def test_long_answers(sites, kind):
    assert sites[kind].get("/ticks/") == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_consumers_and_views_share_a_room(sites):
    site = sites["Both"]
    async with connect(site, "/old/room/shared/") as old, connect(site, "/room/shared/") as new:
        await until_heard(old, new, "ready")
        await old.send('"from a consumer"')
        assert [await next_of(ws) for ws in (old, new)] == ['"from a consumer"'] * 2
        await new.send('"from a view"')
        assert [await next_of(ws) for ws in (old, new)] == ['"from a view"'] * 2


async def test_what_differs(sites):
    async def without_origin(site):
        try:
            async with websockets.connect(site.address.replace("http", "ws", 1) + "/echo/", proxy=None):
                return None
        except websockets.exceptions.InvalidStatus as exc:
            return exc.response.status_code

    assert [await without_origin(sites[kind]) for kind in KINDS] == [403, None, None]
    assert [await refusal(sites[kind], "/nowhere/") for kind in ("Both", "Pistoke")] == [404, 404]
    async with connect(sites["Pistoke"], "/total/") as ws:
        await ws.send("{")
        assert await pages.closing(ws) == 1007


@pytest.mark.parametrize("kind", KINDS)
def test_tests_of_the_page(projects, kind):
    assert "Ran 1 test" in projects[kind].manage("test", "chat")


async def test_task_publishes(sites, projects):
    script = "from chat.tasks import count_words; count_words('room.tasks', 'one two')"
    async with connect(sites["Pistoke"], "/room/tasks/") as ws, connect(sites["Pistoke"], "/room/tasks/") as other:
        await until_heard(ws, other, "ready")
        run = asyncio.get_running_loop().run_in_executor
        await run(None, projects["Pistoke"].manage, "shell", "-c", script)
        assert await next_of(ws) == '{"words": 2}'


def test_every_file_is_in_a_project():
    assert {block.kind for block in blocks()} == set(KINDS)
    names = {block.file for block in blocks()}
    assert names == {
        "project/asgi.py", "project/settings.py", "project/urls.py", "chat/routing.py", "chat/consumers.py", "chat/views.py",
        "chat/announcements.py", "chat/tasks.py", "chat/tests.py",
    }  # fmt: skip
