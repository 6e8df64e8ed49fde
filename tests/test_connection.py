"""The rules of a connection: every event in every state, every close code, every way to cut a reason."""
import ast
import enum
import inspect
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from pistoke import connection
from pistoke.connection import (
    MAX_REASON_BYTES,
    TRANSITIONS,
    Connection,
    InvalidEvent,
    State,
    choose_subprotocol,
    close_code_for_status,
    close_event,
    cut_reason,
    payload,
    size,
)

#: What an application may send, written down a second time: the state that follows, or nothing.
ALLOWED = {
    (State.CONNECTING, "websocket.accept"): State.CONNECTED,
    (State.CONNECTING, "websocket.close"): State.DISCONNECTED,
    (State.CONNECTING, "websocket.http.response.start"): State.RESPONSE,
    (State.CONNECTED, "websocket.send"): State.CONNECTED,
    (State.CONNECTED, "websocket.close"): State.DISCONNECTED,
    (State.RESPONSE, "websocket.http.response.body"): State.DISCONNECTED,
}

EVENTS = [
    "websocket.accept",
    "websocket.send",
    "websocket.close",
    "websocket.http.response.start",
    "websocket.http.response.body",
    "websocket.connect",
    "websocket.receive",
    "websocket.disconnect",
    "http.response.start",
    "",
    None,
]

#: How a connection gets into each state.
ROADS = {
    State.CONNECTING: [],
    State.CONNECTED: ["websocket.accept"],
    State.RESPONSE: ["websocket.http.response.start"],
    State.DISCONNECTED: ["websocket.accept", "websocket.close"],
}


def connection_in(state):
    """Return a connection whose application is in a state."""
    made = Connection()
    for type in ROADS[state]:
        made.sending({"type": type})
    assert made.application is state
    return made


# Where it lives


def test_the_rules_import_neither_asyncio_nor_django():
    tree = ast.parse(inspect.getsource(connection))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    assert set(names) <= {"enum", "typing"}


def test_the_rules_run_without_asyncio_and_django():
    program = (
        "import sys, types; package = types.ModuleType('pistoke'); package.__path__ = [sys.argv[1]]; "
        "sys.modules.update(pistoke=package, asyncio=None, django=None, asgiref=None); "
        "from pistoke.connection import Connection; Connection().sending({'type': 'websocket.accept'})"
    )
    path = str(Path(inspect.getsourcefile(connection)).parent)
    assert subprocess.call([sys.executable, "-c", program, path], timeout=60) == 0


# What the application may send


def test_every_state_has_its_events():
    assert set(TRANSITIONS) == set(State) == set(ROADS)


@pytest.mark.parametrize(("state", "type"), list(itertools.product(State, EVENTS)))
def test_every_event_in_every_state(state, type):
    made = connection_in(state)
    if (state, type) in ALLOWED:
        made.sending({"type": type})
        assert made.application is ALLOWED[state, type]
    else:
        with pytest.raises(InvalidEvent):
            made.sending({"type": type})
        assert made.application is state


@pytest.mark.parametrize(("state", "type"), list(itertools.product(State, EVENTS)))
def test_what_the_client_has_done_changes_nothing_about_it(state, type):
    made = connection_in(state)
    made.received({"type": "websocket.disconnect"})
    if (state, type) in ALLOWED:
        made.sending({"type": type})
        assert made.application is ALLOWED[state, type]
    else:
        with pytest.raises(InvalidEvent):
            made.sending({"type": type})


def test_an_event_out_of_turn_is_named_with_those_that_are_not():
    with pytest.raises(InvalidEvent) as error:
        Connection().sending({"type": "websocket.send"})
    assert str(error.value) == (
        "expected 'websocket.accept' or 'websocket.close' or 'websocket.http.response.start' while connecting, "
        "got 'websocket.send'"
    )
    assert (error.value.event, error.value.state) == ("websocket.send", State.CONNECTING)
    assert error.value.allowed == tuple(TRANSITIONS[State.CONNECTING])


def test_nothing_more_is_allowed_after_the_end():
    with pytest.raises(InvalidEvent, match="^expected nothing more while disconnected, got 'websocket.send'$"):
        connection_in(State.DISCONNECTED).sending({"type": "websocket.send"})


def test_an_event_without_a_type_is_out_of_turn():
    with pytest.raises(InvalidEvent, match="got None"):
        Connection().sending({})


