"""The code on the pages for readers runs as it stands there.

A page becomes a Django project, as it would in the hands of a reader: `startproject`, then each block into the file that
its first line names. The project is served by a real server, and a real client talks with it. A block that nobody here
knows how to run is a failure.
"""

import asyncio
import configparser
import contextlib
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.pages import (
    REPOSITORY,
    TIMEOUT,
    UVICORN,
    Block,
    Conversation,
    ProjectOfPage,
    blocks_of,
    closing,
    environment,
    exchange,
    have,
    runner_of,
    serve,
    socket_in,
    status_of_refusal,
)
from tests.parts import on_path, require

PAGES = {
    "README.md": REPOSITORY / "README.md",
    "README.fi.md": REPOSITORY / "README.fi.md",
    # What the author of the package promised before there was one; it is kept beside the repository, if anywhere.
    "the promise": REPOSITORY.parent / "shared" / "spec" / "README.fi.md",
}
BLOCKS = [block for page in PAGES for block in blocks_of(page, PAGES[page])]


# Sites of the pages -------------------------------------------------------------------------------------------


class Workshop:
    """Makes a project of each page, and serves each, when the first test asks for it."""

    def __init__(self, directory, stack):
        self.directory = directory
        self.stack = stack
        self.projects = {}
        self.sites = {}

    def project(self, page):
        """Return the project of a page."""
        if page not in self.projects:
            directory = self.directory / str(len(self.projects))
            directory.mkdir()
            self.projects[page] = ProjectOfPage([block for block in BLOCKS if block.page == page], directory)
        return self.projects[page]

    def site(self, page):
        """Return the served project of a page."""
        if page not in self.sites:
            self.sites[page] = self.stack.enter_context(self.serve(page))
        return self.sites[page]

    def serve(self, page):
        """Serve the project of a page with Uvicorn, for the duration of a `with` block."""
        project = self.project(page)
        command = [part.format(project=project.name) for part in UVICORN]
        return serve(project.directory, command, self.log())

    def log(self):
        """Return the path of a new log file."""
        return self.directory / "{}.log".format(len(list(self.directory.iterdir())))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    # ExitStack came with 3.3 and closes the servers in the order opposite to that of their start.
    with contextlib.ExitStack() as stack:
        yield Workshop(tmp_path_factory.mktemp("readme"), stack)


# What one says to the views of the pages ---------------------------------------------------------------------


async def talk_echo(site, path, answer, encoding=None):
    """Text comes back in a sentence; binary as it was, or in the same sentence where it has an encoding."""
    async with site.socket(socket_in(site.get(path), site, path)) as ws:
        for text in ("Hello", "äö€ \N{EVERGREEN TREE}", ""):
            assert await exchange(ws, text) == answer.format(text)
        for data in (b"Hello", b"\xe4\x00\xff"):
            expected = answer.format(data.decode(encoding)).encode(encoding) if encoding else data
            assert await exchange(ws, data) == expected


async def talk_function(site, path):
    assert "ocket" in site.get(path)
    async with site.socket(path) as ws:
        assert await exchange(ws, "hello") == "HELLO!"


async def talk_room(site, path):
    async with site.socket(path) as one, site.socket(path) as other:
        assert await exchange(one, "to both") == await other.recv() == "to both"
    async with site.socket(path) as alone:
        assert await exchange(alone, "to one") == "to one"


async def talk_protocols(site, path, sum_path, versions_path, offered, key):
    async with site.socket(sum_path) as ws:
        assert json.loads(await exchange(ws, "[1, 2, 3.5]")) == {key: 6.5}
    async with site.socket(versions_path, subprotocols=offered) as ws:
        assert await ws.recv() == ws.subprotocol == offered[0]
    assert await status_of_refusal(site, versions_path, subprotocols=["v9.elsewhere"]) in (400, 403)
    assert await status_of_refusal(site, "/http/") == 403
    async with site.socket(path) as ws:
        assert await closing(ws) == 4403


async def talk_limits(site, path):
    async with site.socket(path) as ws:
        for number in range(20):
            assert await exchange(ws, str(number)) == str(number)
        await ws.send("one too many")
        assert await closing(ws) == 1008


async def talk_csrf(site, path):
    page = site.get(path)
    address = socket_in(page, site, path)
    async with site.socket(address) as ws:
        assert await exchange(ws, re.search(r'send\("(\w+)"\)', page).group(1)) in ("Welcome.", "Tervetuloa.")
    async with site.socket(address) as ws:
        await ws.send("a" * 64)
        assert await closing(ws) == 4403


