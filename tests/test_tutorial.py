"""The tutorial works as it stands: part by part it becomes a project, which is served and talked with.

Each block goes into the file that its first line names, and each command is run, in the order of the page.
"""

import ast
import asyncio
import contextlib
import json
import re
import shlex
import shutil
import sys

import django
import pytest

from tests.browser.scenes import another_tab, find, texts, wait_for
from tests.pages import REPOSITORY, TIMEOUT, UVICORN, Project, blocks_of, closing, exchange, serve, socket_in
from tests.parts import importable, on_path, require

PAGE = REPOSITORY / "docs" / "tutorial.md"
PASSWORD = "correct horse battery"

#: What only concerns the shell of a reader.
OF_THE_SHELL = ["mkdir chatter", "cd chatter", "python -m venv .venv", ". .venv/bin/activate"]


# The project, part by part -------------------------------------------------------------------------------------------


def blocks_of_parts():
    """Return the blocks of each part by its number."""
    text = PAGE.read_text(encoding="utf-8")
    starts = [text[: match.start()].count("\n") + 1 for match in re.finditer(r"^## \d\. ", text, re.M)]
    parts = {number: [] for number in range(1, len(starts) + 1)}
    for block in blocks_of("tutorial", PAGE):
        parts[sum(start < block.line for start in starts)].append(block)
    return parts