def test_an_invalid_event_is_a_runtime_error():
    assert issubclass(InvalidEvent, RuntimeError)


@pytest.mark.parametrize(
    ("more_body", "state"), [(True, State.RESPONSE), (False, State.DISCONNECTED), (None, State.DISCONNECTED)]
)
def test_a_response_goes_on_while_there_is_more_of_its_body(more_body, state):
    made = connection_in(State.RESPONSE)
    made.sending({"type": "websocket.http.response.body", "body": b"", "more_body": more_body})
    assert made.application is state


def test_a_body_is_the_last_part_unless_it_says_otherwise():
    made = connection_in(State.RESPONSE)
    made.sending({"type": "websocket.http.response.body"})
    assert made.application is State.DISCONNECTED


@pytest.mark.parametrize("type", ["websocket.send", "websocket.accept", "websocket.http.response.start"])
def test_more_body_means_nothing_elsewhere(type):
    made = connection_in(State.CONNECTED if type == "websocket.send" else State.CONNECTING)
    made.sending({"type": type, "more_body": False})
    assert made.application is not State.DISCONNECTED


# How it ends


def test_a_new_connection_is_not_over():
    made = Connection()
    assert (made.client, made.application) == (State.CONNECTED, State.CONNECTING)
    assert not made.over
    assert (made.close_code, made.close_reason) == (None, "")


@pytest.mark.parametrize("state", list(State))
def test_it_is_over_when_either_side_is_done(state):
    made = connection_in(state)
    assert made.over is (state is State.DISCONNECTED)
    made.lost()
    assert made.over


@pytest.mark.parametrize("type", ["websocket.connect", "websocket.receive", "something.else"])
def test_other_events_are_not_the_clients_last(type):
    made = Connection()
    assert made.received({"type": type}) is False
    assert made.client is State.CONNECTED and made.close_code is None


class Code(enum.IntEnum):
    GOING_AWAY = 1001


@pytest.mark.parametrize(
    ("event", "code", "reason"),
    [
        ({}, 1005, ""),
        ({"code": None}, 1005, ""),
        ({"code": None, "reason": None}, 1005, ""),
        ({"code": 1000}, 1000, ""),
        ({"code": 1006, "reason": ""}, 1006, ""),
        ({"code": 4001, "reason": "ä"}, 4001, "ä"),
        ({"code": Code.GOING_AWAY, "reason": None}, 1001, ""),
        ({"code": 0}, 0, ""),
    ],
)
def test_a_disconnect_is_the_clients_last_word(event, code, reason):
    made = Connection()
    assert made.received(dict(event, type="websocket.disconnect")) is True
    assert made.client is State.DISCONNECTED
    assert (made.close_code, made.close_reason) == (code, reason)
    assert type(made.close_code) is int


def test_a_client_that_is_lost_has_left_abnormally():
    made = Connection()
    made.lost()
    assert (made.close_code, made.close_reason) == (1006, "")


def test_the_first_end_counts_when_the_client_leaves_twice():
    made = Connection()
    made.received({"type": "websocket.disconnect", "code": 4001, "reason": "one"})
    made.received({"type": "websocket.disconnect", "code": 1006})
    made.lost()
    assert (made.close_code, made.close_reason) == (4001, "one")


def test_the_first_end_counts_when_the_application_was_first():
    made = connection_in(State.CONNECTED)
    made.sending({"type": "websocket.close", "code": 4000, "reason": "enough"})
    made.received({"type": "websocket.disconnect", "code": 1005})
    assert (made.close_code, made.close_reason) == (4000, "enough")


def test_the_first_end_counts_when_the_client_was_first():
    made = connection_in(State.CONNECTED)
    made.received({"type": "websocket.disconnect", "code": 1001})
    made.sending({"type": "websocket.close", "code": 1011})
    assert made.close_code == 1001
    assert made.application is State.DISCONNECTED


@pytest.mark.parametrize("event", [{}, {"reason": None}, {"reason": ""}])
def test_a_close_without_a_code_is_a_normal_one(event):
    made = connection_in(State.CONNECTED)
    made.sending(dict(event, type="websocket.close"))
    assert (made.close_code, made.close_reason) == (1000, "")


