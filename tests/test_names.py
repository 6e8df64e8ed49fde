"""The Finnish names and the English ones are the same objects, and importing them reads no settings."""

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from django.utils.decorators import method_decorator

import pistoke

# The contract's table, row for row: the Finnish name, then the English one.
TABLE = [
    ("pistoke.Pistoke", "pistoke.Pistoke"),
    ("pistoke.kasittelija.WebsocketKasittelija", "pistoke.handler.WebsocketHandler"),
    ("pistoke.ohjain.WebsocketOhjain", "pistoke.middleware.WebsocketMiddleware"),
    ("pistoke.ohjain.OriginVaatimus", "pistoke.middleware.OriginMiddleware"),
    ("pistoke.ohjain.CsrfOhjain", "pistoke.middleware.CsrfMiddleware"),
    ("pistoke.nakyma.WebsocketNakyma", "pistoke.views.WebsocketView"),
    ("pistoke.protokolla.WebsocketProtokolla", "pistoke.protocol.WebsocketProtocol"),
    ("pistoke.protokolla.WebsocketAliProtokolla", "pistoke.protocol.WebsocketSubprotocol"),
    ("pistoke.protokolla.WebsocketAliprotokolla", "pistoke.protocol.WebsocketSubprotocol"),
    ("pistoke.protokolla.WebsocketJSONProtokolla", "pistoke.protocol.WebsocketJSONProtocol"),
    ("pistoke.protokolla.TyhjaWebsocketProtokolla", "pistoke.protocol.RawWebsocketProtocol"),
    ("pistoke.protokolla.YhteysKatkaistiin", "pistoke.exceptions.WebsocketDisconnect"),
    ("pistoke.protokolla.Kattelyvirhe", "pistoke.exceptions.HandshakeError"),
    ("pistoke.pyynto.WebsocketPyynto", "pistoke.request.WebsocketRequest"),
    ("pistoke.tyokalut.OriginPoikkeus", "pistoke.decorators.origin_exempt"),
    ("pistoke.tyokalut.JsonLiikenne", "pistoke.decorators.json_messages"),
    ("pistoke.tyokalut.CsrfKattely", "pistoke.decorators.csrf_handshake"),
    ("pistoke.tyokalut.Rajat", "pistoke.decorators.limits"),
    ("pistoke.aiheet.Aihevirhe", "pistoke.exceptions.PubSubError"),
    ("pistoke.aiheet.HidasLukija", "pistoke.exceptions.SlowMember"),
    ("pistoke.aiheet.ValittajaEiVastaa", "pistoke.exceptions.BrokerUnavailable"),
    ("pistoke.aiheet.Sijainti", "pistoke.pubsub.Position"),
    ("pistoke.aiheet.Viesti", "pistoke.pubsub.Message"),
    ("pistoke.aiheet.julkaise", "pistoke.pubsub.publish"),
    ("pistoke.aiheet.ajulkaise", "pistoke.pubsub.apublish"),
    ("pistoke.aiheet.tilaa", "pistoke.pubsub.subscribe"),
    ("pistoke.aiheet.sijainti", "pistoke.pubsub.position"),
    ("pistoke.aiheet.asijainti", "pistoke.pubsub.aposition"),
    ("pistoke.aiheet.katkaise", "pistoke.pubsub.disconnect"),
    ("pistoke.aiheet.akatkaise", "pistoke.pubsub.adisconnect"),
    ("pistoke.aiheet.paikalla", "pistoke.pubsub.present"),
    ("pistoke.aiheet.paikalla_synkronisesti", "pistoke.pubsub.present_sync"),
    ("pistoke.aiheet.aukko_havaittu", "pistoke.pubsub.gap_detected"),
    ("pistoke.aiheet.julkaisu_epaonnistui", "pistoke.pubsub.publish_failed"),
    ("pistoke.testaus.WebsocketPaate", "pistoke.testing.WebsocketClient"),
    ("pistoke.testaus.WebsocketTesti", "pistoke.testing.WebsocketTestCase"),
]

# What the package itself has, beside its modules.
TOP = [
    ("pistoke.WebsocketNakyma", "pistoke.views.WebsocketView"),
    ("pistoke.WebsocketView", "pistoke.views.WebsocketView"),
    ("pistoke.WebsocketProtokolla", "pistoke.protocol.WebsocketProtocol"),
    ("pistoke.WebsocketProtocol", "pistoke.protocol.WebsocketProtocol"),
    ("pistoke.WebsocketAliprotokolla", "pistoke.protocol.WebsocketSubprotocol"),
    ("pistoke.WebsocketSubprotocol", "pistoke.protocol.WebsocketSubprotocol"),
]

# The older spellings, and what each of them does.
DEPRECATED = [
    ("json_viestiliikenne", "pistoke.decorators.json_messages"),
    ("csrf_tarkistus", "pistoke.decorators.csrf_handshake"),
    ("protokolla", "pistoke.protocol.WebsocketSubprotocol"),
]

FINNISH_MODULES = ["kasittelija", "ohjain", "nakyma", "protokolla", "pyynto", "tyokalut", "testaus", "aiheet"]

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTIONS = [ROOT / "README.fi.md", ROOT.parent / "shared" / "spec" / "README.fi.md"]