class Tutorial(Project):
    """The project as it is after a part."""

    def __init__(self, directory):
        super().__init__(directory)
        # What the commands have said.
        self.said = ""

    def follow(self, blocks):
        """Do what a part says."""
        for block in blocks:
            if block.language == "bash":
                for line in block.text.splitlines():
                    self.run(line)
            else:
                self.write(block)

    def write(self, block):
        """Write a block into its file, as the whole of it; in the settings it stands in place of what has the same names."""
        assert block.file, "expected a block that names its file or is for the terminal, got {}".format(block)
        file = self.path(block.file)
        if block.file.endswith("/settings.py"):
            file.write_text(with_settings(file.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")

    def run(self, line):
        """Run a command of the terminal."""
        program, *arguments = shlex.split(line)
        if line in OF_THE_SHELL or arguments == ["manage.py", "runserver"]:
            # The tests serve it, and have no other environment to enter.
            return
        if program == "pip":
            assert line == 'pip install "django-pistoke[runserver]"'
        elif program == "django-admin":
            self.python("-m", "django", *arguments)
        elif arguments[1] == "createsuperuser":
            answers = ["--noinput", "--email", "somebody@example.org"]
            self.manage(*arguments[1:], *answers, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        else:
            assert (program, arguments[0]) == ("python", "manage.py"), line
            self.said += self.manage(*arguments[1:])

    @contextlib.contextmanager
    def serve(self, command=None, port=None):
        """Serve it with Uvicorn."""
        command = command or [part.format(project="project") for part in UVICORN]
        with serve(self.directory, command, self.directory / "log", port) as site:
            yield site
        log = (self.directory / "log").read_text(encoding="utf-8")
        assert "Traceback" not in log and "ERROR" not in log, log


def with_settings(before, text):
    """Return settings with those of a block: each in place of the one that has its name, or at the end."""
    for node in ast.parse(text).body:
        new = "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])
        lines, name = before.splitlines(), node.targets[0].id
        for old in ast.parse(before).body:
            if isinstance(old, ast.Assign) and old.targets[0].id == name:
                lines[old.lineno - 1 : old.end_lineno] = [new]
                break
        else:
            lines.append(new)
        before = "\n".join(lines) + "\n"
    return before


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """Return a function that gives the project as it is after a part."""
    require("Django 5", django.VERSION >= (5,), "pip install 'Django>=5'", exists=sys.version_info >= (3, 10))
    projects, parts = {}, blocks_of_parts()

    def project_after(part):
        if part not in projects:
            directory = tmp_path_factory.mktemp("tutorial") / "chatter"
            if part == 1:
                directory.mkdir()
            else:
                shutil.copytree(str(project_after(part - 1).directory), str(directory))
            project = Tutorial(directory)
            project.follow(parts[part])
            projects[part] = project
        return projects[part]

    return project_after


def run(coroutine):
    """Run a conversation to its end, within the time-out."""
    return asyncio.run(asyncio.wait_for(coroutine, TIMEOUT))


# What is said --------------------------------------------------------------------------------------------------------


def log_in(site, name):
    """Log in as a user, and return the page that this leads to."""
    return site.post("/login/", csrfmiddlewaretoken=token_in(site.get("/login/")), username=name, password=PASSWORD)


def token_in(page):
    """Return the CSRF token of a form."""
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page).group(1)


async def hear(ws, expected):
    """Read until a message comes: others may have come to a topic before."""
    while True:
        message = await ws.recv()
        if message == expected:
            return


async def say_object(ws, text):
    """Say something, and return the object that comes back."""
    return json.loads(await exchange(ws, text))


# The parts -----------------------------------------------------------------------------------------------------------


class TestFirstSocket:
    def test_development_server_echoes(self, after):
        project = after(1)
        with project.serve(["manage.py", "runserver", "127.0.0.1:{port}", "--noreload"]) as site:
            run(self.echo(site))
        log = (project.directory / "log").read_text(encoding="utf-8")
        assert "Starting ASGI/Uvicorn development server" in log
        assert "unapplied" not in log

    def test_application_echoes(self, after):
        with after(1).serve() as site:
            run(self.echo(site))

    async def echo(self, site):
        async with site.socket(socket_in(site.get("/"), site, "/")) as ws:
            assert await exchange(ws, "Hello") == "You wrote: Hello"
            assert await exchange(ws, "äö€") == "You wrote: äö€"

    def test_nothing_is_to_be_mended(self, after):
        assert "no issues" in after(5).manage("check", "--fail-level", "WARNING")


class TestRoom:
    def test_two_hear_each_other_and_another_room_does_not(self, after):
        with after(2).serve() as site:
            run(self.talk(site))

    async def talk(self, site):
        assert "<h1>lobby</h1>" in site.get("/")
        path = "/chat/lobby/"
        address = socket_in(site.get(path), site, path)
        async with site.socket(address) as one, site.socket(address) as other, site.socket("/chat/kitchen/") as kitchen:
            # Whoever hears itself follows its room.
            for ws, text in ((one, "I"), (other, "you"), (kitchen, "they")):
                await ws.send(text)
                await hear(ws, text)
            await one.send("Is there anybody?")
            await hear(other, "Is there anybody?")
            assert await exchange(kitchen, "No.") == "No."

    def test_pages_of_two_tabs_talk(self, after, browser):
        with after(2).serve() as site:
            browser.get(site.address + "/")
            with another_tab(browser) as switch:
                browser.get(site.address + "/chat/lobby/")
                wait_for(browser, "socket.readyState === 1")
                say(browser, "Hello")
                wait_for_log(browser, "Hello")
                switch()
                say(browser, "<b>Hello</b> to you")
                wait_for_log(browser, "Hello", "<b>Hello</b> to you")
                switch()
                wait_for_log(browser, "Hello", "<b>Hello</b> to you")


class TestLogIn:
    def test_log_in_names_and_log_out_closes(self, after):
        with after(3).serve() as aino:
            run(self.anonymous(aino))
            assert "aino <button>Log out" in log_in(aino, "aino")
            run(self.logged_in(aino))

    async def anonymous(self, site):
        assert "<title>Log in" in site.get("/chat/lobby/")
        async with site.socket("/chat/lobby/") as ws:
            assert await closing(ws) == 4403

    async def logged_in(self, site):
        loop = asyncio.get_running_loop()
        page = site.get("/chat/lobby/")
        otso = type(site)(site.port)
        log_in(otso, "otso")
        lobby, kitchen = "/chat/lobby/", "/chat/kitchen/"
        async with site.socket(lobby) as one, site.socket(kitchen) as two, otso.socket(lobby) as other:
            assert await say_object(one, "Hello") == {"name": "aino", "text": "Hello"}
            assert await say_object(two, "Hello") == {"name": "aino", "text": "Hello"}
            await loop.run_in_executor(None, lambda: site.post("/logout/", csrfmiddlewaretoken=token_in(page)))
            assert [await closing(one), await closing(two)] == [4401, 4401]
            await other.send("Gone?")
            await hear(other, json.dumps({"name": "otso", "text": "Gone?"}, separators=(",", ":")))
        assert "<title>Log in" in site.get("/chat/lobby/")

    @pytest.mark.parametrize("name, page", [("dispatch", "<title>Log in"), ("websocket", "<h1>lobby")])
    def test_decorator_does_the_same(self, after, tmp_path, name, page):
        shutil.copytree(str(after(3).directory), str(tmp_path / "chatter"))
        project = Tutorial(tmp_path / "chatter")
        views = project.path("chat/views.py")
        project.replace(views, "LoginRequiredMixin, ", "")
        project.replace(views, "class Room", '@method_decorator(login_required, name="{}")\nclass Room'.format(name))
        project.replace(views, "auth.mixins import LoginRequiredMixin", "auth.decorators import login_required")
        imported = "from django.utils.decorators import method_decorator"
        project.replace(views, "from pistoke.pubsub", imported + "\nfrom pistoke.pubsub")
        with project.serve() as site:
            assert page in site.get("/chat/lobby/")
            run(self.refused(site))

    async def refused(self, site):
        async with site.socket("/chat/lobby/") as ws:
            assert await closing(ws) == 4403

    def test_page_whose_session_ends_goes_to_the_log_in(self, after, browser):
        with after(3).serve() as site:
            log_in_at(browser, site, "aino")
            with another_tab(browser) as switch:
                browser.get(site.address + "/chat/lobby/")
                wait_for(browser, "socket.readyState === 1")
                switch()
                find(browser, "form[action='/logout/'] button").click()
                wait_for(browser, "document.title === 'Log in'")
                switch()
                wait_for(browser, "document.title === 'Log in'")


class TestHistory:
    def test_what_was_missed_comes_once(self, after):
        with after(4).serve() as site:
            log_in(site, "aino")
            run(self.miss_some(site))

    async def miss_some(self, site):
        before = re.search(r'data-since="([^"]+)"', site.get("/chat/missed/")).group(1)
        async with site.socket("/chat/missed/") as ws:
            said = [await say_object(ws, text) for text in ("one", "two", "three")]
        for since, missed in ((before, said), (said[0]["position"], said[1:])):
            async with site.socket("/chat/missed/?since=" + since) as ws:
                assert [json.loads(await ws.recv()) for _ in missed] == missed
        page = site.get("/chat/missed/")
        assert re.findall(r"aino: (\w+)", page) == ["one", "two", "three"]
        async with site.socket("/chat/missed/?since=of-another-server") as ws:
            assert await closing(ws) == 4410

    def test_page_comes_back_and_has_missed_nothing(self, after, browser):
        with after(4).serve() as site, another_tab(browser) as switch:
            for _ in range(2):
                log_in_at(browser, site, "otso")
                wait_until_connected(browser)
                switch()
            browser.execute_script("pause = 4000; socket.close(); notLoadedAnew = true")
            wait_for(browser, "document.querySelector('#say button').disabled")
            switch()
            say(browser, "one")
            wait_for_log(browser, "otso: one")
            switch()
            assert texts(browser, "li") == []
            wait_for_log(browser, "otso: one")
            # From the history of the topic.
            assert browser.execute_script("return notLoadedAnew")

    def test_pages_survive_a_restart_of_the_server(self, after, browser):
        with another_tab(browser) as switch:
            with after(4).serve() as site:
                for _ in range(2):
                    log_in_at(browser, site, "aino")
                    browser.get(site.address + "/chat/restarted/")
                    wait_until_connected(browser)
                    switch()
                say(browser, "before")
                wait_for_log(browser, "aino: before")
            for _ in range(2):
                wait_for(browser, "document.querySelector('#say button').disabled")
                switch()
            with after(4).serve(port=site.port):
                for _ in range(2):
                    wait_until_connected(browser)
                    switch()
                say(browser, "after")
                for _ in range(2):
                    wait_for_log(browser, "aino: before", "aino: after")
                    switch()


class TestTests:
    def test_they_pass(self, after):
        assert re.search(r"Ran 5 tests.*OK", after(5).said, re.S), after(5).said


# A browser -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Return a WebDriver of Chromium."""
    from tests.browser.conftest import start_chromium

    require("selenium", importable("selenium"), "pip install selenium", exists=sys.version_info >= (3, 7))
    require("chromium", on_path("chromium", "chromedriver"), "apt-get install chromium chromium-driver")
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture(autouse=True)
def clean(request):
    """Leave no cookies and no page to the next test that has the browser; expect no page to complain of itself."""
    yield
    if "browser" not in request.fixturenames:
        return
    driver = request.getfixturevalue("browser")
    complaints = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    driver.delete_all_cookies()
    driver.get("about:blank")
    # A server that is away, and a browser that asks for an icon.
    known = ("ERR_CONNECTION_REFUSED", "WebSocket", "favicon.ico")
    assert [text for text in complaints if not any(words in text for words in known)] == []


def log_in_at(browser, site, name):
    """Show the first page, logged in."""
    browser.get(site.address + "/")
    if browser.title == "Log in":
        find(browser, "[name=username]").send_keys(name)
        find(browser, "[name=password]").send_keys(PASSWORD + "\n")
    wait_for(browser, "document.title === 'lobby'")


def wait_until_connected(browser):
    """Wait until the page of part 4 has its socket."""
    wait_for(browser, "document.querySelector('#say button') && !document.querySelector('#say button').disabled")


def say(browser, text):
    """Write something into the page."""
    find(browser, "[name=text]").send_keys(text + "\n")


def wait_for_log(browser, *expected):
    """Wait until exactly this is in the list of what was said."""
    script = "JSON.stringify([...document.querySelectorAll('li')].map((item) => item.textContent)) === arguments[0]"
    wait_for(browser, script, json.dumps(expected, separators=(",", ":")))
