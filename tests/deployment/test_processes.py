"""Circus and systemd, as the page configures them: several processes behind one socket, and new ones without a gap."""

import asyncio
import contextlib
import os
import signal
import subprocess

from tests.parts import on_path, require

from ..pages import closing
from ..servers.harness import eventually
from . import page
from .site import PATIENCE, Visitors, answers, ask, pids


async def sockets_of_two_processes(site, path, stack):
    """Open sockets until two are served by different processes; return these by the process."""
    found = {}
    for _ in range(50):
        ws = await stack.enter_async_context(site.connect(path))
        found.setdefault(int(await asyncio.wait_for(ws.recv(), PATIENCE)), ws)
        if len(found) == 2:
            return found
    raise AssertionError("expected sockets of two processes, got all from {}".format(found))


async def test_topics_reach_the_other_process(site):
    async with contextlib.AsyncExitStack() as stack:
        one, other = (await sockets_of_two_processes(site, "/room/", stack)).values()
        await one.send("Hello")
        assert await asyncio.wait_for(other.recv(), PATIENCE) == "Hello"


async def test_reload_of_circus_tells_sockets_and_turns_nobody_away(site):
    before = pids(site.unix_socket)
    reload = page.words_of(page.unit("circus.service", site.directory), "ExecReload")
    with Visitors(lambda: site.get()[0] == 200, lambda: ask(site.unix_socket)) as visitors:
        async with contextlib.AsyncExitStack() as stack:
            sockets = await sockets_of_two_processes(site, "/lasting/", stack)
            assert set(sockets) == before
            done = await in_thread(subprocess.check_output, reload, timeout=PATIENCE)
            assert done.strip() == b"ok"
            codes = await asyncio.wait_for(asyncio.gather(*map(closing, sockets.values())), PATIENCE)
            async with site.connect("/lasting/") as ws:
                assert int(await asyncio.wait_for(ws.recv(), PATIENCE)) not in before
        assert codes == [1012, 1012]
        after = await in_thread(two_processes, site.unix_socket, before)
    assert after.isdisjoint(before)
    assert visitors.refused == [] and visitors.count > 5


def two_processes(unix_socket, others=frozenset()):
    """Wait for two processes that answer at a socket, and are not these others; return them."""

    def two():
        found = pids(unix_socket)
        return len(found) == 2 and found.isdisjoint(others) and found

    found = eventually(two, PATIENCE)
    assert found, "expected two new processes, got {} after {}".format(pids(unix_socket), others)
    return found


async def in_thread(function, *arguments, **options):
    """Call a function that blocks."""
    return await asyncio.get_event_loop().run_in_executor(None, lambda: function(*arguments, **options))


def test_units_are_what_systemd_knows(place):
    require("systemd-analyze", on_path("systemd-analyze"), "apt-get install systemd")
    names = ["project.socket", "project.service", "circus.service"]
    paths = [place.directory / name for name in names]
    for name, path in zip(names, paths):
        path.write_text(page.block("/etc/systemd/system/" + name, place.directory))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no"] + list(map(str, paths)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=PATIENCE,
    )
    own = [line for line in done.stdout.splitlines() if any(name in line for name in names)]
    assert done.returncode == 0 and own == [], done.stdout


def test_shutdown_has_the_time_that_it_needs(place):
    """Whoever ends Uvicorn by force waits for longer than Uvicorn waits for its clients."""
    circus = page.block("/etc/circus/project.ini", place.directory)
    patience = int(circus.partition("--timeout-graceful-shutdown ")[2].split()[0])
    of_circus = int(circus.partition("graceful_timeout = ")[2].split()[0])
    of_systemd, alone = (
        int(page.unit(name, place.directory)["Service"]["TimeoutStopSec"]) for name in ("circus.service", "project.service")
    )
    assert patience < of_circus < of_systemd and patience < alone


@contextlib.contextmanager
def activated(site, unix_socket):
    """Run the service of the page as systemd does: it has made the socket, and starts it for the first who comes."""
    service = page.unit("project.service", site.directory)
    words = ["2" if word == "4" else word for word in page.words_of(service, "ExecStart")]
    names = ["PATH", "PYTHONPATH", "DJANGO_SETTINGS_MODULE", "SECRET_KEY", "REDIS_URL"]
    start = ["systemd-socket-activate", "-l", unix_socket] + [word for name in names for word in ("-E", name)]
    with site.running(start + words, "systemd", lambda: os.path.exists(unix_socket) and answers(unix_socket)) as process:
        yield process


async def test_systemd_activates_by_socket_and_reloads_without_a_gap(place):
    require("systemd-socket-activate", on_path("systemd-socket-activate"), "apt-get install systemd")
    unix_socket = str(place.directory / "run" / "activated.sock")
    to_it = {"change": lambda text: text.replace(place.unix_socket, unix_socket)}
    with activated(place, unix_socket) as process, place.again("activated", **to_it) as site:
        before = await in_thread(two_processes, unix_socket)
        assert page.words_of(page.unit("project.service", place.directory), "ExecReload")[1:] == ["-HUP", "$MAINPID"]
        with Visitors(lambda: ask(unix_socket)) as visitors:
            async with contextlib.AsyncExitStack() as stack:
                sockets = await sockets_of_two_processes(site, "/lasting/", stack)
                process.send_signal(signal.SIGHUP)
                codes = await asyncio.wait_for(asyncio.gather(*map(closing, sockets.values())), PATIENCE)
            assert codes == [1012, 1012] and set(sockets) == before
            after = await in_thread(two_processes, unix_socket, before)
        assert after.isdisjoint(before) and visitors.refused == [] and visitors.count > 5
