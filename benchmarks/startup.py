"""How long a process takes until it could answer: Django alone, and with each of the peers that build on it."""

import os
import subprocess

from .servers import CHANNELS, EARLIER_PISTOKE, HERE, OURS, Variant

PLAIN = Variant("plain", "Django alone", "plain")
VARIANTS = (PLAIN, OURS, CHANNELS, EARLIER_PISTOKE)
#: Processor time since the process began, interpreter included, in seconds.
PROGRAM = "import time, benchmarks.apps.{}; print(time.process_time())"


def run_startup(variants, rounds, tell=print):
    """Return the figures of each round, as for a study: ``{variant: {"startup": {"cpu": milliseconds}}}``."""
    tell(f"startup: {rounds} rounds")
    measure(variants)  # compiles, and fills the cache of the file system
    return [measure(variants) for _ in range(rounds)]


def measure(variants):
    """Return one round."""
    return {each.key: {"startup": {"cpu": start(each)}} for each in variants if each.available}


def start(variant):
    """Return the milliseconds that a fresh process took."""
    done = subprocess.run(
        [variant.python, "-c", PROGRAM.format(variant.module)],
        cwd=HERE.parent,
        # The peers are installed, and so compiled; ours is as well, unless that is forbidden here.
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="", **dict(variant.environment)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return float(done.stdout) * 1000