async def talk_topics(site, path, announcement):
    async with site.socket(path) as one, site.socket(path) as other:
        # Whoever gets back what it said follows the topic.
        assert await exchange(one, "I") == "I"
        await other.send("you")
        while await other.recv() != "you":
            """It may have joined before the first message was published."""
        assert await one.recv() == "you"
        loop = asyncio.get_event_loop()
        await loop.run_in_executor(None, site.get, path + announcement)
        assert [(await ws.recv()).split(": ")[1] for ws in (one, other)] == ["cake", "cake"]


async def talk_demo_echo(site):
    page = site.get("/")
    assert "Echo</span>(WebsocketView" in page and site.get("/static/sockets/echo.js")
    async with site.socket("/") as ws:
        assert await exchange(ws, "Hello") == "You wrote “Hello”."
        assert await exchange(ws, b"Hello") == b"HELLO"
    for message, code in (("bye", 1000), ("oops", 1011)):
        async with site.socket("/") as ws:
            await ws.send(message)
            assert await closing(ws) == code


async def talk_demo_chat(site):
    page = site.get("/chat/lobby/")
    since = re.search(r'data-since="(\w+-0)"', page).group(1)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page).group(1)
    assert 'data-name="Aino"' in site.post("/chat/lobby/", csrfmiddlewaretoken=token, name="Aino", room="lobby")
    # A position of this server's is told what came after it; one of another's comes out of the database.
    said = None
    for position in (since, since, "another-7"):
        async with site.socket("/chat/lobby/?after=0&since=" + position) as ws:
            first = [json.loads(await ws.recv()) for _ in range(3 if said and position == since else 2)]
            assert {"here": {"Aino": None}} in first
            if said is None:
                said = json.loads(await exchange(ws, json.dumps({"key": "1" * 32, "text": "Hello"})))
                assert (said["pk"], said["name"], said["text"]) == (1, "Aino", "Hello")
            elif position == since:
                assert said in first and {"missed": []} in first
            else:
                assert {"missed": [{name: value for name, value in said.items() if name != "position"}]} in first
    for nonsense in ('{"text": "Hello"}', '"Hello"', "[]"):
        async with site.socket("/chat/lobby/?after=nonsense") as ws:
            await ws.send(nonsense)
            assert await closing(ws) == 4400


async def talk_demo_dashboard(site):
    async with site.socket("/dashboard/") as one, site.socket("/dashboard/") as other:
        point = json.loads(await one.recv())
        while point["watching"] != 2:
            point = json.loads(await one.recv())
        assert json.loads(await other.recv())["watching"] == 2
        assert set(point) == {"time", "cpu", "late", "watching"}


async def talk_demo_form(site):
    assert "ws-connect" in site.get("/signup/") and site.get("/static/vendor/htmx-ext-ws-2.0.4/ws.min.js")
    async with site.socket("/signup/") as ws:
        verdict = await exchange(ws, json.dumps({"username": "Aino", "password": "123", "changed": "password"}))
        assert 'id="password-verdict" hx-swap-oob' in verdict
        assert ("Fine." in verdict, "entirely numeric" in verdict, "required" in verdict) == (True, True, False)


ECHO = Conversation(talk_echo, ["/echo/", 'You wrote "{}".'])
KAIKU = Conversation(talk_echo, ["/kaiku/", 'Kirjoitit "{}".'])
NAKYMA = Conversation(talk_echo, ["/nakyma/", 'Kirjoitit "{}".', "latin-1"])
CSRF = Conversation(talk_csrf, ["/vote/"])
AANESTYS = Conversation(talk_csrf, ["/aanesta/"])

#: For each file that serves sockets, how to talk with it.
CONVERSATIONS = {
    "echo/views.py": ECHO,
    "project/urls.py": ECHO,
    "project/asgi.py": ECHO,
    "echo/templates/echo/page.html": ECHO,
    "echo/functions.py": Conversation(talk_function, ["/shout/!/"]),
    "echo/room.py": Conversation(talk_room, ["/room/"]),
    "echo/protocols.py": Conversation(
        talk_protocols, ["/code/", "/total/", "/versions/", ["v1.total", "v2.total"], "total"]
    ),
    "echo/rooms.py": Conversation(talk_topics, ["/rooms/1/", "announce/?text=cake"]),
    "echo/limited.py": Conversation(talk_limits, ["/chat/"]),
    "echo/csrf.py": CSRF,
    "echo/templates/echo/vote.html": CSRF,
    "kaiku/nakyma.py": KAIKU,
    "projekti/urls.py": KAIKU,
    "kaiku/templates/kaiku/sivu.html": KAIKU,
    "kaiku/funktiot.py": Conversation(talk_function, ["/huuda/!/"]),
    "kaiku/huone.py": Conversation(talk_room, ["/huone/"]),
    "kaiku/protokollat.py": Conversation(
        talk_protocols, ["/koodi/", "/summa/", "/versiot/", ["v1.summa", "v2.summa"], "summa"]
    ),
    "kaiku/huoneet.py": Conversation(talk_topics, ["/huoneet/1/", "kuuluta/?teksti=cake"]),
    "kaiku/rajattu.py": Conversation(talk_limits, ["/juttelu/"]),
    "kaiku/csrf.py": AANESTYS,
    "kaiku/templates/kaiku/aanesta.html": AANESTYS,
    "sovellus/nakyma.py": NAKYMA,
    "sovellus/templates/sovellus/nakyma.html": NAKYMA,
}
#: The view that stands for a page as a whole.
FIRST_CONVERSATIONS = {"README.md": ECHO, "README.fi.md": KAIKU, "the promise": NAKYMA}


