"""The code on the how-to pages runs as it stands there.

Each page becomes a Django project. A block whose first line names a file (`# shop/views.py`) is that file; of several for
the same file, each is added to those before it. What the page promises is asked by Django tests, which are kept in
`tests/howto/`, one module for each page, with the URL patterns that the page leaves to its reader. They have to run each
line of the page's Python: a line that nobody has run is a failure, and so is a block of which nobody here knows what to do
with it.
"""
import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import django
import pytest

from tests.pages import runner_of
from tests.parts import importable, on_path, require

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
CHECKS = REPOSITORY / "tests" / "howto"
PAGES = sorted(path.stem for path in CHECKS.glob("*.py") if path.stem not in ("__init__", "run", "site_settings"))
TIMEOUT = 60  # seconds for a whole page

#: What a first line says that names a file, and the languages that say it so.
NAMED = re.compile(r"(?:#|//|<!--)\s*([\w-]+(?:/[\w.-]+)+)\s*(?:-->)?\s*\n")


class Block(namedtuple("Block", "page line language text")):
    """A fenced block of code: the page and the line it is on, its language, and the text as it stands."""

    @property
    def file(self):
        """The file that the first line names, or an empty string."""
        named = NAMED.match(self.text)
        return named.group(1) if named else ""

    def __str__(self):
        return "{}:{} {}".format(self.page, self.line, self.file or self.language)


def path_of(page):
    return DOCS / "howto" / (page + ".md")


def blocks_of(page):
    """Yield the blocks of a page; indented fences, and those without a language, count too."""
    text = path_of(page).read_text(encoding="utf-8")
    for match in re.finditer(r"^[ ]*```(\S*)\n(.*?)^[ ]*```[ ]*$", text, re.M | re.S):
        yield Block(page, text[: match.start()].count("\n") + 1, match.group(1), match.group(2))


# Python and templates: the project of the page ---------------------------------------------------------------


def make_project(page, directory):
    """Write what a page says, and what asks it, into a directory."""
    for block in blocks_of(page):
        if block.file:
            file = directory / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as opened:
                opened.write(block.text + "\n")
    for app in directory.iterdir():
        (app / "__init__.py").touch()
    own = directory / "project" / "settings.py"
    said = own.read_text(encoding="utf-8") if own.exists() else ""
    own.parent.mkdir(exist_ok=True)
    before, after = (CHECKS / "site_settings.py").read_text(encoding="utf-8").split("# THE PAGE\n")
    own.write_text(before + said + after, encoding="utf-8")
    (own.parent / "__init__.py").touch()
    (directory / "checks").mkdir()
    (directory / "checks" / "__init__.py").touch()
    shutil.copy(str(CHECKS / (page + ".py")), str(directory / "checks" / "tests.py"))
    shutil.copy(str(CHECKS / "run.py"), str(directory))


def environment(page):
    """Return the environment of the project: no coverage but its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    paths = [str(REPOSITORY / "src")]
    return dict(env, PYTHONPATH=os.pathsep.join(paths), DJANGO_SETTINGS_MODULE="project.settings", PAGE=str(path_of(page)))


def require_libraries(page):
    """Skip where the Python or the Django is older than what the pages show, or a library is missing."""
    is_modern = sys.version_info >= (3, 11) and django.VERSION >= (5, 2)
    require("Python 3.11 with Django 5.2", is_modern, "", exists=is_modern)
    require("coverage", importable("coverage"), "pip install coverage")
    for library in NEEDS.get(page, ()):
        require(library, importable(library), "pip install {}".format(library))


#: The libraries that pages need besides.
NEEDS = {"topics": ("redis", "psycopg"), "debugging": ("uvicorn", "websockets")}


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page, tmp_path):
    require_libraries(page)
    make_project(page, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "run.py"],
        cwd=str(tmp_path),
        env=environment(page),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said
    assert re.search(r"Ran [1-9]\d* tests?", said), said


# Blocks in other languages -----------------------------------------------------------------------------------


def run_in_project(block, browser):
    """The project of the page has the file, and the page's own test runs it."""


def parse_script(block, browser):
    """A browser can parse the script."""
    browser.parse(block.text)


def parse_template(block, browser):
    """A browser can parse the scripts of a template, whose own tags the page's own test renders."""
    for script in re.findall(r"<script>(.*?)</script>", block.text, re.S):
        browser.parse(re.sub(r"\{\{.*?\}\}", "0", re.sub(r"\{%.*?%\}", "", script)))


