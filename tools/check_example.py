"""Do with this interpreter's django-pistoke what the README says, and talk with what comes of it.

Usage: python tools/check_example.py README.md
"""
import asyncio
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PATIENCE = 60  # seconds

#: The ellipses in the settings of the page stand for what `startproject` has written, and for the reader's application.
FILL_IN = """
for _name in ("INSTALLED_APPS", "MIDDLEWARE"):
    _own = globals()[_name]
    _rest = [entry for entry in _before[_name] if entry not in _own]
    globals()[_name] = [entry for one in _own for entry in (_rest if one is ... else [one])]
INSTALLED_APPS += ["echo"]
"""


def main(page):
    """Make the project of the page, test it, serve it, and open a socket."""
    blocks = read_blocks(pathlib.Path(page))
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        make_project(root, blocks)
        run(root, "manage.py", "check", "--fail-level", "WARNING")
        run(root, "manage.py", "test", "--verbosity", "0")
        with serving(root) as address:
            asyncio.get_event_loop_policy().new_event_loop().run_until_complete(talk(address))
    print("the README's example works on Python {}".format(sys.version.split()[0]), flush=True)


def read_blocks(page):
    """Return the blocks of a page by the file that the first line of each names; of several, the first."""
    blocks = {}
    for text in re.findall(r"^```\w+\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
        named = re.match(r"(?:#|<!--) (\w[\w./-]*/[\w./-]+)", text)
        if named:
            blocks.setdefault(named.group(1), text)
    return blocks


def make_project(root, blocks):
    """Do what a reader does after `startproject`."""
    run(root, "-m", "django", "startproject", "project", ".")
    settings = root / "project" / "settings.py"
    before = settings.read_text(encoding="utf-8") + "\n_before = dict(globals())\n"
    settings.write_text(before + blocks["project/settings.py"] + FILL_IN, encoding="utf-8")
    for name in ("echo/views.py", "echo/templates/echo/page.html", "echo/tests.py", "project/urls.py", "project/asgi.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(blocks[name], encoding="utf-8")
    (root / "echo" / "__init__.py").touch()


def run(root, *arguments):
    """Run Python in the project; its failure is ours."""
    subprocess.run([sys.executable] + list(arguments), cwd=str(root), check=True, timeout=2 * PATIENCE)


@contextlib.contextmanager
def serving(root):
    """Run `manage.py runserver`; yield its host and port once it answers."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{}".format(probe.getsockname()[1])
    server = subprocess.Popen([sys.executable, "manage.py", "runserver", "--noreload", address], cwd=str(root))
    try:
        wait_for(server, address)
        yield address
    finally:
        server.terminate()
        server.wait(PATIENCE)


def wait_for(server, address):
    """Return when somebody listens."""
    host, port = address.split(":")
    deadline = time.monotonic() + PATIENCE
    while True:
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit("expected a development server, got none")
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection((host, int(port)), 1)):
            return
        time.sleep(0.1)


async def talk(address):
    """Read the page, open the socket that it opens, and say something."""
    # Part of `uvicorn[standard]`.
    import websockets

    os.environ["NO_PROXY"] = "*"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = opener.open("http://{}/echo/".format(address), timeout=PATIENCE).read().decode()
    target = re.search(r'new WebSocket\("([^"]*)"\)', page).group(1)
    assert target == "ws://{}/echo/".format(address), target
    async with websockets.connect(target, origin="http://" + address) as ws:
        for message, expected in (("Hello", 'You wrote "Hello".'), (b"\x00\xff", b"\x00\xff")):
            await ws.send(message)
            answer = await asyncio.wait_for(ws.recv(), PATIENCE)
            assert answer == expected, answer


if __name__ == "__main__":
    main(*sys.argv[1:])
