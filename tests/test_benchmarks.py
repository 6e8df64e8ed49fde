"""That the benchmarks still run: everything once, in seconds, with numbers that mean nothing."""

import sys
import xml.dom.minidom
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 10) or sys.platform != "linux", reason="benchmarks need Python 3.10 and Linux"
)
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tiny_run():
    """Return a run of everything, as small as can be."""
    pytest.importorskip("uvicorn")
    from benchmarks import run

    failures = []
    done = run.measure("tiny", tell=lambda text: failures.append(text) if "failed" in text else None)
    assert not failures
    return done


def recorded(peers, memory=None):
    """Return a run with the figures of one round, as ``{variant: {load: cpu}}``."""
    figures = {name: {load: {"cpu": cpu} for load, cpu in loads.items()} for name, loads in peers.items()}
    return {"recorded": "2030-01-01 12:00", "studies": {"peers": [figures]}}


def test_every_load_is_measured_with_ours_and_the_limit(tiny_run):
    from benchmarks import loads

    (peers,) = tiny_run["studies"]["peers"]
    for variant in ("bare", "ours"):
        assert set(peers[variant]) == {load.key for load in loads.ALL}
        assert all(found["cpu"] > 0 for found in peers[variant].values())


def test_memory_and_start_up_are_measured(tiny_run):
    (memory,), (startup,) = tiny_run["studies"]["memory"], tiny_run["studies"]["startup"]
    assert memory["ours"]["memory"]["0"] > 10000
    assert startup["ours"]["startup"]["cpu"] > 10


def test_tables_and_chart_are_made_of_a_run(tiny_run):
    from benchmarks import chart, report

    for make in report.TABLES.values():
        head, rows = make(tiny_run)
        assert all(len(row) == len(head) for row in rows)
    xml.dom.minidom.parseString(chart.chart(tiny_run))


def test_docs_are_filled_in_between_their_markers(tiny_run):
    from benchmarks import report

    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    filled = report.filled_in(page, tiny_run)
    assert filled.count("<!-- bench: ") == filled.count("<!-- end -->") == len(report.TABLES) + len(report.TEXTS)
    assert "| echo, 1 connection, 32 B | 1 (" in filled
    assert report.filled_in(filled, tiny_run) == filled


def test_a_regression_is_seen():
    from benchmarks import compare

    before = recorded({"bare": {"push": 2.0, "ingest": 2.0}, "ours": {"push": 2.0, "ingest": 2.0}})
    after = recorded({"bare": {"push": 4.0, "ingest": 4.0}, "ours": {"push": 4.2, "ingest": 5.0}})
    rows = {title: worse for title, *_, worse in compare.compare(before, after)}
    assert rows == {"push without reading": False, "ingest without replies": True}


def test_recorded_run_is_complete():
    import json

    path = ROOT / "benchmarks" / "results" / "latest.json"
    if not path.exists():
        pytest.skip("no full run is recorded yet")
    studies = json.loads(path.read_text(encoding="utf-8"))["studies"]
    expected = {"peers", "memory", "sockets", "middleware", "patterns", "workers", "servers", "startup"}
    assert expected <= set(studies)
