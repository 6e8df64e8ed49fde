"""Measuring several servers side by side, in rounds, one of them alive at a time.

The same program is up to ten per cent faster or slower from one process to the next (its hash seed, where its memory
lies), so each figure comes from a process of its own in every round, and the median of the rounds is taken. Machines have
moods too: ratios are taken within a round.
"""

import asyncio
import dataclasses
import time
import typing

from . import client
from .servers import Server

#: So many takes of each load in a process, of which the second lowest counts: what disturbs a measurement only ever adds
#: to it, but the very lowest may have missed a garbage collection that it should have paid for.
TAKES = 5
#: Seconds that anything may take.
PATIENCE = 45


@dataclasses.dataclass(frozen=True)
class Study:
    """Variants, what is measured of each, and how often."""

    key: str
    variants: typing.Sequence
    probes: typing.Sequence
    rounds: int


@dataclasses.dataclass(frozen=True)
class LoadProbe:
    """Something to find out while a load's connections are open."""

    load: typing.Any

    @property
    def key(self):
        """What the figures go by."""
        return self.load.key

    async def __call__(self, site):
        """Return the figures of one operation."""
        await self.load.open(site)
        try:
            return await self.probe(site)
        finally:
            await self.load.close()

    async def probe(self, site):
        """Run the load; return the figures."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Cost(LoadProbe):
    """What a load costs a server."""

    seconds: float  # of each take

    async def probe(self, site):
        """Return what one operation takes, in microseconds: ``cpu`` of the server, ``wall``, ``generator``."""
        amount = await self.suitable_amount()
        takes = [await self.take(site, amount) for _ in range(TAKES)]
        return sorted(takes, key=lambda take: take["cpu"])[1]

    async def suitable_amount(self):
        """Warm the server up; return how many operations it does in the time that there is."""
        started = time.perf_counter()
        done = await self.load.run(self.load.first)
        return max(1, int(done * self.seconds / (time.perf_counter() - started)))

    async def take(self, site, amount):
        """Measure once."""
        before = site.cpu(), time.perf_counter(), time.process_time()
        done = await self.load.run(amount)
        after = site.cpu(), time.perf_counter(), time.process_time()
        return dict(zip(("cpu", "wall", "generator"), ((b - a) / done * 1e6 for a, b in zip(before, after))))


@dataclasses.dataclass(frozen=True)
class Memory:
    """What an idle connection keeps of a server's memory."""

    levels: typing.Sequence
    warm_up: int = 500  # connections that come and go first, fifty at a time
    cost: typing.Optional[Cost] = None  # measured at each level too
    key: str = "memory"

    async def __call__(self, site):
        """Return KiB for each connection at each level, and of the process itself (``"0"``)."""
        for _ in range(self.warm_up // 50):
            await client.disconnect_many(await client.connect_many(site.port, "/echo/", 50))
        await site.settle()
        found, clients = {"0": site.memory()}, []
        try:
            for level in self.levels:
                clients += await client.connect_many(site.port, "/echo/", level - len(clients))
                await site.settle()
                found[str(level)] = (site.memory() - found["0"]) / level
                if self.cost:
                    taken = await self.cost(site)
                    found.update({f"{figure} {level}": value for figure, value in taken.items()})
        finally:
            for each in clients:
                each.transport.abort()
        return found


async def run_study(study, environment=(), cookie="", tell=print):
    """Return the figures of each round: ``[{variant: {probe: {figure: value}}}, …]``."""
    rounds = []
    for number in range(study.rounds):
        rounds.append({})
        for variant in study.variants:
            if number % variant.every == 0 and variant.available:
                tell(f"{study.key} {number + 1}/{study.rounds}: {variant.title}")
                rounds[-1][variant.key] = await measure(study, variant, environment, cookie, tell)
    return rounds


async def measure(study, variant, environment, cookie, tell):
    """Return the figures of one fresh process; say what failed instead of raising, for the sake of the others."""
    found = {}
    try:
        async with Server(variant, environment, cookie) as site:
            for probe in study.probes:
                if probe.key not in variant.lacks:
                    found[probe.key] = await attempt(probe, site, tell)
    except (OSError, RuntimeError, asyncio.TimeoutError) as exc:
        tell(f"  {variant.title} failed to start: {exc!r}")
    return found


async def attempt(probe, site, tell):
    """Return the figures of a probe, none where it failed."""
    try:
        return await asyncio.wait_for(probe(site), PATIENCE)
    except (OSError, AssertionError, asyncio.TimeoutError) as exc:
        tell(f"  {site.variant.title} failed at {probe.key}: {exc!r}")
        return {}
