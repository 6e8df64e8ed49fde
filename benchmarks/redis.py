"""A Redis of our own, for what passes through one."""

import contextlib
import shutil
import socket
import subprocess
import time

from .servers import free_port

PROGRAM = "redis-server"
#: Seconds that it may take to start.
PATIENCE = 10


def is_installed():
    """Tell whether there is one to start."""
    return shutil.which(PROGRAM) is not None


@contextlib.contextmanager
def running(directory):
    """Start a Redis that keeps nothing; give what names it in an environment, as pairs: none where it is not installed."""
    if not is_installed():
        yield ()
        return
    port = free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory)
    process = subprocess.Popen([PROGRAM, *options], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield (("BENCH_REDIS", f"redis://127.0.0.1:{port}"),)
    finally:
        process.terminate()
        process.wait()


def wait_for(port):
    """Wait until somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