# Runners: one for each kind of block -------------------------------------------------------------------------


def run_settings(block, workshop):
    """The settings pass Django's checks, and the `runserver` they install is ours."""
    project = workshop.project(block.page)
    project.manage("check", "--fail-level", "WARNING")
    assert "--asgi" in project.manage("runserver", "--help")


def run_asgi(block, workshop):
    """The definition serves the page's first example."""
    project = workshop.project(block.page)
    file = project.path(block.file)
    before = file.read_text(encoding="utf-8")
    file.write_text(block.text, encoding="utf-8")
    try:
        with workshop.serve(block.page) as site:
            have(FIRST_CONVERSATIONS[block.page], site)
    finally:
        file.write_text(before, encoding="utf-8")


def run_views(block, workshop):
    """The views, or the page that opens a socket to them, take part in a conversation."""
    if block.file not in CONVERSATIONS:
        pytest.fail("nobody knows how to talk with {}: expected an entry in CONVERSATIONS".format(block))
    have(CONVERSATIONS[block.file], workshop.site(block.page))


def run_tests(block, workshop):
    """The tests pass, and there are some."""
    said = workshop.project(block.page).manage("test", "-v", "2")
    assert re.search(r"Ran [1-9]\d* tests?", said), said


def run_shell(block, workshop):
    """Each line is a command that somebody here knows how to try."""
    for line in block.text.splitlines():
        for pattern, attempt in COMMANDS:
            if re.match(pattern, line):
                attempt(line, block, workshop)
                break
        else:
            pytest.fail("nobody knows how to try `{}` of {}: expected a pattern in COMMANDS".format(line, block))


