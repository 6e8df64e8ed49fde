"""A headless Chromium, and everything that can serve a page to it."""

import http.server
import shutil
import sys
import threading

import pytest

from tests.parts import importable, on_path, require

from ..servers import harness, kinds
from ..servers.conftest import (  # noqa: F401  # fixtures
    database,
    directory_of,
    key,
    pytest_configure,
    required,
    server,
)

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class RunServer(harness.Server):
    """The development server of this package, on Uvicorn."""

    name = "runserver"
    modules = ("uvicorn", "websockets")
    package = "uvicorn[standard]"
    noise = kinds.Uvicorn.noise

    def command(self):
        return ["-m", "django", "runserver", "--asgi", "--noreload", self.address]


@pytest.fixture(scope="session", params=kinds.SERVERS + [RunServer], ids=lambda kind: kind.name)
def running(request, browser, database, tmp_path_factory):  # noqa: F811
    """Return a running server; it is started once for all the tests that it serves."""
    required(request.param)
    running = request.param(directory_of(request.param, database, tmp_path_factory))
    try:
        yield running.start()
        browser.get("about:blank")
        # A browser keeps connections open that it may need again; there is one server that waits for them.
        if not running.is_one_of(["patient-hypercorn"]):
            running.stop()
    finally:
        running.kill()


def start_chromium(directory, *flags):
    """Return a WebDriver of a Chromium that keeps its things in a directory, with flags beside the usual ones."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS + ["--user-data-dir={}".format(directory)] + list(flags):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(harness.PATIENCE)
    driver.set_page_load_timeout(harness.PATIENCE)
    return driver


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Return a WebDriver of Chromium."""
    require("selenium", importable("selenium"), "pip install selenium", exists=sys.version_info >= (3, 7))
    require("chromium", on_path("chromium", "chromedriver"), "apt-get install chromium chromium-driver")
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


class OtherSite(http.server.BaseHTTPRequestHandler):
    """A page of somebody else."""

    def do_GET(self):
        """Answer with an empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture(scope="session")
def other_site():
    """Return the address of another site, which browsers find on loopback (RFC 6761 section 6.3)."""
    site = http.server.HTTPServer(("127.0.0.1", 0), OtherSite)
    thread = threading.Thread(target=site.serve_forever, daemon=True)
    thread.start()
    yield "http://evil.localhost:{}/".format(site.server_port)
    site.shutdown()
    site.server_close()
    thread.join()
