"""`make fuzz`, `make model`: look for trouble for as long as there is time, and say how to meet it again."""
import argparse
import ast
import functools
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from . import cases, inside, shrinking  # noqa: E402

#: How many different failures are shown.
ENOUGH = 10


class Findings:
    """What was found."""

    def __init__(self):
        self.sentences = set()

    def add(self, name, case, error, run=None):
        """Tell of a failure, once, with as small a case as there is."""
        sentence = kind(error)
        if (name, sentence) in self.sentences:
            return
        self.sentences.add((name, sentence))
        if run is not None:
            case = shrinking.smaller(case, lambda candidate: kind(failure(run, candidate)) == sentence)
        print("\n{} fails: {}".format(name, error))
        traceback.print_exception(type(error), error, error.__traceback__)
        print("\nagain: python -m tests.fuzz {} --case {!r}\n".format(name, repr(case)))
        sys.stdout.flush()


def kind(error):
    """Return what failures have in common that are one."""
    return None if error is None else "{} {}".format(type(error).__name__, str(error)[:40])


def failure(run, case):
    """Run a case; return what it raises, or None."""
    try:
        run(case)
    except Exception as error:
        return error
    return None


def fuzz_inside(seconds, seed, findings):
    """Run cases against the handler itself; return how many."""
    return until(seconds, seed, "inside", inside.run, findings, inside.run)


def until(seconds, seed, name, run, findings, again=None, first=0):
    """Run cases until the time is over; return how many."""
    deadline, number = time.monotonic() + seconds, first
    while time.monotonic() < deadline and len(findings.sentences) < ENOUGH:
        case = cases.case(seed, number)
        number += 1
        error = failure(run, case)
        if error is not None:
            findings.add(name, case, error, again)
    return number - first


def servers():
    """Return the kinds of servers that are installed, by name."""
    from ..servers.kinds import SERVERS

    return {kind.name: kind for kind in SERVERS if kind.exists and kind.present()}


def started(kind):
    """Return a running server of a kind as a target, with a database of its own."""
    from ..servers import harness
    from .outside import Target

    directory = Path(tempfile.mkdtemp(prefix="pistoke-fuzz-"))
    harness.prepare(directory)
    return Target(kind(directory))


def fuzz_server(name, seconds, seed, findings):
    """Send cases to a real server; return how many."""
    target, count = started(servers()[name]), 0
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and len(findings.sentences) < ENOUGH:
            count += until(min(5, deadline - time.monotonic()), seed, name, target.run, findings, None, count)
            error = failure(lambda case: target.check_output(), None)
            if error is not None:
                findings.add(name, {"before": count, "seed": seed}, error)
            if target.server.process.poll() is not None:
                break
    finally:
        target.server.kill()
    own = target.own_errors, target.own_tracebacks
    print("{}: {} answers of 5xx and {} tracebacks are of the server alone".format(name, *own))
    return count


def draw_plans(seconds, seed):
    """Let hypothesis draw plans, and compare their runs with the model; return how many it was asked for."""
    from hypothesis import given, settings
    from hypothesis import seed as seeded

    from .. import plans, test_model

    deadline, count = time.monotonic() + seconds, 0
    often = settings(test_model.thoroughly, max_examples=1000, derandomize=False, print_blob=False)
    with plans.rules():
        while time.monotonic() < deadline:
            for check in (test_model.agrees_with_the_model, test_model.survives_a_race):
                seeded("{}.{}".format(seed, count))(often(given(plans.plans())(check)))()
                count += 1000
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz")
    parser.add_argument("what", nargs="*", help="inside, model, or names of servers; without any: inside and all servers")
    parser.add_argument("--seconds", type=float, default=120, help="how long in all")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10 ** 9)), help="to run the same cases again")
    parser.add_argument("--case", type=ast.literal_eval, help="run one case, as a failure printed it")
    arguments = parser.parse_args()
    if arguments.case is not None:
        return run_one(arguments)
    print("seed: {}".format(arguments.seed))
    if arguments.what == ["model"]:
        count = draw_plans(arguments.seconds, arguments.seed)
        print("model: {} plans in {:.0f} s, none failed".format(count, arguments.seconds))
        return 0
    return fuzz(arguments.what or ["inside"] + list(servers()), arguments.seconds, arguments.seed)


def run_one(arguments):
    """Run one case where it failed."""
    for name in arguments.what or ["inside"]:
        if name == "inside":
            inside.run(arguments.case)
            continue
        target = started(servers()[name])
        try:
            target.run(arguments.case)
            time.sleep(0.5)
            for _ in range(2):
                target.check_output()
        finally:
            target.server.kill()
    print("passed")
    return 0


def fuzz(names, seconds, seed):
    """Fuzz all of these, half of the time inside where that is among them; return the status to exit with."""
    findings, total = Findings(), 0
    shares = {name: 1 if name != "inside" else max(1, len(names) - 1) for name in names}
    for name in names:
        share = seconds * shares[name] / sum(shares.values())
        run = fuzz_inside if name == "inside" else functools.partial(fuzz_server, name)
        count = run(share, seed, findings)
        print("{}: {} cases in {:.0f} s".format(name, count, share))
        sys.stdout.flush()
        total += count
    print("fuzz: {} cases, {} failures; seed {}".format(total, len(findings.sentences), seed))
    return 1 if findings.sentences else 0


if __name__ == "__main__":
    sys.exit(main())
