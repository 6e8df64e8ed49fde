"""The container of the page, as far as it can be tried without a daemon that builds it.

What the Dockerfile says is done step by step without it: pip looks for its packages, and for all that they need, as for an
empty environment; its static files are collected; its command is run. Its base images are not pulled, and nobody runs
compose.yaml: it is read.
"""

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from tests.parts import importable, require

from ..servers.harness import free_port
from ..test_packaging import ROOT, build
from . import page
from .site import listens

INSTRUCTIONS = ("FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "CMD")


def stages():
    """Return the instructions of each stage of the Dockerfile by its name, as pairs of a word and what follows."""
    found = {}
    for line in page.blocks()["Dockerfile"].splitlines()[1:]:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found[name] = [(word, image)]
        elif word:
            assert word in INSTRUCTIONS, line
            found[name].append((word, rest))
    return found


def commands(word):
    """Return what follows this instruction in the stage of the project."""
    return [rest for instruction, rest in stages()["web"] if instruction == word]


def test_packages_are_there_for_a_new_environment(tmp_path, place):
    """The one that is to be released is taken from here."""
    build("wheel", ROOT, tmp_path)
    install, = (shlex.split(command) for command in commands("RUN") if command.startswith("pip "))
    done = subprocess.run(
        [sys.executable, "-m"] + install + ["--dry-run", "--ignore-installed", "--quiet", "--report", "-"],
        cwd=str(place.project),
        env=dict(os.environ, PIP_FIND_LINKS=str(tmp_path)),
        stdout=subprocess.PIPE,
        universal_newlines=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    names = {item["metadata"]["name"].lower() for item in json.loads(done.stdout)["install"]}
    assert {"django-pistoke", "django", "uvicorn", "uvloop", "httptools", "websockets", "redis"} <= names


def test_image_of_nginx_has_the_static_files_that_the_project_collects(place):
    collect, = (command for command in commands("RUN") if "collectstatic" in command)
    words = shlex.split(collect)
    shutil.rmtree(str(place.project / "static"), ignore_errors=True)
    environment = dict(place.environment, **dict(word.split("=") for word in words if word.isupper() or "=" in word))
    arguments = words[words.index("manage.py"):]
    subprocess.run([sys.executable] + arguments, cwd=str(place.project), env=environment, check=True, timeout=60)
    assert (place.project / "static" / "lasting.js").exists()
    copies = [rest.split() for word, rest in stages()["nginx"] if word == "COPY"]
    assert ["--from=web", "/srv/project/static", "/srv/project/static"] in copies
    assert "alias /srv/project/static/;" in page.blocks()["/etc/nginx/conf.d/project.conf"]


def test_command_serves_and_ends_when_docker_stops_it(place):
    cmd, = (json.loads(command) for command in commands("CMD"))
    port = free_port()
    changes = {"8000": str(port), "0.0.0.0": "127.0.0.1", "4": "2"}
    words = [str(page.PROGRAMS / cmd[0])] + [changes.get(word, word) for word in cmd[1:]]
    with place.running(words, "container", lambda: listens(port)) as process:
        pass
    assert process.returncode in (0, -signal.SIGTERM)


KEYS = {
    "build", "command", "depends_on", "environment", "image", "ports", "restart", "stop_grace_period", "ulimits", "volumes",
}


@pytest.fixture
def compose(parts):
    """Return what compose.yaml says."""
    require("PyYAML", importable("yaml"), "pip install pyyaml")
    return importlib.import_module("yaml").safe_load(page.blocks()["compose.yaml"])


def test_compose_names_what_there_is(compose):
    services = compose["services"].values()
    for service in services:
        assert set(service) <= KEYS and ("build" in service) != ("image" in service)
        assert set(service.get("depends_on", ())) <= set(compose["services"])
    assert [service["build"]["target"] for service in services if "build" in service] == list(stages())
    volumes = [volume.partition(":")[0] for service in services for volume in service.get("volumes", ())]
    assert {name for name in volumes if not name.startswith("/")} == set(compose["volumes"])


def test_compose_gives_the_project_what_its_settings_ask_for(compose):
    web = compose["services"]["web"]
    asked = re.findall(r'environ(?:\[|\.get\()"(\w+)"', page.blocks()["project/settings.py"])
    assert set(web["environment"]) == set(asked)
    # Nobody but nginx is believed, because nobody else gets there.
    assert "ports" not in web


def test_compose_waits_for_longer_than_uvicorn(compose):
    cmd, = (json.loads(command) for command in commands("CMD"))
    patience = int(cmd[cmd.index("--timeout-graceful-shutdown") + 1])
    assert int(compose["services"]["web"]["stop_grace_period"].rstrip("s")) > patience
