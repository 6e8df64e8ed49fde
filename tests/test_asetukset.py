"""The settings extension, executed as django-protoni executes it, and by the released django-protoni itself."""

import copy
import importlib.util
import os
import subprocess
import sys

import pytest

from tests.parts import require

APP = "pistoke.Pistoke"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIDDLEWARE = "pistoke.ohjain.WebsocketOhjain"


def extended(**settings):
    """Return the namespace after the text of the extension has been executed in it, keys that are not names left out."""
    origin = importlib.util.find_spec("pistoke.asetukset").origin
    with open(origin, encoding="utf-8") as file:
        exec(compile(file.read(), origin, "exec"), settings)
    del settings["__builtins__"]
    return settings


def apps(*names):
    """Return the applications of a namespace that had these."""
    return extended(INSTALLED_APPS=list(names), MIDDLEWARE=[])["INSTALLED_APPS"]


def middleware(*paths):
    """Return the middleware of a namespace that had this."""
    return extended(INSTALLED_APPS=[], MIDDLEWARE=list(paths))["MIDDLEWARE"]


def test_app_and_middleware_are_added():
    assert extended(INSTALLED_APPS=["a"], MIDDLEWARE=["m"]) == {
        "INSTALLED_APPS": ["a", APP],
        "MIDDLEWARE": ["m", MIDDLEWARE],
    }


def test_executing_twice_changes_nothing_more():
    once = extended(INSTALLED_APPS=["a", "django.contrib.staticfiles"], MIDDLEWARE=["m"])
    assert extended(**copy.deepcopy(once)) == once


@pytest.mark.parametrize("static", ["django.contrib.staticfiles", "django.contrib.staticfiles.apps.StaticFilesConfig"])
def test_app_is_put_before_staticfiles(static):
    assert apps("a", static, "b") == ["a", APP, static, "b"]


@pytest.mark.parametrize("spelling", [APP, "pistoke"])
def test_app_after_staticfiles_is_moved(spelling):
    static = "django.contrib.staticfiles"
    assert apps("a", static, "b", spelling, "c") == ["a", spelling, static, "b", "c"]


@pytest.mark.parametrize("spelling", [APP, "pistoke"])
def test_app_before_staticfiles_stays_where_it_is(spelling):
    assert apps(spelling, "a", "django.contrib.staticfiles") == [spelling, "a", "django.contrib.staticfiles"]


@pytest.mark.parametrize("spelling", [APP, "pistoke"])
def test_app_without_staticfiles_stays_where_it_is(spelling):
    assert apps("a", spelling, "b") == ["a", spelling, "b"]


def test_app_listed_twice_is_kept_once():
    assert apps("pistoke", "a", APP) == ["a", "pistoke"]
    assert apps("pistoke", "django.contrib.staticfiles", APP) == ["pistoke", "django.contrib.staticfiles"]


def test_another_app_with_a_similar_name_is_not_taken_for_staticfiles():
    assert apps("django.contrib.staticfiles_more", "a") == ["django.contrib.staticfiles_more", "a", APP]


@pytest.mark.parametrize("spelling", [MIDDLEWARE, "pistoke.middleware.WebsocketMiddleware"])
def test_middleware_that_is_there_stays_where_it_is(spelling):
    assert middleware(spelling, "m") == [spelling, "m"]


def test_lists_are_changed_in_place():
    namespace = {"INSTALLED_APPS": ["a"], "MIDDLEWARE": []}
    held = namespace["INSTALLED_APPS"], namespace["MIDDLEWARE"]
    after = extended(**namespace)
    assert after["INSTALLED_APPS"] is held[0] and after["MIDDLEWARE"] is held[1]


def test_tuples_are_extended_too():
    after = extended(INSTALLED_APPS=("django.contrib.staticfiles",), MIDDLEWARE=("m",))
    assert after == {"INSTALLED_APPS": (APP, "django.contrib.staticfiles"), "MIDDLEWARE": ("m", MIDDLEWARE)}


def test_nothing_else_in_the_namespace_is_touched():
    namespace = {"__doc__": "My settings.", "DEBUG": True, "extend": 1, "INSTALLED_APPS": [], "MIDDLEWARE": []}
    after = extended(**namespace)
    assert set(after) == set(namespace)
    assert (after["__doc__"], after["DEBUG"], after["extend"]) == ("My settings.", True, 1)


def test_separate_local_namespace_is_the_one_extended():
    origin = importlib.util.find_spec("pistoke.asetukset").origin
    with open(origin, encoding="utf-8") as file:
        text = file.read()
    namespace = {"INSTALLED_APPS": [], "MIDDLEWARE": []}
    exec(compile(text, origin, "exec"), {}, namespace)
    assert namespace == {"INSTALLED_APPS": [APP], "MIDDLEWARE": [MIDDLEWARE]}


def test_imported_as_a_module_it_does_nothing():
    import pistoke.asetukset

    # pytest rewrites the assertions of whatever brings it a plug-in, and its own names begin with an "@".
    assert [name for name in vars(pistoke.asetukset) if not name.startswith(("__", "@"))] == []


PROJECT = """
import os, sys, warnings
warnings.simplefilter("ignore")
import django
from django.conf import settings
django.setup()
from django.core.management import get_commands
apps = list(settings.INSTALLED_APPS)
print(apps.count("pistoke.Pistoke"), apps.index("pistoke.Pistoke") < apps.index("django.contrib.staticfiles"))
print(settings.MIDDLEWARE.count("pistoke.ohjain.WebsocketOhjain"))
print(get_commands()["runserver"])
"""


def test_released_django_protoni_applies_it(tmp_path):
    require(
        "django-protoni",
        importlib.util.find_spec("protoni") is not None,
        "install it: pip install -r tests/requirements-dependents.txt --no-deps",
        exists=sys.version_info >= (3, 11),
    )
    require("the entry point", has_entry_point(), "install this package: pip install -e .")
    answer = subprocess.check_output(
        [sys.executable, "-c", PROJECT],
        cwd=ROOT,
        env=dict(
            os.environ,
            DJANGO_SETTINGS_MODULE="tests.dependents.protoni_settings",
            DJANGO_SOVELLUKSET="staticfiles",
            PROTONI=str(tmp_path),
        ),
        timeout=60,
    )
    assert answer.decode().split("\n")[:3] == ["1 True", "1", "pistoke"]


def has_entry_point():
    """Return whether the package is installed with its entry point for django-protoni."""
    from importlib.metadata import entry_points

    return any(entry.value == "pistoke.asetukset" for entry in entry_points(group="django.asetukset"))
