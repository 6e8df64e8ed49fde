"""``python -m benchmarks.run``: measure, print the tables, write the results; ``make bench`` and ``make bench-quick``."""

import argparse
import asyncio
import contextlib
import datetime
import gc
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata

from . import ceiling, chart, compare, instructions, plan, redis, report, startup
from .servers import EARLIER, HERE
from .study import run_study

RESULTS = HERE / "results"
LATEST = RESULTS / "latest.json"
DOCS = HERE.parent / "docs"
PACKAGES = ("Django", "uvicorn", "uvloop", "websockets", "starlette", "channels", "hypercorn", "daphne", "granian")


def main(arguments=None):
    """Do what the command line asks; return the exit status."""
    options = parse(arguments)
    if options.report:
        write_docs(json.loads(LATEST.read_text()))
        return 0
    if options.kind == "instructions" and not instructions.is_installed():
        say(f"expected {instructions.PROGRAM} to be installed: its callgrind counts the instructions")
        return 1
    started = time.monotonic()
    run = measure(options.kind, options.only, say)
    say(f"\nmeasured in {time.monotonic() - started:.0f} s\n")
    print_tables(run)
    if options.kind == "quick":
        return tell_changes(run)
    if options.kind == "full":
        save(run, complete=not options.only)
    if options.kind == "instructions":
        save_instructions(run)
    return 0


def parse(arguments):
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("kind", nargs="?", choices=("full", "quick", "tiny", "instructions"), default="full")
    parser.add_argument("--only", type=lambda text: text.split(","), help="studies to make, by name, with commas")
    parser.add_argument("--report", action="store_true", help="only write the docs anew, from results/latest.json")
    return parser.parse_args(arguments)


def say(*words):
    """Print at once."""
    print(*words, flush=True)


def measure(kind, only=None, tell=say):
    """Make the studies; return the run as it is written to a file."""
    most_sockets = raise_limit() - 300
    about = describe()
    if kind not in ("tiny", "instructions") and about["load"] > 0.5:
        tell("the machine is not idle: trust the ratios a little, and nothing else")
    with tempfile.TemporaryDirectory() as directory, redis.running(directory) as engine, without_pauses():
        environment, cookie = prepare(directory)
        environment += engine
        chosen = [study for study in studies(kind, directory, most_sockets) if not only or study.key in only]
        found = {study.key: run_in_loop(run_study(study, environment, cookie, tell)) for study in chosen}
        if kind == "instructions":
            found[kind] = run_in_loop(instructions.run_instructions(directory, environment, cookie, tell))
    if kind in plan.STARTUPS and (not only or "startup" in only):
        found["startup"] = startup.run_startup(*plan.STARTUPS[kind], tell)
    recorded = datetime.datetime.now().isoformat(" ", "minutes")
    return {"recorded": recorded, "kind": kind, "environment": about, "studies": rounded(found)}


@contextlib.contextmanager
def without_pauses():
    """Do without garbage collection here: a pause of the load generator would be one of the server."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def studies(kind, directory, most_sockets):
    """Return the studies of a kind of run."""
    if kind == "full":
        return plan.full(ceiling.compiled(directory), most_sockets)
    return {"quick": plan.quick, "tiny": plan.tiny}.get(kind, list)()


def run_in_loop(coroutine):
    """Run a coroutine in the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def raise_limit():
    """Allow as many open files as may be allowed, here and in the servers; return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else sys.maxsize


def prepare(directory):
    """Make the database; return the environment that names it, and the key of a session."""
    environment = (("BENCH_DATABASE", str(pathlib.Path(directory) / "database.sqlite3")),)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.apps.prepare"],
        cwd=HERE.parent,
        env=dict(os.environ, **dict(environment)),
        stdout=subprocess.PIPE,
        check=True,
        universal_newlines=True,
    )
    return environment, done.stdout.split()[-1]


def describe():
    """Return where and with what the run was made."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": " ".join([platform.system(), ".".join(platform.release().split(".")[:2])]),
        "python": platform.python_version(),
        "versions": {name: found for name, found in versions().items() if found},
        "revision": output("git", "rev-parse", "--short", "HEAD") or "unknown",
        "load": os.getloadavg()[0],
    }


def processor():
    """Return the name of the processor."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions():
    """Return the versions of what takes part."""
    found = {name: version(name) for name in PACKAGES}
    program = "from importlib import metadata; print(metadata.version('django-pistoke'))"
    found["earlier django-pistoke"] = output(str(EARLIER), "-c", program)
    return found


def version(name):
    """Return the version of an installed package, None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def output(*command):
    """Return what a program prints, None where it fails."""
    try:
        done = subprocess.run(
            command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def rounded(value):
    """Return what JSON can hold, its numbers in four digits."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}")


def print_tables(run):
    """Print what was measured."""
    for make in report.TABLES.values():
        table = make(run)
        if any(set(row[1:]) != {report.NOTHING} for row in table[1]):
            say(report.plain(table) + "\n")


def tell_changes(run):
    """Print a comparison with the recorded run; return the exit status."""
    if not LATEST.exists():
        say("nothing to compare with: no full run is recorded")
        return 0
    recorded = json.loads(LATEST.read_text())
    return 1 if compare.tell(compare.compare(recorded, run), recorded, say) else 0


def save(run, complete):
    """Write the results; where the run was complete, those that others are compared with, and the docs, too."""
    name = run["recorded"].replace(" ", "-").replace(":", "")
    RESULTS.mkdir(exist_ok=True)
    write(RESULTS / f"{name}.json", run)
    if complete:
        if LATEST.exists():
            keep_instructions(json.loads(LATEST.read_text()), run)
        write(LATEST, run)
        write_docs(run)


def save_instructions(run):
    """Add what was counted to the results that others are compared with."""
    recorded = json.loads(LATEST.read_text())
    keep_instructions(run, recorded)
    write(LATEST, recorded)
    write_docs(recorded)


def keep_instructions(source, run):
    """Take the instructions that another run has counted over into a run."""
    if "instructions" in source["studies"]:
        run["studies"]["instructions"] = source["studies"]["instructions"]
        run["counted"] = source.get("counted") or [source["recorded"], source["environment"]["revision"]]


def write(target, run):
    """Write a run to a file."""
    target.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    say(f"written: {target.relative_to(HERE.parent)}")


def write_docs(run):
    """Make the chart and the tables of the docs anew."""
    page = DOCS / "performance.md"
    page.write_text(report.filled_in(page.read_text(), run))
    (DOCS / "performance.svg").write_text(chart.chart(run))
    say("written: docs/performance.md, docs/performance.svg")


if __name__ == "__main__":
    sys.exit(main())