def run_nginx(block, workshop):
    """Nginx finds no fault with it, where there is an nginx."""
    require("nginx", on_path("nginx"), "apt-get install nginx")
    directory = workshop.directory / "nginx-{}".format(block.line)
    directory.mkdir()
    # The certificates are not ours to have; everything else is as it stands.
    text = re.sub(r"^.*ssl.*\n", "", block.text, flags=re.M)
    around = "pid {0}/pid;\nerror_log {0}/log;\nevents {{}}\nhttp {{\n{1}}}\n"
    (directory / "nginx.conf").write_text(around.format(directory, text), encoding="utf-8")
    done = subprocess.run(
        ["nginx", "-t", "-p", str(directory), "-c", str(directory / "nginx.conf")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout.decode()


def run_circus(block, workshop):
    """The command starts Uvicorn, with options that it has, on the application of the page."""
    project = workshop.project(block.page)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)
    program, application, *options = shlex.split(parser["watcher:" + project.name]["cmd"])
    assert program.endswith("/uvicorn") and application == project.name + ".asgi:application"
    assert "$(circus.sockets.{})".format(project.name) in options and "socket:" + project.name in parser
    known = project.python("-m", "uvicorn", "--help")
    assert all(option in known for option in options if option.startswith("--"))


#: In this order; the first that matches has the block.
RUNNERS = [
    ("python", r"/(settings|asetukset)\.py$", run_settings),
    ("python", r"/asgi\.py$", run_asgi),
    ("python", r"/tests\.py$", run_tests),
    ("python", r"^[^/]+/\w+\.py$", run_views),
    ("html", r"/templates/.+\.html$", run_views),
    ("bash", r"^$", run_shell),
    ("nginx", r"^/etc/nginx/", run_nginx),
    ("ini", r"^/etc/circus/", run_circus),
]


# Commands ----------------------------------------------------------------------------------------------------


def try_pip(line, block, workshop):
    """What is installed is this distribution, with extras that it has."""
    about = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    name, extra = re.match(r"([\w-]+)(?:\[(\w+)\])?$", shlex.split(line)[2]).groups()
    assert '\nname = "{}"\n'.format(name) in about
    assert extra is None or re.search(r"^{} = \[".format(extra), about, re.M)


def try_make(line, block, workshop):
    """There is such a target."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^{}:".format(line.split()[1]), makefile, re.M)


def try_demo(line, block, workshop):
    """There is such a target, and what it serves says what the page says of it."""
    try_make(line, block, workshop)
    directory = workshop.directory / "demo-{}-{}".format(len(workshop.projects), block.line)
    # A copy: the database and the key of whoever works here are left alone. There is one already where this is a second try.
    shutil.rmtree(str(directory), ignore_errors=True)
    shutil.copytree(str(REPOSITORY / "examples"), str(directory), ignore=shutil.ignore_patterns("db.*", ".secret-key"))
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=str(directory), env=environment(), timeout=TIMEOUT * 3, check=True)
    command = ["manage.py", "runserver", "127.0.0.1:{port}", "--noreload"]
    with serve(directory, command, workshop.log()) as site:
        for talk in (talk_demo_echo, talk_demo_chat, talk_demo_dashboard, talk_demo_form):
            have(Conversation(talk, []), site)


def try_runserver(line, block, workshop):
    """The command knows the flags; without any, it serves the page's first example."""
    from django.core.management import load_command_class

    arguments = shlex.split(line)[3:]
    load_command_class("pistoke", "runserver").create_parser("manage.py", "runserver").parse_args(arguments)
    if not arguments:
        command = ["manage.py", "runserver", "127.0.0.1:{port}", "--noreload"]
        with serve(workshop.project(block.page).directory, command, workshop.log()) as site:
            have(FIRST_CONVERSATIONS[block.page], site)


COMMANDS = [
    (r"pip install \S+$|pip install \"\S+\"$", try_pip),
    (r"make demo$", try_demo),
    (r"make \w+$", try_make),
    (r"python manage\.py runserver( |$)", try_runserver),
]


# The tests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_runs(block, workshop):
    runner_of(block, RUNNERS)(block, workshop)


def test_unknown_block_is_a_failure():
    for block in (Block("", 1, "python", "import this\n"), Block("", 1, "", "what?\n")):
        with pytest.raises(pytest.fail.Exception, match="nobody knows how to run"):
            runner_of(block, RUNNERS)
    with pytest.raises(pytest.fail.Exception, match="nobody knows how to talk"):
        run_views(Block("", 1, "python", "# new/views.py\n"), None)
    with pytest.raises(pytest.fail.Exception, match="nobody knows how to try"):
        run_shell(Block("", 1, "bash", "sudo reboot\n"), None)


def outline(page):
    """Return what two editions of a page have in common: the levels of headings, the kinds of blocks, the tables."""
    text = PAGES[page].read_text(encoding="utf-8")
    without_comments = re.sub(r"^```(\w+)\n.*?^```$", r"```\1", text, flags=re.M | re.S)
    return re.findall(r"^#+|^```\w+|^\|[-|]+\|$", without_comments, re.M)


def test_editions_have_the_same_outline():
    assert outline("README.md") == outline("README.fi.md")


def rows(page, pattern):
    """Return the cells of those table rows that begin with something in code that matches the pattern."""
    lines = re.findall(r"^\| `{}` \|.*\|$".format(pattern), PAGES[page].read_text(encoding="utf-8"), re.M)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


EDITIONS = ["README.md", "README.fi.md"]


@pytest.mark.parametrize("page", EDITIONS)
def test_settings_are_all_there(page):
    from pistoke.conf import DEFAULTS

    table = {cells[0].strip("`"): eval(cells[2].strip("`")) for cells in rows(page, r"PISTOKE_\w+")}
    assert table == DEFAULTS


@pytest.mark.parametrize("page", EDITIONS)
def test_checks_are_all_there(page):
    from pistoke import checks

    ids = {message.id for message in vars(checks).values() if isinstance(getattr(message, "id", None), str)}
    assert {cells[0].strip("`") for cells in rows(page, r"pistoke\.[EWI]\d+")} == ids


@pytest.mark.parametrize("page", EDITIONS)
def test_both_names_mean_the_same(page):
    table = rows(page, r"pistoke\.[a-z.]*[A-Za-z]\w+(?:\(.*\))?")
    pairs = [cells for cells in table if len(cells) == 2 and cells[1].startswith("`pistoke.")]
    assert len(pairs) == 24
    for english, finnish in pairs:
        first, *others = re.findall(r"`([\w.]+)", finnish)
        same = [first] + [first.rpartition(".")[0] + other for other in others]
        assert all(named(name) is named(re.match(r"`([\w.]+)", english).group(1)) for name in same)


def named(dotted):
    """Return what a dotted path names."""
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("page", EDITIONS + ["CONTRIBUTING.md", "RELEASING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for target in re.findall(r"\]\(([^):]+)\)", text):
        file, _, anchor = target.partition("#")
        assert not file or (REPOSITORY / file).exists(), target
        assert not anchor or anchor in map(anchor_of, re.findall(r"^#+ (.*)$", text, re.M)), target


def anchor_of(heading):
    """Return the anchor that a heading has."""
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
