"""What the page on scaling shows: several servers in nginx, what the kernel is asked for, a watch of the event loop."""

import asyncio
import logging
import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from . import page
from .site import PATIENCE

BLOCKS = page.blocks(page.SCALING)


def test_every_block_is_tried():
    assert set(BLOCKS) == {
        "/etc/nginx/conf.d/upstream.conf", "bash", "/etc/sysctl.d/60-sockets.conf", "project/loop.py", "project/asgi.py"
    }


def test_nginx_finds_no_fault_with_several_servers(place):
    def several(text):
        return re.sub(r"^upstream project \{.*?^\}$", BLOCKS["/etc/nginx/conf.d/upstream.conf"], text, flags=re.M | re.S)

    words = place.write_nginx("several", change=several)
    assert "least_conn" in (place.directory / "several.conf").read_text()
    done = subprocess.run(words + ["-t"], stderr=subprocess.PIPE, timeout=PATIENCE)
    assert done.returncode == 0 and b"[warn]" not in done.stderr, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the page is about Linux")
def test_kernel_knows_what_it_is_asked_for():
    keys = re.findall(r"^([\w.]+) = ", BLOCKS["/etc/sysctl.d/60-sockets.conf"], re.M)
    assert len(keys) == 3
    assert [key for key in keys if not Path("/proc/sys", *key.split(".")).exists()] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the page is about Linux")
def test_commands_about_open_files_work():
    done = subprocess.run(
        ["bash", "-e", "-c", BLOCKS["bash"]],
        env=dict(os.environ, PID=str(os.getpid())),
        stdout=subprocess.PIPE,
        universal_newlines=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0 and "Max open files" in done.stdout and int(done.stdout.split()[-1]) > 2


def watch():
    """Return the coroutine of the page that watches the event loop."""
    module = types.ModuleType("loop")
    exec(BLOCKS["project/loop.py"], vars(module))
    return module.watch


async def test_event_loop_that_is_late_is_told_of(caplog):
    with caplog.at_level(logging.WARNING):
        task = asyncio.ensure_future(watch()(interval=0.01))
        await asyncio.sleep(0.05)
        block_for(0.2)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
    late = [int(number) for number in re.findall(r"The event loop was late by (\d+) ms\.", caplog.text)]
    assert any(100 < milliseconds < 2000 for milliseconds in late)


#: What a view should not do.
block_for = time.sleep


def test_application_begins_to_watch_with_the_first_request(place):
    """The asgi.py of the page passes on what comes, and the watch goes on."""
    for name in ("loop", "asgi"):
        path = place.project / "watched" / (name + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(BLOCKS["project/{}.py".format(name)].replace("project.loop", "watched.loop"))
    program = """
import asyncio
from watched import asgi

async def main():
    async def receive():
        return {"type": "lifespan.startup" if not sent else "lifespan.shutdown"}
    sent = []
    async def send(message):
        sent.append(message["type"])
    await asgi.application({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"], sent
    assert not asgi.watching.done()
    asgi.watching.cancel()
    await asyncio.wait([asgi.watching])

asyncio.run(main())
"""
    words = [sys.executable, "-c", program]
    subprocess.run(words, cwd=str(place.project), env=place.environment, check=True, timeout=PATIENCE)