def parse_json(block, browser):
    json.loads(block.text)


#: How the syntax tree calls a string, by the version of Python.
STRINGS = (ast.Constant,) if sys.version_info >= (3, 8) else (ast.Str,)


def try_commands(block, browser):
    """Each line is a command that the page's own test runs."""
    module = ast.parse((CHECKS / (block.page + ".py")).read_text(encoding="utf-8"))
    known = {ast.literal_eval(node) for node in ast.walk(module) if isinstance(node, STRINGS)}
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        assert line in known, "nobody knows how to try `{}` of {}".format(line, block)
        assert shlex.split(line)


#: In this order; the first that matches has the block.
RUNNERS = [
    ("python", r"^[a-z_]+/[\w/]+\.py$", run_in_project),
    ("html", r"/templates/.+\.html$", parse_template),
    ("js", r"^(|[a-z_]+/static/.+\.js)$", parse_script),
    ("json", r"^$", parse_json),
    ("bash", r"^$", try_commands),
]


class Browser:
    """A Chromium that parses scripts."""

    def __init__(self, directory):
        self.directory = directory
        self.errors = None

    def parse(self, script):
        """Fail where a script is none."""
        if self.errors is None:
            self.errors = self.parse_all()
        assert script in self.errors, "the script was not among those of the pages"
        assert not self.errors[script]

    def parse_all(self):
        """Return what a browser says of each script of the pages: nothing, or an error."""
        scripts = self.scripts()
        file = self.directory / "page.html"
        file.write_text(PARSING % json.dumps(scripts).replace("<", "\\u003c"), encoding="utf-8")
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-dev-shm-usage"]
            + ["--user-data-dir={}".format(self.directory / "profile"), "--dump-dom", file.as_uri()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
        said = re.search(r"<body>(\[.*\])</body>", done.stdout.decode(), re.S)
        assert said, done.stdout
        return dict(zip(scripts, json.loads(said.group(1))))

    @staticmethod
    def scripts():
        """Return all scripts of all pages."""
        found = Found()
        for page in PAGES:
            for block in blocks_of(page):
                if block.language in ("js", "html"):
                    runner_of(block, RUNNERS)(block, found)
        return found


class Found(list):
    """Scripts that were found."""

    parse = list.append


#: A page that says what is wrong with each script. Only letters are safe in what a page says of itself.
PARSING = """<!doctype html><meta charset="utf-8"><body><script>
document.body.textContent = JSON.stringify(%s.map((script) => {
  try { new Function(script); return ""; } catch (error) { return String(error).replace(/[<>&]/g, "?"); }
}));
</script></body>"""


@pytest.fixture(scope="session")
def parser(tmp_path_factory):
    """Return a browser that parses scripts; it is started when the first is parsed."""
    require("chromium", on_path("chromium"), "apt-get install chromium")
    return Browser(tmp_path_factory.mktemp("chromium"))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_is_known(block, request):
    run = runner_of(block, RUNNERS)
    run(block, request.getfixturevalue("parser") if run in (parse_script, parse_template) else None)


def test_unknown_block_is_a_failure():
    for block in (Block("", 1, "python", "import this\n"), Block("", 1, "", "what?\n"), Block("", 1, "text", "what?\n")):
        with pytest.raises(pytest.fail.Exception, match="nobody knows how to run"):
            runner_of(block, RUNNERS)
    with pytest.raises(AssertionError, match="nobody knows how to try"):
        try_commands(Block("json", 1, "bash", "sudo reboot\n"), None)


def test_bad_script_is_a_failure(tmp_path):
    require("chromium", on_path("chromium"), "apt-get install chromium")
    browser = Browser(tmp_path)
    browser.scripts = lambda: ["const = 1;", "const one = 1;"]
    browser.parse("const one = 1;")
    with pytest.raises(AssertionError, match="SyntaxError"):
        browser.parse("const = 1;")


# Prose -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_page_is_short_and_has_one_title(page):
    text = path_of(page).read_text(encoding="utf-8")
    assert len(re.findall(r"^# .+$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)) == 1
    assert text.startswith("# ")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", path_of(page).read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^):]+)\)", text):
        file, _, anchor = target.partition("#")
        linked = (path_of(page).parent / file).resolve() if file else path_of(page)
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), target


def anchors_of(path):
    """Return the anchors of the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
