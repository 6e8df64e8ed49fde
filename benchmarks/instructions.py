"""Counting the instructions that a server executes for each operation, with Valgrind's callgrind.

They say nothing of caches or of the kernel, but are the same however busy the machine is, to within a hundredth. A change
that is lost in the noise of measured times shows here, and ``callgrind_annotate`` tells where.
"""

import asyncio
import dataclasses
import pathlib
import shutil
import subprocess

from . import loads
from .servers import BARE, OURS, STARLETTE
from .study import LoadProbe, Study, measure

PEERS = [BARE, OURS, STARLETTE]
PROGRAM, CONTROL = "valgrind", "callgrind_control"
#: How many operations of each load are counted. Servers are fifty times slower meanwhile.
AMOUNTS = [
    (loads.ECHO_1, 1000),
    (loads.ECHO_50, 2000),
    (loads.ECHO_16K, 1000),
    (loads.INGEST, 10000),
    (loads.PUSH, 10000),
    (loads.CONNECT, 300),
    (loads.LOGIN, 200),
    (loads.BYE, 200),
    (loads.ROOM, 5000),
]


def is_installed():
    """Tell whether there is a Valgrind to count with."""
    return shutil.which(PROGRAM) is not None


async def run_instructions(directory, environment=(), cookie="", tell=print):
    """Return the instructions as a study with one round does, each from a fresh process: ``[{variant: {load: …}}]``.

    What callgrind writes goes to a directory.
    """
    found = {}
    for variant in PEERS:
        found[variant.key] = {}
        for load, amount in AMOUNTS:
            probe = Instructions(load, amount, directory)
            study = Study("instructions", [counted(variant, directory)], [probe], 1)
            tell(f"instructions: {variant.title}, {load.title}")
            found[variant.key].update(await measure(study, study.variants[0], environment, cookie, tell))
    return [found]


def counted(variant, directory):
    """Return a variant whose server runs in callgrind."""

    def server(python, application, port, *options):
        return [
            *(PROGRAM, "--tool=callgrind", f"--callgrind-out-file={written(directory, port)}"),
            *variant.server(python, application, port, *options),
        ]

    # The order of sets and the collisions of dictionaries are to be the same each time.
    return dataclasses.replace(variant, server=server, environment=(*variant.environment, ("PYTHONHASHSEED", "0")))


def written(directory, port):
    """Return the file that callgrind writes for the server at a port."""
    return pathlib.Path(directory) / f"callgrind.{port}"


@dataclasses.dataclass(frozen=True)
class Instructions(LoadProbe):
    """How many instructions an operation of a load takes."""

    amount: int
    directory: str

    async def probe(self, site):
        """Return the ``instructions`` of one operation."""
        await self.load.run(self.amount)
        await self.control("--zero", site)
        done = await self.load.run(self.amount)
        await self.control("--dump", site)
        return {"instructions": self.total(site) / done}

    async def control(self, command, site):
        """Tell callgrind something."""
        control = await asyncio.create_subprocess_exec(
            *(CONTROL, command, str(site.process.pid)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await control.wait()

    def total(self, site):
        """Return the instructions of the last dump."""
        dumps = pathlib.Path(self.directory).glob(written(self.directory, site.port).name + ".*")
        last = max(dumps, key=lambda dump: int(dump.suffix[1:]))
        return next(int(line.split()[1]) for line in last.read_text().splitlines() if line.startswith("totals:"))
