"""The page about servers says what the tests ask of them."""

import re
import shutil
import subprocess
import sys

from .harness import PATIENCE, REPOSITORY

PAGE = REPOSITORY / "docs" / "servers.md"


def test_page_has_the_behaviours_and_limits_that_the_marks_say(tmp_path):
    page = tmp_path / "servers.md"
    shutil.copy(str(PAGE), str(page))
    command = [sys.executable, "-m", "tests.servers.table", str(page), "--collect-only"]
    done = subprocess.run(
        command, cwd=str(REPOSITORY), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=4 * PATIENCE
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-3000:]
    promised, said = page.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8")
    assert said == promised, "expected a docs/servers.md that says what the marks of the tests do; run `make servers`"


def test_page_says_with_what_it_was_measured():
    line = re.search("^Measured with (.*)$", PAGE.read_text(encoding="utf-8"), re.M).group(1)
    assert [part.split()[0] for part in line.split(", ")] == [
        "Python", "Django", "Uvicorn", "websockets", "wsproto", "Hypercorn", "Daphne", "Granian",
    ]
