"""The code on the pages in docs/ is valid, names what there is, and does what is said of it where that can be tried here."""
import ast
import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from django.test import override_settings

from pistoke.handler import WebsocketHandler
from pistoke.pubsub import aposition, apublish
from pistoke.pubsub.broker import brokers
from tests.parts import importable

from .asgi import Server, urls

DOCS = Path(__file__).resolve().parent.parent / "docs"
#: Not what is made of the pages, nor those that are tested where they are kept (`docs/project/` shows them on the site).
PAGES = sorted(
    path.relative_to(DOCS).as_posix()
    for path in DOCS.rglob("*.md")
    if path.relative_to(DOCS).parts[0] not in ("_build", ".venv", "project")
)
#: Pages show the Python of today.
MODERN = pytest.mark.skipif(sys.version_info < (3, 11), reason="pages show Python 3.11")
#: What brokers need that can be made without a service.
LIBRARIES = {"redis": "redis", "channels": "channels"}


def blocks(page, language):
    """Return the blocks of code of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [block for kind, block in re.findall(r"^```([^\n`]*)\n(.*?)^```$", text, re.M | re.S) if kind == language]


def parsed(block):
    """Return the syntax tree of a block, which may await outside of a function."""
    body = "".join("    " + line for line in block.splitlines(True))
    return ast.parse("async def block():\n" + body)


def python_blocks():
    return [(page, number) for page in PAGES for number, _ in enumerate(blocks(page, "python"))]


@MODERN
@pytest.mark.parametrize("page, number", python_blocks())
def test_python_is_valid_and_names_what_there_is(page, number):
    for node in ast.walk(parsed(blocks(page, "python")[number])):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "pistoke":
            module = importlib.import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names)


@pytest.mark.parametrize("page", PAGES)
def test_json_is_valid(page):
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", PAGES)
def test_brokers_can_be_made_of_the_settings(page):
    for block in blocks(page, "python"):
        if not re.match(r"[A-Z_]+ = \{$", block, re.M) or "PISTOKE_PUBSUB" not in block:
            continue
        settings = {}
        exec(block, settings)
        del settings["__builtins__"]
        kind = settings["PISTOKE_PUBSUB"]["default"]["BACKEND"].split(".")[2]
        if kind in LIBRARIES and importable(LIBRARIES[kind]):
            with override_settings(**settings):
                brokers["default"].close()


async def test_view_that_takes_a_position_replays_what_was_missed():
    names = {}
    exec(next(block for block in blocks("pubsub.md", "python") if "with_position" in block), names)

    async def visit(since, expected):
        server = Server("/view/?since={}".format(since))
        task = server.start(WebsocketHandler())
        events = await server.until(1 + len(expected))
        server.leave()
        await task
        assert [json.loads(event["text"]) for event in events[1 : 1 + len(expected)]] == expected

    async def view(request):
        return await names["room"](request, "lobby")

    with override_settings(PISTOKE_PUBSUB={"default": {"HISTORY": {"room.*": {"size": 9}}}}), urls(view=view):
        begin = await aposition("room.lobby")
        place = await apublish("room.lobby", {"a": 1})
        await visit(begin, [{"data": {"a": 1}, "position": str(place)}])
        await visit("nonsense", [{"reload": True}])
        await brokers["default"].aclose()
