"""A few seconds of `make fuzz`, with the same cases in each run; and that it finds what there is to find."""
import ast

import pytest

from pistoke.handler import WebsocketHandler

from .fuzz import cases, inside, project, shrinking

CASE = dict(cases.case("a", 1), project="plain", target=b"/echo/", subprotocols=[], messages=["hello"], end=1001, scope={})
CASE["headers"] = [(b"host", b"testserver"), (b"cookie", b"a=b")]


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_a_stranger_gets_a_defined_answer(first):
    for number in range(first, first + 100):
        inside.run(cases.case("suite", number))


def test_a_case_is_the_same_each_time_and_can_be_printed():
    for number in range(200):
        case = cases.case("seed", number)
        assert case == cases.case("seed", number) == ast.literal_eval(repr(case))


def test_an_ordinary_case_passes():
    inside.run(CASE)


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"type": "websocket.close", "code": 1011, "reason": ""}, "sees code 1011"),
        ({"type": "websocket.close", "code": 4000, "reason": "a\r\nb"}, "control characters"),
        ({"type": "websocket.send", "text": project.SECRET}, "tells too much"),
        ({"type": "websocket.send", "text": "\ud800"}, "surrogates"),
        ({"type": "websocket.http.response.start", "status": 500, "headers": []}, "sees status 500"),
        ({"type": "websocket.http.response.start", "status": 403, "headers": [(b"a", b"b\r\nc: d")]}, "is injected"),
        ({"type": "websocket.http.response.start", "status": 403, "headers": [(b"a b", b"")]}, "name of a header"),
        ({"type": "websocket.http.response.body", "body": b"Traceback (most recent call last):"}, "tells too much"),
    ],
)
async def test_an_answer_that_should_not_be_is_found(event, sentence):
    server = inside.Server()
    accept = {"type": "websocket.accept", "subprotocol": None}
    server.sent = [event] if "http" in event["type"] else [accept, event]
    with pytest.raises((inside.Failure, UnicodeError), match=sentence):
        inside.check_answer(server)


class Broken(WebsocketHandler):
    """Lets an exception out."""

    async def __call__(self, scope, receive, send):
        raise KeyError


class Hanging(WebsocketHandler):
    """Never answers."""

    async def __call__(self, scope, receive, send):
        while (await receive())["type"] != "websocket.disconnect":
            pass


@pytest.mark.parametrize(
    ("handler", "sentence"), [(Broken, "exception came out"), (Hanging, "not answered")], ids=lambda value: str(value)
)
def test_a_handler_that_fails_is_found(handler, sentence, monkeypatch):
    monkeypatch.setitem(project.project.handlers, "plain", handler())
    with pytest.raises(inside.Failure, match=sentence):
        inside.run(CASE)


def test_a_view_that_fails_is_found(monkeypatch):
    def fails(case):
        try:
            inside.run(case)
        except inside.Failure:
            return True
        return False

    async def broken(*args):
        raise ValueError

    monkeypatch.setattr(WebsocketHandler, "_open", broken)
    small = shrinking.smaller(cases.case("b", 5), fails)
    assert small["headers"] == small["messages"] == [] and len(small["target"]) <= 1
