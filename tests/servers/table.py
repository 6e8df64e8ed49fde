"""The page that says what holds on which server, made of the marks and the results of these tests.

    python -m tests.servers.table docs/servers.md

runs them and writes what it has found into the page. With ``--collect-only`` it runs none, and writes what the marks say:
``test_table.py`` compares that with the page.
"""

import collections
import os
import platform
import re
import sys
from pathlib import Path

import pytest

from .harness import Server
from .kinds import SERVERS

#: The modules of tests in the order of the page, and what the page calls what they are about.
SECTIONS = collections.OrderedDict(
    [
        ("test_request", "The request"),
        ("test_refusals", "The handshake"),
        ("test_messages", "Messages"),
        ("test_flow", "Floods"),
        ("test_limits", "Limits"),
        ("test_wire", "Clients that do not behave"),
        ("test_ends", "The end"),
        ("test_shutdown", "Shutdown, and what else takes a server of its own"),
    ]
)
HOLDS, DIFFERS, LIMITED, FAILED, NOT_RUN = "✔", "≈", "✘", "**failed**", "?"
DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

#: One test with one server: which behaviours it is about, and the marks that say what is special there.
Case = collections.namedtuple("Case", "nodeid section line server behaviours marks")


def case_of(item):
    """Return the case that an item of pytest's is; None for one without a server."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    servers = [kind for kind in parameters if isinstance(kind, type) and issubclass(kind, Server)]
    if not servers:
        return None
    server, module = servers[0], item.module.__name__.rpartition(".")[2]
    case = Case(
        item.nodeid, module, item.function.__code__.co_firstlineno, server,
        [mark.args[0] for mark in item.iter_markers("behaviour")],
        [mark for name in ("limit", "differs", "workaround") for mark in marks_of(item, name, server)],
    )
    limited = any(mark.name == "limit" for mark in case.marks)
    assert case.behaviours or not limited, "expected a mark «behaviour» on " + item.nodeid
    return case


def marks_of(item, name, server):
    """Return the marks of that name that are about a server or some of its releases."""
    return [mark for mark in item.iter_markers(name) if {server.name, *server.releases} & set(mark.args)]


def is_of_old_releases(mark, server):
    """Return whether a mark is about releases of a server that are not its newest."""
    return server.name not in mark.args and all(
        release.old for name, release in server.releases.items() if name in mark.args
    )


def note(mark):
    """Return the note that a mark puts under the table."""
    named = [about(server, mark) for server in SERVERS if {server.name, *server.releases} & set(mark.args)]
    said = [mark.kwargs[key] for key in ("reason", "remedy") if key in mark.kwargs]
    return "{}: {}.".format(", ".join(named), "; ".join(said))


def about(server, mark):
    """Return which server, or which of its releases, a mark is about."""
    if server.name in mark.args:
        return server.title
    releases = [release.which for name, release in server.releases.items() if name in mark.args]
    return "{} {}".format(server.title, ", ".join(releases))


class Table:
    """What holds where, and the notes to it. As a plugin of pytest's, it is filled by a run."""

    def __init__(self):
        self.cases = []
        self.notes = []
        # The outcomes of what has run, by node; None where nothing is to run.
        self.outcomes = None

    def pytest_collection_finish(self, session):
        """Take the tests that there are."""
        cases = [case for case in map(case_of, session.items) if case is not None and case.behaviours]
        order = list(SECTIONS)
        self.cases = sorted(cases, key=lambda case: (order.index(case.section), case.line))
        self.outcomes = None if session.config.option.collectonly else {}

    def pytest_runtest_logreport(self, report):
        """Note how a phase of a test went."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(report.nodeid, []).append(report.outcome)

    # What is written

    def lines(self):
        """Return the lines of the table."""
        lines = ["| | {} |".format(" | ".join(server.title for server in SERVERS)), "|---|" + ":-:|" * len(SERVERS)]
        for section, title in SECTIONS.items():
            rows = self.rows([case for case in self.cases if case.section == section])
            lines += ["| **{}** |{}".format(title, " |" * len(SERVERS))] + rows if rows else []
        return lines

    def rows(self, cases):
        """Return the row of each behaviour, in the order in which they are asked for."""
        rows = collections.OrderedDict()
        for case in cases:
            for behaviour in case.behaviours:
                rows.setdefault(behaviour, []).append(case)
        return [
            "| {} | {} |".format(behaviour, " | ".join(self.cell(server, asked) for server in SERVERS))
            for behaviour, asked in rows.items()
        ]

    def cell(self, server, cases):
        """Return what is to be said of a behaviour on a server."""
        cases = [case for case in cases if case.server is server]
        marks = [mark for case in cases for mark in case.marks]
        numbers = {self.number(note(mark)) for mark in marks}
        result = self.result(cases)
        if result != FAILED:
            names = {mark.name for mark in marks if not is_of_old_releases(mark, server)}
            result = LIMITED if "limit" in names else DIFFERS if "differs" in names else result
        return " ".join([result] + [str(number).translate(DIGITS) for number in sorted(numbers)])

    def number(self, text):
        """Return the number of a note."""
        if text not in self.notes:
            self.notes.append(text)
        return self.notes.index(text) + 1

    def result(self, cases):
        """Return how these tests have ended, or are promised to end where none has run."""
        if self.outcomes is None:
            return HOLDS
        outcomes = [outcome for case in cases for outcome in self.outcomes.get(case.nodeid, [])]
        if "failed" in outcomes:
            return FAILED
        return HOLDS if "passed" in outcomes else NOT_RUN



def versions():
    """Return a line with the versions of all that takes part."""
    found = ["Python " + platform.python_version()]
    for package in ("Django", "Uvicorn", "websockets", "wsproto", "Hypercorn", "Daphne", "Granian"):
        found.append("{} {}".format(package, version(package)))
    return ["Measured with {}.".format(", ".join(found))]


def version(package):
    """Return the version of an installed package."""
    try:
        from importlib import metadata
    except ImportError:
        # Python 3.7 has none.
        import pkg_resources

        return pkg_resources.get_distribution(package).version
    return metadata.version(package)


BLOCK = r"(<!-- servers: {} -->\n).*?(<!-- end -->)"


def fill(text, name, lines):
    """Return the text of a page with other lines in the block of that name."""
    body = "".join(line + "\n" for line in lines)
    filled, count = re.subn(BLOCK.format(name), lambda found: found.group(1) + body + found.group(2), text, flags=re.S)
    assert count == 1, "expected one block «{}» in the page, got {}".format(name, count)
    return filled


def main(page, *arguments):
    """Run the tests, and write the page."""
    table = Table()
    tests = Path(__file__).parent
    # It warns that servers were imported before it was.
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    # What holds only at a second try does not hold.
    options += ["-p", "no:rerunfailures"]
    os.environ.pop("PYTEST_ADDOPTS", None)
    # What looks at the page comes after it.
    options += ["--ignore", str(tests / "test_table.py")]
    status = pytest.main([str(tests), *options, *arguments], plugins=[table])
    if not table.cases:
        return status
    text = Path(page).read_text(encoding="utf-8")
    text = fill(text, "table", table.lines())
    text = fill(text, "notes", ["{}. {}".format(number, line) for number, line in enumerate(table.notes, 1)])
    if table.outcomes is not None:
        text = fill(text, "versions", versions())
    Path(page).write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
