"""The site of the page, served by nginx and two processes of Circus."""

import sys

import pytest

from tests.parts import importable, on_path, require

from . import page


@pytest.fixture(scope="session")
def parts():
    """Skip or fail where something is missing that the site is made of."""
    require("nginx", on_path("nginx"), "apt-get install nginx")
    require("OpenSSL", on_path("openssl"), "apt-get install openssl")
    # Of older Pythons there are older Uvicorns, without some of the options on the page.
    exists = sys.version_info >= (3, 10)
    require("Uvicorn", importable("uvicorn", "websockets"), "pip install uvicorn[standard]", exists=exists)
    require("Circus", (page.PROGRAMS / "circusd").exists(), "pip install circus", exists=exists)


@pytest.fixture(scope="session")
def place(parts, redis, tmp_path_factory):
    """Return the site, not yet served."""
    from .site import Site

    return Site(tmp_path_factory.mktemp("site"), redis)


@pytest.fixture(scope="session")
def site(place):
    """Return the site, served."""
    with place.circus(), place.nginx():
        yield place
