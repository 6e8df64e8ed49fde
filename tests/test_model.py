"""Whatever a client and a view do, the handler does what the model of the contract says (``model.py``)."""
import json

import pytest

from .parts import importable, require

require("hypothesis", importable("hypothesis"), "pip install hypothesis")

from hypothesis import HealthCheck, assume, given, settings  # noqa: E402

from pistoke.connection import Connection  # noqa: E402

from . import model, plans, virtual  # noqa: E402

#: The same plans in each run; `make model` draws others.
thoroughly = settings(
    max_examples=400,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module", autouse=True)
def rules():
    with plans.rules():
        yield


def seen(run):
    """Return the outcome of a run as the model tells it."""
    server, journal, records = run
    messages = [message for message in server.messages if message not in ("tick", '"tick"')]
    is_json = model.PROTOCOLS[server.plan.protocol][0]
    accepted = [event["subprotocol"] for event in server.sent if event["type"] == "websocket.accept"]
    return model.Outcome(
        list(journal),
        journal.ended[0] if journal.ended else None,
        ([json.loads(message) for message in messages] if is_json else messages, len(server.messages) - len(messages)),
        bool(accepted) and tuple(accepted),
        bool(server.sent) and not accepted,
        server.closed if accepted else None,
        len(records),
    )


def check_always(run):
    """Look at what holds of every run."""
    server, journal, records = run
    assert journal.entered == len(journal.ended) <= 1
    connection = Connection()
    for event in server.sent:
        connection.sending(event)


def agrees_with_the_model(plan):
    """Run a plan at its times: everything is as the model says."""
    expected = model.Model(plan)
    outcome = expected.run()
    assume(not expected.vague)
    run = virtual.run(plans.run_plan(plan, plans.handler()))
    check_always(run)
    assert seen(run) == outcome, [record.getMessage() for record in run.records]


def survives_a_race(plan):
    """Run a plan in turns of the event loop, where either side may be the faster: nothing is lost, mixed up or left."""
    run = virtual.run(plans.run_plan(plan, plans.handler(), in_turns=True))
    check_always(run)
    server, journal, records = run
    read = [value for _, kind, value in journal if kind == "read"]
    readable, rejections = model.readable(plan)
    assert read == readable[:len(read)]
    if not rejections and server.closed is None and any(kind == "drained" for _, kind, _ in journal):
        assert read == readable
    assert server.closed in model.codes(plan).union(rejections)
    assert server.closed is not None or server.left_first
    assert len(records) <= 1, [record.getMessage() for record in records]


@thoroughly
@given(plans.plans())
def test_a_run_is_what_the_model_says(plan):
    agrees_with_the_model(plan)


@thoroughly
@given(plans.plans())
def test_whoever_is_faster_nothing_is_lost(plan):
    survives_a_race(plan)
