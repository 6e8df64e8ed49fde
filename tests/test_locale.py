"""The translations: complete, compiled from what is written, and in force."""

import ast
import gettext as stdlib_gettext
import re
from pathlib import Path

import pytest
from django.utils import translation

import pistoke

PACKAGE = Path(pistoke.__file__).parent
CATALOGS = sorted((PACKAGE / "locale").glob("*/LC_MESSAGES/django.po"))
MARKERS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "pgettext"}


def written(catalog):
    """Return the messages of a ``.po`` file and their translations; each is one line or a series of lines."""
    entries = re.findall(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', catalog.read_text(encoding="utf-8"), re.M)
    return {unquoted(msgid): unquoted(msgstr) for msgid, msgstr in entries}


def unquoted(lines):
    """Return the text that is written as a series of quoted lines."""
    return "".join(ast.literal_eval(line) for line in lines.splitlines())


def compiled(catalog):
    """Return the messages of the ``.mo`` file beside a ``.po`` file, and their translations."""
    with open(str(catalog.with_suffix(".mo")), "rb") as file:
        return dict(stdlib_gettext.GNUTranslations(file)._catalog)


def marked():
    """Return every message that the source code marks for translation."""
    return {
        ast.literal_eval(argument)
        for path in PACKAGE.rglob("*.py")
        for argument in marked_in(ast.parse(path.read_text(encoding="utf-8")))
    }


def marked_in(tree):
    """Yield the first argument of each call of a translation function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in MARKERS and node.args:
            yield node.args[0]


def name_of(function):
    """Return what a called function is called, without the module it is in."""
    return getattr(function, "id", None) or getattr(function, "attr", None)


def test_there_is_finnish():
    assert "fi" in [catalog.parent.parent.name for catalog in CATALOGS]


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.parent.parent.name)
def test_compiled_catalog_matches_the_written_one(catalog):
    assert compiled(catalog) == written(catalog)


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.parent.parent.name)
def test_catalog_holds_exactly_what_the_code_marks(catalog):
    assert set(written(catalog)) - {""} == marked()


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.parent.parent.name)
def test_everything_is_translated(catalog):
    assert all(written(catalog).values())


@pytest.mark.parametrize(
    "english, finnish",
    [
        ("CSRF token missing or incorrect!", "CSRF-avain puuttuu tai se on virheellinen!"),
        ("Connection setup failed!", "Yhteyden muodostus epäonnistui!"),
    ],
)
def test_finnish_is_in_force(english, finnish):
    with translation.override("fi"):
        assert translation.gettext(english) == finnish
    with translation.override("en"):
        assert translation.gettext(english) == english
