"""``python -m benchmarks.fanout``: how long one client waits while a message goes to ten thousand others.

All of them follow one topic, in one process. Some of them publish, one after the other; meanwhile another client sends an
echo over and over, and notes how long each takes: so long a ping would have waited too.
"""

import argparse
import asyncio
import statistics
import tempfile
import time

from . import run
from .client import Countdown, answer_size, connect, connect_many, disconnect_many, frame
from .loads import LINE
from .servers import BARE, OURS, Server

#: How often the echo is asked for, in seconds.
PAUSE = 0.005


async def ask(client, waits, going):
    """Note the milliseconds that each echo takes, until the others are done."""
    message = frame(LINE)
    while not going.done():
        began, done = time.perf_counter(), Countdown(1)
        client.exchange(message, answer_size(len(LINE)), 1, done)
        await done
        waits.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE)


async def publish(clients, times):
    """Let a client publish so often, each time when everybody has got the last message."""
    message = frame(LINE)
    for _ in range(times):
        done = Countdown(len(clients))
        for client in clients:
            client.expect(answer_size(len(LINE)), done)
        clients[0].transport.write(message)
        await done


async def measure(variant, environment, members, times):
    """Return microseconds of processor time for each delivery, and how long the echoes took."""
    async with Server(variant, environment) as site:
        clients = await connect_many(site.port, "/room/", members)
        (other,) = await asyncio.gather(connect(site.port, "/echo/"))
        await site.settle()
        await publish(clients, 1)
        waits, going, before = [], asyncio.get_running_loop().create_future(), site.cpu()
        asking = asyncio.ensure_future(ask(other, waits, going))
        await publish(clients, times)
        going.set_result(None)
        await asking
        cpu = site.cpu() - before
        await disconnect_many([*clients, other])
    return cpu / members / times * 1e6, waits


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=10000)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    print("| | µs of CPU for each delivery | an echo meanwhile, median, ms | the longest, ms |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        environment, _ = run.prepare(directory)
        for variant in (BARE, OURS):
            cpu, waits = run.run_in_loop(measure(variant, environment, options.members, options.times))
            print(f"| {variant.title} | {cpu:.1f} | {statistics.median(waits):.1f} | {max(waits):.0f} |", flush=True)


if __name__ == "__main__":
    main()
