"""The script of the page in a real browser, over TLS through nginx, while the server is restarted."""

import subprocess
import sys

import pytest

from tests.parts import importable, on_path, require

from ..browser.conftest import start_chromium
from ..servers.harness import eventually
from . import page
from .site import PATIENCE


@pytest.fixture
def chromium(tmp_path):
    """Return a WebDriver of a Chromium that finds the site, and trusts its certificate."""
    require("selenium", importable("selenium"), "pip install selenium", exists=sys.version_info >= (3, 7))
    require("chromium", on_path("chromium", "chromedriver"), "apt-get install chromium chromium-driver")
    driver = start_chromium(tmp_path, "--ignore-certificate-errors", "--host-resolver-rules=MAP example.org 127.0.0.1")
    try:
        yield driver
    finally:
        driver.quit()


def test_page_comes_back_by_itself_after_a_reload(site, chromium):
    chromium.get("https://example.org:{}/lasting/".format(site.https))

    def lines(count):
        """Return what the page has shown, once it is so many lines."""
        shown = eventually(lambda: len(text().split()) >= count and text().split(), PATIENCE)
        assert shown, "expected {} lines, got {!r}".format(count, text())
        return [int(line) for line in shown]

    def text():
        return chromium.find_element("tag name", "pre").text

    first, = lines(1)
    reload = page.words_of(page.unit("circus.service", site.directory), "ExecReload")
    subprocess.run(reload, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    shown = lines(3)
    assert shown[:2] == [first, 1012]
    assert shown[2] != first


#: Opens a socket by the script of the page; gives its code, and the pause that it was about to make, in milliseconds.
#: (There is another timer once a socket is open, of which the page may have one as well.)
PAUSES = """
    const [path, done] = arguments, pauses = [], later = window.setTimeout;
    window.setTimeout = (call, pause) => { if (pause !== 5000) pauses.push(pause); return later(call, pause); };
    const address = location.origin.replace("http", "ws") + path;
    const end = lastingSocket(address, { onclose: ({ code }) => later(() => { end(); done([code, pauses]); }, 0) });
"""


def test_page_does_not_come_back_where_it_would_meet_the_same_answer(site, chromium):
    chromium.get("https://example.org:{}/lasting/".format(site.https))
    assert chromium.execute_async_script(PAUSES, "/members/") == [4403, []]
    code, (pause,) = chromium.execute_async_script(PAUSES, "/soon/")
    assert code == 1012 and 250 <= pause <= 750
