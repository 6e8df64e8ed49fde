"""What the page says of the project itself, and that it says nothing that nobody here tries."""

import importlib
import re
import shlex
import subprocess
import sys

import pytest

from pistoke.checks.deployment import reads_cookies_fast

from . import page

#: Who tries each block. A block that nobody tries fails.
TRIED = {
    "text": "test_container.py",
    "project/settings.py": "project.py",
    "/etc/nginx/conf.d/project.conf": "test_nginx.py",
    "/etc/nginx/nginx.conf": "test_nginx.py",
    "/etc/circus/project.ini": "test_processes.py",
    "/etc/systemd/system/circus.service": "test_processes.py",
    "/etc/systemd/system/project.socket": "test_processes.py",
    "/etc/systemd/system/project.service": "test_processes.py",
    "Dockerfile": "test_container.py",
    "compose.yaml": "test_container.py",
    "bash": "test_project.py",
    "project/static/lasting.js": "test_browser.py",
    "project/templates/page.html": "test_browser.py",
}


def test_every_block_is_tried():
    """A block that names no file is known by its language: there may be one of each."""
    assert set(page.blocks()) == set(TRIED)
    assert page.PAGE.read_text(encoding="utf-8").count("\n```") == 2 * len(TRIED)


@pytest.mark.parametrize("path", [page.PAGE, page.SCALING], ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)]+)\)", text.replace("\n  ", " "))
    assert links
    for target in links:
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        assert other.exists(), target
        headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
        anchors = [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, target


#: What the page says that it leaves out, and what it cannot help.
NOT_SET = ["security.W004"]
OLD_PYTHON = [] if reads_cookies_fast() else ["pistoke.W008"]


def test_check_for_deployment_finds_what_the_page_says(place):
    said = place.manage("check", "--deploy")
    assert sorted(re.findall(r"\((\w+\.[EWI]\d+)\)", said)) == sorted(NOT_SET + OLD_PYTHON), said


@pytest.mark.parametrize("line", page.blocks()["bash"].splitlines())
def test_commands_of_a_deploy_work(line, place):
    words = shlex.split(line)
    if words[:2] == [".venv/bin/python", "manage.py"]:
        place.manage(*words[2:])
    else:
        # Tried elsewhere: the requirements with the container, the reload with Circus.
        assert line in ("git pull", ".venv/bin/pip install -r requirements.txt", "systemctl reload circus")


def test_options_of_uvicorn_in_the_table_are_known(parts):
    text = page.PAGE.read_text(encoding="utf-8")
    known = subprocess.check_output([sys.executable, "-m", "uvicorn", "--help"], universal_newlines=True, timeout=20)
    options = {line.split("`")[1].split()[0] for line in text.splitlines() if line.startswith("| `--")}
    assert len(options) > 5
    assert all(option in known or "--no-{}".format(option[5:]) in known for option in options)


def test_defaults_are_what_the_page_says(parts):
    config = importlib.import_module("uvicorn.config").Config("none")
    assert (config.ws_max_size, config.ws_ping_interval, config.ws_ping_timeout) == (2 ** 24, 20, 20)
    assert config.proxy_headers and config.forwarded_allow_ips.startswith("127.0.0.1")
    assert config.timeout_graceful_shutdown is None and config.limit_concurrency is None
    from pistoke.conf import DEFAULTS

    assert DEFAULTS["PISTOKE_MAX_MESSAGE_SIZE"] == 4194304
