"""The page on testing becomes a project, whose tests run: with `manage.py test`, with pytest, and in a browser."""
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from tests.parts import importable, on_path, require
from tests.test_pytest_plugin import install

require("the Django of the page", True, "", exists=sys.version_info >= (3, 10))

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "howto" / "testing.md"

SETTINGS = """
INSTALLED_APPS = ["chat", "pistoke.Pistoke"] + INSTALLED_APPS
MIDDLEWARE += ["pistoke.middleware.WebsocketMiddleware"]
DATABASES["default"]["NAME"] = ":memory:"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""

#: What a browser needs to be told where tests run as root.
ROOT = """
import sys
from selenium import webdriver
from django.core.management import execute_from_command_line

class Options(webdriver.ChromeOptions):
    def __init__(self):
        super().__init__()
        self.add_argument("--no-sandbox")
        self.add_argument("--disable-dev-shm-usage")

webdriver.ChromeOptions = Options
execute_from_command_line(sys.argv)
"""

Run = namedtuple("Run", "code said")


def blocks():
    """Return (language, text) of each block of the page."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def file_of(text):
    """Return the file that the first line of a block names."""
    return re.match(r"(?:#|<!--) (\S+/\S+)", text).group(1)


class Project:
    """The project of the page."""

    def __init__(self, directory):
        self.directory = directory
        self.run("-m", "django", "startproject", "project", ".")
        with (directory / "project" / "settings.py").open("a", encoding="utf-8") as settings:
            settings.write(SETTINGS)
        for language, text in blocks():
            if language in ("python", "html"):
                path = directory / file_of(text)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        (directory / "chat" / "__init__.py").touch()
        install(directory)
        (directory / "as_root.py").write_text(ROOT, encoding="utf-8")

    def run(self, *arguments):
        """Run Python in the project; return the exit code and what was said."""
        paths = [str(REPOSITORY / "src")]
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), DJANGO_SETTINGS_MODULE="project.settings", COLUMNS="200")
        env.pop("PYTEST_ADDOPTS", None)
        env["CHROMIUM"] = shutil.which("chromium") or ""
        done = subprocess.run(
            [sys.executable] + list(arguments), cwd=str(self.directory), env=env, timeout=100,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
        )  # fmt: skip
        return Run(done.returncode, done.stdout)

    def pytest(self, *arguments):
        """Run pytest in the project."""
        options = ["-q", "-p", "no:cacheprovider", "-o", "addopts="]
        return self.run("-m", "pytest", "--rootdir", ".", *(options + list(arguments)))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    require("pytest-asyncio", importable("pytest_asyncio"), "pip install pytest-asyncio")
    return Project(tmp_path_factory.mktemp("testing"))


def labels_for_unittest():
    names = [file_of(text)[: -len(".py")].replace("/", ".") for kind, text in blocks() if kind == "python"]
    return [name for name in names if re.search(r"\.(tests|test_async)$", name)]


def test_every_block_is_known():
    known = {
        "chat/models.py", "chat/views.py", "project/urls.py", "chat/tests.py", "chat/test_async.py", "chat/test_room.py",
        "chat/failing.py", "chat/templates/chat/room.html", "chat/test_selenium.py", "chat/test_playwright.py",
        "chat/test_live.py",
    }  # fmt: skip
    assert {file_of(text) for language, text in blocks() if language != "text"} == known


def test_with_the_runner_of_django(project):
    done = project.run("manage.py", "test", *labels_for_unittest())
    assert done.code == 0 and "Ran 7 tests" in done.said, done.said


def test_with_pytest(project):
    done = project.pytest("chat/tests.py", "chat/test_async.py", "chat/test_room.py", "chat/test_live.py")
    assert done.code == 0 and "11 passed" in done.said, done.said


@pytest.mark.parametrize("runner", ["django", "pytest"])
def test_failures_read_as_shown(project, runner):
    done = project.pytest("chat/failing.py") if runner == "pytest" else project.run("manage.py", "test", "chat.failing")
    said = done.said.replace(str(project.directory) + "/", "").replace("pistoke.testing.exceptions.", "")
    shown = [text for language, text in blocks() if language == "text"]
    assert done.code == 1 and len(shown) == 4
    for text in shown:
        assert unindented(text) in unindented(said), done.said


def unindented(text):
    """Return a text without what pytest and its like put before each line."""
    return re.sub(r"^(E )? *", "", text.strip(), flags=re.M)


def test_with_selenium(project):
    require("selenium", importable("selenium"), "pip install selenium")
    require("chromium", on_path("chromium", "chromedriver"), "apt-get install chromium chromium-driver")
    done = project.run("as_root.py", "test", "chat.test_selenium")
    assert done.code == 0 and "Ran 1 test" in done.said, done.said


def test_with_playwright(project):
    require("playwright", importable("playwright"), "pip install playwright")
    require("chromium", on_path("chromium"), "apt-get install chromium")
    done = project.run("manage.py", "test", "chat.test_playwright")
    assert done.code == 0 and "Ran 1 test" in done.said, done.said
