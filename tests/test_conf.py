"""The settings of this package."""
import subprocess
import sys

import pytest
from django.test import override_settings

from pistoke import conf as module
from pistoke.conf import DEFAULTS, conf


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_each_setting_has_its_default(name):
    assert getattr(conf, name[len("PISTOKE_"):]) == DEFAULTS[name]


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_each_setting_is_explained(name):
    assert name + " " in module.__doc__


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_a_changed_setting_is_in_force_at_once_and_as_long_as_it_lasts(name):
    attribute = name[len("PISTOKE_"):]
    before = getattr(conf, attribute)
    with override_settings(**{name: "changed"}):
        assert getattr(conf, attribute) == "changed"
        with override_settings(**{name: "again"}):
            assert getattr(conf, attribute) == "again"
        assert getattr(conf, attribute) == "changed"
    assert getattr(conf, attribute) == before


def test_other_settings_may_change():
    with override_settings(DEBUG=True, PISTOKE_OTHER=1):
        assert DEFAULTS["PISTOKE_DISCONNECT_GRACE"] == conf.DISCONNECT_GRACE


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="NO_SUCH"):
        assert conf.NO_SUCH


def test_a_setting_is_read_once():
    assert conf.__dict__["DISCONNECT_GRACE"] == conf.DISCONNECT_GRACE


WITHOUT_SETTINGS = """
EXTRAS = ("uvicorn", "redis", "psycopg", "channels", "prometheus_client", "opentelemetry", "msgspec", "pydantic")
import importlib, pkgutil
from django.conf import settings
import pistoke
for module in pkgutil.walk_packages(pistoke.__path__, "pistoke."):
    if module.name.startswith(%r):
        try:
            importlib.import_module(module.name)
        except ImportError as exc:
            # What needs these are extras.
            assert exc.name in EXTRAS, exc
        assert not settings.configured, module.name
from pistoke.handler import WebsocketHandler
from pistoke.kasittelija import WebsocketKasittelija
assert not settings.configured
"""


@pytest.mark.parametrize("package", ["pistoke.handler", "pistoke."])
def test_importing_reads_no_settings(package):
    """``asgi.py`` imports the handler before it names the settings."""
    import os

    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", WITHOUT_SETTINGS % package], env=environment, check=True, timeout=60)