def resolve(path):
    """Return what a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("finnish, english", TABLE + TOP)
def test_both_names_are_the_same_object(finnish, english):
    assert resolve(finnish) is resolve(english)


@pytest.mark.parametrize("name", [name for name, _ in TOP])
def test_from_pistoke_import(name):
    namespace = {}
    exec("from pistoke import {} as imported".format(name.rpartition(".")[2]), namespace)
    assert namespace["imported"] is resolve(name)


@pytest.mark.parametrize("module", FINNISH_MODULES)
def test_finnish_module_exports_what_the_table_says_and_nothing_more(module):
    prefix = "pistoke.{}.".format(module)
    expected = {finnish[len(prefix):] for finnish, _ in TABLE if finnish.startswith(prefix)}
    if module == "tyokalut":
        expected |= {name for name, _ in DEPRECATED}
    module = importlib.import_module("pistoke." + module)
    assert set(module.__all__) == expected
    # pytest rewrites the assertions of whatever brings it a plug-in, and its own names begin with an "@".
    assert {name for name in vars(module) if not name.startswith(("__", "@"))} == expected


@pytest.mark.parametrize("module", FINNISH_MODULES)
def test_finnish_module_is_imports_and_all_only(module):
    path = Path(pistoke.__file__).parent / (module + ".py")
    docstring, *imports, exported = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(line, ast.ImportFrom) for line in imports)
    assert [target.id for target in exported.targets] == ["__all__"]


@pytest.mark.parametrize("finnish, english", [("tarkista_csrf", "check_csrf"), ("protokolla", "subprotocol")])
def test_request_methods_and_properties_are_the_same(finnish, english):
    from pistoke.request import WebsocketRequest

    assert vars(WebsocketRequest)[finnish] is vars(WebsocketRequest)[english]


def test_first_message_of_a_csrf_handshake_has_both_names():
    from pistoke.request import WebsocketRequest

    request = WebsocketRequest.__new__(WebsocketRequest)  # no connection, no scope
    request.csrf_handshake = {"uusi": True}
    assert request._csrf_kattely is request.csrf_handshake


def test_finnish_keyword_arguments_are_accepted():
    from pistoke.tyokalut import CsrfKattely

    @CsrfKattely(csrf_avain="avain", virhe_avain="virhe")
    async def view(request):
        pass

    assert callable(view)


# What README.fi.md names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=["ours", "wish"])
def test_every_name_in_the_finnish_description_exists(description):
    if not description.exists():
        pytest.skip("it lies beside the repository where it was written")
    text = description.read_text(encoding="utf-8")
    names = set(re.findall(r"\bpistoke\.\w+[.:][A-Z]\w+", text)) | imports_in(text)
    assert names
    for name in sorted(names):
        resolve(name.replace(":", "."))


def imports_in(text):
    """Return the dotted names that the lines ``from pistoke… import …`` of a text import."""
    lines = re.findall(r"^from (pistoke[\w.]*) import ([\w, ]+)$", text, re.M)
    return {"{}.{}".format(module, name) for module, names in lines for name in names.split(", ")}


# The older spellings -------------------------------------------------------------------------------------------------


async def view(request):
    """Do nothing."""


@pytest.mark.parametrize("name, instead", DEPRECATED)
def test_older_spelling_warns_where_it_is_used(name, instead):
    alias = resolve("pistoke.tyokalut." + name)
    with pytest.warns(DeprecationWarning, match=r"pistoke\.tyokalut\.{} is deprecated, use ".format(name)) as caught:
        decorator = alias("a") if name == "protokolla" else alias()
    assert [warning.filename for warning in caught] == [__file__]
    assert type(decorator) is type(resolve(instead)("a") if name == "protokolla" else resolve(instead)())


@pytest.mark.parametrize("name", ["json_viestiliikenne", "csrf_tarkistus"])
def test_older_spelling_decorates_bare(name):
    with pytest.warns(DeprecationWarning) as caught:
        decorated = resolve("pistoke.tyokalut." + name)(view)
    assert decorated.__wrapped__ is view
    assert [warning.filename for warning in caught] == [__file__]


def test_older_spelling_through_method_decorator_warns_in_the_class_body_and_not_again():
    from pistoke.tyokalut import json_viestiliikenne

    with pytest.warns(DeprecationWarning) as caught:

        @method_decorator(json_viestiliikenne, name="websocket")
        class View:
            async def websocket(self, request):
                """Do nothing."""

    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        View().websocket(None).close()


def test_importing_the_older_spellings_does_not_warn():
    subprocess.check_call(
        [sys.executable, "-W", "error::DeprecationWarning:pistoke", "-c", "import pistoke.tyokalut"], timeout=60
    )


# No settings ---------------------------------------------------------------------------------------------------------

IMPORTED = """
import importlib, sys
try:
    importlib.import_module(sys.argv[1])
except ImportError as exc:
    if (exc.name or "pistoke").startswith("pistoke"):
        raise
    sys.exit("needs " + exc.name)
from django.conf import settings
assert not settings.configured
"""


def modules():
    """Return the names of all modules of the package, those of its packages too."""
    found = pkgutil.walk_packages(pistoke.__path__, "pistoke.", onerror=lambda name: None)
    return ["pistoke"] + [module.name for module in found]


@pytest.mark.parametrize("module", modules())
def test_importing_a_module_reads_no_settings(module):
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTED, module], env=environment, stderr=subprocess.PIPE, universal_newlines=True
    )
    _, error = process.communicate(timeout=60)
    if error.startswith("needs "):
        pytest.skip("{} {}".format(module, error.strip()))
    assert process.returncode == 0, error