# Messages


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"text": "a"}, "a"),
        ({"text": ""}, ""),
        ({"text": "a", "bytes": None}, "a"),
        ({"text": "", "bytes": None}, ""),
        ({"bytes": b"a"}, b"a"),
        ({"bytes": b""}, b""),
        ({"bytes": b"a", "text": None}, b"a"),
        ({"bytes": b"", "text": None}, b""),
        ({"bytes": None, "text": None}, b""),
        ({}, b""),
    ],
)
def test_a_message_is_under_either_key(event, message):
    got = payload(event)
    assert got == message and type(got) is type(message)


@pytest.mark.parametrize(
    ("message", "length"),
    [("", 0), ("a", 1), ("ä", 2), ("€", 3), ("𝄞", 4), ("\ud800", 3), (b"", 0), (b"\xff\x00", 2)],
)
def test_the_size_of_a_message_is_in_bytes(message, length):
    assert size(message) == length


# Closing

SENDABLE = set(range(1000, 1004)) | set(range(1007, 1015)) | set(range(3000, 5000))


def test_every_close_code():
    for code in range(-5, 5101):
        if code in SENDABLE:
            assert close_event(code, "why") == {"type": "websocket.close", "code": code, "reason": "why"}
        else:
            with pytest.raises(ValueError, match="3000–4999, got {}$".format(code)):
                close_event(code, "why")


@pytest.mark.parametrize("code", [2 ** 31, -(2 ** 31), 2 ** 70, True, False])
def test_integers_out_of_all_range_are_no_close_codes(code):
    with pytest.raises(ValueError):
        close_event(code, "")


@pytest.mark.parametrize("code", ["1000", 1000.0, None, b"1000", (1000,), object()], ids=lambda code: type(code).__name__)
def test_only_an_integer_is_a_close_code(code):
    with pytest.raises(TypeError, match="^expected a close code as an integer, got "):
        close_event(code, "")


def test_an_enumerated_code_becomes_a_plain_integer():
    assert type(close_event(Code.GOING_AWAY, "")["code"]) is int


def test_a_reason_is_made_text():
    assert close_event(1000, 17)["reason"] == "17"


@pytest.mark.parametrize("character", ["a", "ä", "€", "𝄞"])
@pytest.mark.parametrize("before", range(5))
def test_a_reason_is_cut_between_two_characters(character, before):
    width = len(character.encode())
    whole = "x" * before + character * 200
    cut = cut_reason(whole)
    assert whole.startswith(cut)
    assert len(cut) == before + (MAX_REASON_BYTES - before) // width
    assert MAX_REASON_BYTES - width < len(cut.encode()) <= MAX_REASON_BYTES


@pytest.mark.parametrize("reason", ["", "a", "a" * 123, "ä" * 61, "𝄞" * 30, "a\u0301" * 41])
def test_a_reason_that_fits_is_left_alone(reason):
    assert cut_reason(reason) == reason


@pytest.mark.parametrize("reason", ["\ud800", "a\udfff", "\udc80" * 200, "x" * 122 + "\ud800€"])
def test_half_a_surrogate_pair_becomes_a_question_mark(reason):
    cut = cut_reason(reason)
    assert len(cut.encode("utf-8")) <= MAX_REASON_BYTES
    assert "?" in cut


def test_a_surrogate_at_the_cut_takes_one_byte():
    assert cut_reason("x" * 122 + "\ud800") == "x" * 122 + "?"
    assert cut_reason("x" * 123 + "\ud800") == "x" * 123


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_a_close_code(status):
    code = close_code_for_status(status)
    assert code == (1000 if status < 300 else 4403 if status < 400 else 4000 + status)
    close_event(code, "")


# Subprotocols


@pytest.mark.parametrize(
    ("offered", "supported", "chosen"),
    [
        ((), (), None),
        (("a",), ("a",), "a"),
        (("a", "b"), ("b", "a"), "a"),
        (("b", "a"), ("a", "b"), "b"),
        (("x", "b"), ("a", "b"), "b"),
        (["x", "a"], ["a"], "a"),
        (("a", "a"), ("a",), "a"),
    ],
)
def test_the_clients_order_decides(offered, supported, chosen):
    assert choose_subprotocol(offered, supported) == chosen


@pytest.mark.parametrize(
    ("offered", "supported"), [((), ("a",)), (("a",), ()), (("a",), ("b",)), (("A",), ("a",)), (("", " a"), ("a",))]
)
def test_two_sides_without_a_common_subprotocol(offered, supported):
    with pytest.raises(LookupError):
        choose_subprotocol(offered, supported)
