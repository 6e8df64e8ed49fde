"""The pages of the site lead somewhere, and what they list is what there is. (`make docs` builds it, warnings as errors.)"""
import ast
import importlib
import re
from pathlib import Path

import pytest
from django.core.checks.registry import registry
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand
from django.test import override_settings
from django.utils.module_loading import import_string

from pistoke import checks, connection, protocol
from pistoke.conf import DEFAULTS
from pistoke.management.commands.asyncapi import Command as Asyncapi
from pistoke.management.commands.runserver import Command as Runserver
from pistoke.pubsub.broker import brokers

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "pistoke"
#: What is not written but made.
MADE = ("_build", ".venv")
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if not set(MADE) & set(path.parts)]
OTHERS = [ROOT / name for name in ("README.md", "README.fi.md", "CONTRIBUTING.md", "RELEASING.md", "CHANGELOG.md")]
OTHERS += [ROOT / "benchmarks" / "README.md"]
FINNISH_MODULES = [
    path.stem for path in SOURCE.glob("*.py") if path.read_text(encoding="utf-8").startswith('"""Finnish names of ')
] + ["asetukset"]


def name_of(path):
    """Return what a page is called in the list of tests."""
    return path.relative_to(ROOT).as_posix()


def text_of(path):
    """Return the text of a page without its blocks of code."""
    return re.sub(r"^(```+)[^\n]*\n.*?^\1$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def sections(path, pattern):
    """Return the sections of a page whose headings match, by the heading: their text up to the next heading."""
    found = re.findall(r"^#+ (.*?)\n(.*?)(?=^#|\Z)", text_of(path), re.M | re.S)
    return {heading.strip("`"): text for heading, text in found if re.match(pattern, heading.strip("`"))}


def rows(path):
    """Return the cells of all rows of tables, but for the rules below their heads."""
    lines = [line for line in text_of(path).splitlines() if line.startswith("|") and not re.match(r"\|[-|]+\|$", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# Links ---------------------------------------------------------------------------------------------------------------


def anchors(path):
    """Return the anchors of a page: those of a repository's view, and that of a check, which the site makes."""
    found, seen = set(), {}
    for heading in re.findall(r"^#+ (.*)$", text_of(path), re.M):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        for plain in {heading, re.sub(r"^pistoke\.([EWI]\d+)$", r"pistoke-\1", heading)}:
            anchor = re.sub(r"[^\w -]", "", plain).strip().lower().replace(" ", "-")
            found.add(anchor + ("-{}".format(seen[anchor]) if anchor in seen else ""))
            seen[anchor] = seen.get(anchor, 0) + 1
    return found


@pytest.mark.parametrize("path", PAGES + OTHERS, ids=name_of)
def test_links_and_anchors_lead_somewhere(path):
    for target in re.findall(r"\]\(([^):\s]+)\)", text_of(path)):
        file, _, anchor = target.partition("#")
        leads_to = (path.parent / file).resolve() if file else path
        assert leads_to.exists(), target
        assert not anchor or leads_to.suffix != ".md" or anchor in anchors(leads_to), target


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_begins_with_its_one_heading(path):
    if path.parent.name == "project":
        # Of these each shows a page that is kept elsewhere.
        return
    headings = re.findall(r"^(#+) ", text_of(path), re.M)
    assert headings[0] == "#"
    assert headings.count("#") == 1


def test_conf_knows_where_the_pages_are_that_are_kept_elsewhere():
    conf = (DOCS / "conf.py").read_text(encoding="utf-8")
    elsewhere = ast.literal_eval(re.search(r"^ELSEWHERE = (\{.*?^\})", conf, re.M | re.S).group(1))
    assert {DOCS / page for page in elsewhere.values()} == set((DOCS / "project").glob("*.md"))
    for file, page in elsewhere.items():
        assert (ROOT / file).exists()
        assert "/" + file in (DOCS / page).read_text(encoding="utf-8")


# Tables --------------------------------------------------------------------------------------------------------------


def test_settings_are_those_there_are():
    found = sections(DOCS / "reference" / "settings.md", "PISTOKE_")
    defaults = {name: re.search(r"^Default `([^`]*)`", text, re.M).group(1) for name, text in found.items()}
    assert {name: eval(default) for name, default in defaults.items()} == DEFAULTS


def test_keys_of_a_broker_are_those_it_takes():
    table = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(DOCS / "reference" / "settings.md")}
    del table["key"]
    with override_settings(PISTOKE_PUBSUB={"default": {"NAME": 1}}):
        with pytest.raises(ImproperlyConfigured) as caught:
            brokers["default"]
    expected = re.search(r"expected (.*) in PISTOKE_PUBSUB", str(caught.value)).group(1)
    assert set(re.findall(r"[A-Z]+", expected)) == set(table)
    with override_settings(PISTOKE_PUBSUB={"default": {}}):
        broker = brokers["default"]
        assert type(broker) is import_string(eval(table["BACKEND"]))
        assert [broker.location, broker.options] == [eval(table["LOCATION"]), eval(table["OPTIONS"])]


def messages():
    """Return the messages of all checks by their ids."""
    return {
        message.id: message for message in vars(checks).values() if str(getattr(message, "id", "")).startswith("pistoke.")
    }


def test_checks_are_those_there_are():
    assert set(sections(DOCS / "reference" / "checks.md", r"pistoke\.[EWI]")) == set(messages())


def test_checks_at_deployment_are_said_to_be():
    found = sections(DOCS / "reference" / "checks.md", r"pistoke\.[EWI]")
    said = {name for name, text in found.items() if "With `--deploy`." in text}
    run = [check for check in registry.deployment_checks if check.__module__.startswith("pistoke.checks.")]
    names = {name for check in run for name in check.__code__.co_names}
    assert said == {"pistoke." + name for name in names if "pistoke." + name in messages()}


def numbers_in_source():
    """Return the whole numbers in the source that can only be close codes."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # Before Python 3.8 it is a Num, with an n.
            number = getattr(node, "value", getattr(node, "n", None))
            if type(number) is int and (1000 < number < 1016 or 4000 < number < 4999):
                found.add(number)
    # The ends of ranges; a page of memory; the digits of Python's longest number.
    return found - {1003, 1014, 4600, 4096, 4300}


def codes_of(*headings):
    """Return the close codes that stand in the tables of sections."""
    found = sections(DOCS / "reference" / "close-codes.md", "|".join(headings))
    return {int(code) for text in found.values() for code in re.findall(r"^\| `(\d+)` \|", text, re.M)}


def test_close_codes_are_those_in_the_source():
    page = codes_of("Sent by this package", "Seen by a view")
    named = {value for name, value in vars(connection).items() if name.isupper() and isinstance(value, int)}
    assert named - {connection.MAX_REASON_BYTES} <= page
    assert numbers_in_source() <= page
    statuses = {4000 + status for _, status in protocol.STATUSES} | {4503}
    assert page == numbers_in_source() | statuses | {connection.NORMAL}


def flags(command):
    """Return the flags of a command."""
    parser = command.create_parser("manage.py", "command")
    return {flag for action in parser._actions for flag in action.option_strings}


def listed_flags(command):
    """Return the flags in the table of a command."""
    table = sections(DOCS / "reference" / "commands.md", command + "$")[command]
    return {flag for cell in re.findall(r"^\|([^|]*)", table, re.M) for flag in re.findall(r"`(--?[\w-]+)`", cell)}


def test_flags_of_runserver_are_those_it_has():
    underneath = Runserver.__mro__[1]
    assert flags(Runserver()) - flags(underneath()) <= listed_flags("runserver") <= flags(Runserver())


def test_flags_of_asyncapi_are_those_it_has():
    assert listed_flags("asyncapi") == flags(Asyncapi()) - flags(BaseCommand())


def test_fixtures_are_those_of_the_plugin():
    source = (SOURCE / "pytest_plugin.py").read_text(encoding="utf-8")
    fixtures = set(re.findall(r"^@pytest\.fixture.*\ndef (\w+)", source, re.M))
    assert {cells[0].strip("`") for cells in rows(DOCS / "reference" / "testing.md")} - {"fixture"} == fixtures


# Finnish -------------------------------------------------------------------------------------------------------------


def named(dotted):
    """Return what a dotted path names: a module, or something in one, or in a class of it."""
    try:
        return importlib.import_module(dotted)
    except ImportError:
        owner, _, name = dotted.rpartition(".")
        return getattr(named(owner), name)


def finnish_names():
    """Return pairs of dotted paths: the Finnish name, and what it is."""
    table = [[re.findall(r"`(pistoke\.[\w.]+)`", cell) for cell in cells] for cells in rows(DOCS / "finnish.md")]
    return [(cells[0][0], cells[1][0]) for cells in table if len(cells) == 2 and all(cells)]


def test_finnish_names_are_the_same_objects():
    for finnish, english in finnish_names():
        assert named(finnish) is named(english), finnish


def test_finnish_names_are_all_there():
    assert len(FINNISH_MODULES) == 9
    page = text_of(DOCS / "finnish.md")
    for module in FINNISH_MODULES:
        assert "`pistoke.{}`".format(module) in page
        for name in getattr(named("pistoke." + module), "__all__", ()):
            assert "`pistoke.{}.{}`".format(module, name) in page


# Generated reference -------------------------------------------------------------------------------------------------

PUBLIC = ("pistoke", "pistoke.exceptions", "pistoke.middleware", "pistoke.pubsub", "pistoke.testing", "pistoke.typed")


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_in_the_reference(module):
    directives = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    whole = set(re.findall(r"automodule:: (\S+)\n   :members:\n", directives))
    single = set(re.findall(r"auto\w+:: pistoke\.(?:\w+\.)*(\w+)(?:\(.*\))?\n", directives))
    finnish = {pair[0].rpartition(".")[2] for pair in finnish_names()}
    for name in [] if module in whole else named(module).__all__:
        home = getattr(getattr(named(module), name), "__module__", None)
        assert name in single | finnish | {"Pistoke"} or home in whole, name
