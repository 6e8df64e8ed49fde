"""``python -m benchmarks.soak``: ten thousand idle sockets, five hundred busy ones, clients that come and go; ``make soak``.

One process serves them all. Every second its memory and processor time are noted. It has held if nothing went wrong, if its
memory has not grown after the warm-up, and if idle sockets have cost no processor time.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import time

from . import run
from .client import CLOSE_FRAME, Countdown, answer_size, connect, connect_many, disconnect_many, frame
from .servers import HERE, OURS, Server
from .soak_chart import draw

RESULT = HERE / "results" / "soak.json"
CHART = HERE.parent / "docs" / "soak.svg"

#: How often a busy client sends a message, and the longest that anybody waits for anything, in seconds.
PAUSE = 0.5
PATIENCE = 30
#: How many clients come and go at a time, and the longest they stay, in seconds.
VISITORS = 20
STAY = 2
#: How much the memory may have grown between the first half and the second, after the warm-up.
GROWTH = 0.02
#: The most processor time that ten thousand idle sockets may take, as a part of one processor: their server looks after
#: its connections once a second or so.
IDLE_CPU = 0.02


class Soak:
    """One server, and what is done to it."""

    def __init__(self, site, tell):
        self.site = site
        self.tell = tell
        self.going = True
        self.messages, self.visits = 0, 0
        self.failures = []
        # (seconds, KiB, part of a processor) for each second.
        self.samples = []

    async def hold(self, idle, busy, seconds):
        """Keep so many sockets open for so long; return what was found."""
        idlers = await connect_many(self.site.port, "/echo/", idle)
        await self.site.settle()
        idle_cpu = await self.cpu_over(5)
        self.tell(f"{idle} idle sockets: {self.site.memory() / 1024:.0f} MiB, {idle_cpu:.4f} of a processor")
        workers = [self.chat() for _ in range(busy)] + [self.visit() for _ in range(VISITORS)]
        tasks = [asyncio.ensure_future(self.guarded(worker)) for worker in workers]
        await self.watch(seconds)
        self.going = False
        # Not cancelled: up to Python 3.11 wait_for can swallow that.
        await asyncio.wait(tasks, timeout=2 * PATIENCE)
        lost = sum(client.transport.is_closing() for client in idlers)
        if lost:
            self.failures.append(f"{lost} idle sockets were closed")
        if idlers:
            await asyncio.wait_for(self.echo(idlers[0]), PATIENCE)
        await disconnect_many(idlers)
        return {
            "idle": idle,
            "busy": busy,
            "seconds": seconds,
            "idle cpu": idle_cpu,
            "messages": self.messages,
            "visits": self.visits,
            "failures": self.failures,
            "growth": growth(self.samples),
            "samples": self.samples,
        }

    async def cpu_over(self, seconds):
        """Return the part of a processor that the server uses."""
        before, began = self.site.cpu(), time.monotonic()
        await asyncio.sleep(seconds)
        return (self.site.cpu() - before) / (time.monotonic() - began)

    async def watch(self, seconds):
        """Take a sample each second."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            cpu = await self.cpu_over(1)
            self.samples.append((time.monotonic() - began, self.site.memory(), cpu))
            if len(self.samples) % 30 == 0:
                self.tell(
                    f"{self.samples[-1][0]:.0f} s: {self.samples[-1][1] / 1024:.1f} MiB, {self.messages} messages, "
                    f"{self.visits} visits, {len(self.failures)} failures"
                )

    async def guarded(self, worker):
        try:
            await worker
        except (OSError, asyncio.TimeoutError, AssertionError) as exc:
            self.failures.append(repr(exc))

    async def chat(self):
        """Send a message now and then, on one connection."""
        client = await asyncio.wait_for(connect(self.site.port, "/echo/"), PATIENCE)
        while self.going:
            await asyncio.sleep(random.uniform(0, 2 * PAUSE))
            await asyncio.wait_for(self.echo(client), PATIENCE)
        client.transport.abort()

    async def visit(self):
        """Come, send something, and go, some with a close and some without a word, again and again."""
        for number in itertools.takewhile(lambda _: self.going, itertools.count()):
            client = await asyncio.wait_for(connect(self.site.port, "/echo/"), PATIENCE)
            await asyncio.wait_for(self.echo(client), PATIENCE)
            await asyncio.sleep(random.uniform(0, STAY))
            if number % 3:
                client.transport.write(CLOSE_FRAME)
                await asyncio.wait_for(client.lost, PATIENCE)
            else:
                client.transport.abort()
            self.visits += 1

    async def echo(self, client):
        """Send a message, and wait until it comes back."""
        size = random.choice((2, 100, 4000))
        done = Countdown(1)
        client.exchange(frame(b"x" * size), answer_size(size), 1, done)
        await done
        self.messages += 1


def growth(samples):
    """Return by which part the memory has grown from the first half to the second, without a warm-up of a quarter."""
    memory = [kib for _, kib, _ in samples[len(samples) // 4:]]
    half = len(memory) // 2
    return statistics.median(memory[half:]) / statistics.median(memory[:half]) - 1 if half else 0.0


async def soak(idle, busy, seconds, environment, cookie, tell):
    """Start a server, and see whether it holds."""
    async with Server(OURS, environment, cookie) as site:
        return await Soak(site, tell).hold(idle, busy, seconds)


def verdict(found):
    """Return what is wrong, as sentences."""
    wrong = list(found["failures"][:5])
    if found["growth"] > GROWTH:
        wrong.append(f"expected flat memory after the warm-up, got {found['growth']:+.1%}")
    if found["idle cpu"] > IDLE_CPU:
        wrong.append(f"expected idle sockets to cost nothing, got {found['idle cpu']:.3f} of a processor")
    return wrong


def main(arguments=None):
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--busy", type=int, default=500)
    parser.add_argument("--record", action="store_true", help="write results/soak.json and docs/soak.svg")
    options = parser.parse_args(arguments)
    most = run.raise_limit() - 300 - options.busy
    with tempfile.TemporaryDirectory() as directory:
        environment, cookie = run.prepare(directory)
        found = run.run_in_loop(
            soak(min(options.idle, most), options.busy, options.seconds, environment, cookie, run.say)
        )
    if options.record:
        samples = run.rounded([list(sample) for sample in found["samples"]])
        RESULT.write_text(json.dumps(dict(found, samples=samples)) + "\n")
        CHART.write_text(draw(found))
    wrong = verdict(found)
    run.say(
        f"{found['messages']} messages, {found['visits']} visits, memory {found['growth']:+.2%} after the warm-up, "
        f"idle sockets {found['idle cpu']:.4f} of a processor: " + ("; ".join(wrong) or "it holds")
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
