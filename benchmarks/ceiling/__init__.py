"""How fast the load generator itself is: a server in C in the place of one in Python. Needs a C compiler."""

import pathlib
import shutil
import subprocess

from .. import loads
from ..servers import Variant
from ..study import Cost, Study

SOURCE = pathlib.Path(__file__).parent / "echo.c"
LOADS = (loads.ECHO_1, loads.ECHO_50, loads.ECHO_16K, loads.INGEST, loads.PUSH, loads.CONNECT)


def compiled(directory):
    """Return the path of the compiled server; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = pathlib.Path(directory) / "echo"
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(program), str(SOURCE)], check=True)
    return str(program)


def study(program, seconds, rounds):
    """Return the study of the compiled server."""
    variant = Variant("c", "C server", server=lambda python, application, port: [program, str(port)])
    return Study("ceiling", [variant], [Cost(load, seconds) for load in LOADS], rounds)
