"""Typed messages: what is read, what is refused and in which words, what is sent, over a scripted ASGI server."""
import asyncio
import sys

import pytest

from tests.parts import importable, require

has_dataclasses = sys.version_info >= (3, 7)
require("dataclasses", has_dataclasses, "", exists=has_dataclasses)

import dataclasses  # noqa: E402
import datetime  # noqa: E402
import decimal  # noqa: E402
import enum  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import subprocess  # noqa: E402
import typing  # noqa: E402
import uuid  # noqa: E402
from pathlib import Path  # noqa: E402
from types import ModuleType, SimpleNamespace  # noqa: E402

from django.core.exceptions import ValidationError  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import include, path, re_path, register_converter  # noqa: E402
from django.utils.decorators import method_decorator  # noqa: E402
from django.views.generic import TemplateView, View  # noqa: E402
from hypothesis import given, settings, strategies  # noqa: E402

import pistoke  # noqa: E402
from pistoke.decorators import limits  # noqa: E402
from pistoke.exceptions import ClientDisconnected  # noqa: E402
from pistoke.handler import WebsocketHandler  # noqa: E402
from pistoke.protocol import RawWebsocketProtocol, WebsocketJSONProtocol  # noqa: E402
from pistoke.pubsub.message import decode, encode  # noqa: E402
from pistoke.typed import BadMessage, Messages, messages  # noqa: E402
from pistoke.typed.models import json_text, snake_case, union_of  # noqa: E402
from pistoke.views import WebsocketView  # noqa: E402
from tests.asgi import Server, urls  # noqa: E402

try:
    from typing import Literal
except ImportError:
    from typing_extensions import Literal

HERE = Path(__file__).resolve().parent
require("pydantic", importable("pydantic"), "pip install pydantic")
has_msgspec = sys.version_info >= (3, 8)
if has_msgspec:
    require("msgspec", importable("msgspec"), "pip install msgspec")
    import msgspec
import pydantic  # noqa: E402


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0


@dataclasses.dataclass
class Circle:
    radius: float
    type: Literal["circle"] = "circle"


@dataclasses.dataclass
class Square:
    side: float
    type: Literal["square"] = "square"


@dataclasses.dataclass
class Say:
    """What somebody says."""

    text: str


@dataclasses.dataclass
class TypingNow:
    on: bool = True


@dataclasses.dataclass
class Everything:
    text: str
    number: int
    real: float
    flag: bool
    nothing: None
    maybe: typing.Optional[int]
    either: typing.Union[int, str, typing.List[bool]]
    many: typing.List[int]
    pair: typing.Tuple[int, str]
    row: typing.Tuple[int, ...]
    names: typing.Dict[str, float]
    numbers: typing.Dict[int, str]
    word: Literal["yes", "no", 3]
    colour: Colour
    moment: datetime.datetime
    day: datetime.date
    hour: datetime.time
    length: datetime.timedelta
    key: uuid.UUID
    price: decimal.Decimal
    point: Point
    shape: typing.Union[Circle, Square, None]
    inner: "typing.Optional[Tree]" = None
    rest: typing.Any = None
    tags: typing.Set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class Tree:
    children: "typing.List[Tree]" = dataclasses.field(default_factory=list)


EVERYTHING = Everything(
    "ä", 1, 1.5, True, None, None, [True], [1], (1, "a"), (1, 2), {"a": 1.0}, {-1: "b"}, 3, Colour.BLUE,
    datetime.datetime(2026, 5, 1, 12, 0, 0, 123456, datetime.timezone.utc), datetime.date(2026, 5, 1),
    datetime.time(12, 30), datetime.timedelta(days=1, seconds=5), uuid.UUID(int=5), decimal.Decimal("1.50"),
    Point(1, 2), Square(2), Tree([Tree()]), {"any": ["thing"]}, {"a"},
)


class Move(pydantic.BaseModel):
    to: typing.List[int]
    speed: int = pydantic.Field(1, ge=0, le=9)


class Stop(pydantic.BaseModel):
    type: Literal["halt"] = "halt"


if has_msgspec:

    class Nudge(msgspec.Struct, tag=True):
        who: str
        at: typing.List[Point] = []

    class Wave(msgspec.Struct):
        times: int


def read(value, *expected):
    """Return what comes of a JSON value, or of its text."""
    text = value if isinstance(value, str) else json.dumps(value)
    return union_of(expected).read(json.loads(text), text)


def problems(value, *expected):
    """Return what is wrong with a JSON value: (place, message) for each problem."""
    with pytest.raises(BadMessage) as caught:
        read(value, *expected)
    assert caught.value.reply == {"type": "error", "message": str(caught.value), "errors": caught.value.errors}
    json.dumps(caught.value.reply, allow_nan=False)
    return [(tuple(error["loc"]), error["message"]) for error in caught.value.errors]


# Dataclasses --------------------------------------------------------------------------------------------------


def test_every_type_of_a_field_comes_back():
    assert read(json_text(EVERYTHING), Everything) == EVERYTHING


def good():
    return json.loads(json_text(EVERYTHING))


@pytest.mark.parametrize(
    "field, value, place, message",
    [
        ("text", 5, (), "expected str, got 5"),
        ("text", None, (), "expected str, got null"),
        ("number", True, (), "expected int, got true"),
        ("number", 1.5, (), "expected int, got 1.5"),
        ("number", "1", (), 'expected int, got "1"'),
        ("real", False, (), "expected float, got false"),
        ("real", 10 ** 400, (), "expected float, got a large number"),
        ("flag", 1, (), "expected bool, got 1"),
        ("nothing", 0, (), "expected null, got 0"),
        ("maybe", "x", (), 'expected int or null, got "x"'),
        ("either", None, (), "expected int or str or a list, got null"),
        ("either", [1], (0,), "expected bool, got 1"),
        ("many", {}, (), "expected a list, got an object"),
        ("many", [1, "a"], (1,), 'expected int, got "a"'),
        ("pair", [1], (), "expected a list of 2 values, got 1 of them"),
        ("pair", "ab", (), 'expected a list of 2 values, got "ab"'),
        ("row", [1, None], (1,), "expected int, got null"),
        ("names", [], (), "expected an object, got a list"),
        ("names", {"a": "b"}, ("a",), 'expected float, got "b"'),
        ("numbers", {"1_0": "b"}, ("1_0",), 'expected a whole number as the name of a field, got "1_0"'),
        ("word", "maybe", (), 'expected "yes" or "no" or 3, got "maybe"'),
        ("colour", "RED", (), 'expected "red" or 2, got "RED"'),
        ("moment", "yesterday", (), 'expected a date and time as in ISO 8601, got "yesterday"'),
        ("day", "2026-02-30", (), 'expected a date as in ISO 8601, got "2026-02-30"'),
        ("key", "x", (), 'expected a UUID, got "x"'),
        ("price", "NaN", (), 'expected a decimal number, got "NaN"'),
        ("price", True, (), "expected a decimal number, got true"),
        ("point", 1, (), "expected an object, got 1"),
        ("point", {}, ("x",), "expected a value, got nothing"),
        ("point", {"x": 1, "z": 1}, ("z",), "expected no such field"),
        ("shape", {"type": "line"}, ("type",), 'expected "circle" or "square", got "line"'),
        ("shape", {"type": "circle"}, ("radius",), "expected a value, got nothing"),
        ("inner", {"children": [{"children": 1}]}, ("children", 0, "children"), "expected a list, got 1"),
        ("tags", [[]], (0,), "expected str, got a list"),
    ],
)
def test_bad_field_is_described(field, value, place, message):
    assert problems(dict(good(), **{field: value}), Everything) == [((field, *place), message)]


def test_int_is_a_float():
    point = read({"x": 1, "y": 2.0}, Point)
    assert point == Point(1, 2) and type(point.x) is float


def test_all_problems_are_told_but_not_without_bounds():
    assert len(problems({"x": "a", "z": 1}, Point)) == 2
    found = problems({"many": ["x" * 1000] * 100000}, Everything)
    assert len(found) == 20 and all(len(message) <= 200 for _, message in found)
    [(place, _)] = problems({"text": "a", "b" * 1000: 1}, Say)
    assert len(place[0]) == 40


@pytest.mark.parametrize("field, make", [("inner", lambda inner: {"children": [inner]}), ("rest", lambda inner: [inner])])
def test_depth_has_a_limit_and_what_is_within_can_be_sent(field, make):
    value = {"children": []}
    for depth in range(200):
        value = make(value)
        try:
            read(json_text(read(dict(good(), **{field: value}), Everything)), Everything)
        except BadMessage as exc:
            assert depth > 20 and exc.errors[0]["message"].startswith("expected less depth") and len(str(exc)) < 100
            break
    else:
        pytest.fail("expected a limit")


def test_argument_that_is_no_field_is_an_error_of_the_project():
    @dataclasses.dataclass
    class Odd:
        field: dataclasses.InitVar[int]

    with pytest.raises(TypeError, match="made of its fields, got an argument 'field'"):
        union_of((Odd,))


def test_a_class_may_refuse_by_itself():
    @dataclasses.dataclass
    class Even:
        number: int

        def __post_init__(self):
            if self.number % 2:
                raise ValueError("expected an even number")
            if self.number < 0:
                raise ValidationError("expected more")

    assert problems({"number": 1}, Even) == [((), "expected an even number")]
    assert problems({"number": -2}, Even) == [((), "expected more")]
    assert read({"number": 2}, Even) == Even(2)


#: Those that would have to be tried in two ways, and what is in them again, and so on.
TWICE = [
    typing.Union[typing.List[Point], typing.Tuple[Point, int]],
    typing.Union[Point, typing.Dict[str, typing.List[Point]]],
]


@pytest.mark.parametrize(
    "hint", [typing.Callable, typing.Dict[float, int], typing.Union[Point, Circle], complex] + TWICE
)
def test_field_that_cannot_be_read_is_an_error_of_the_project(hint):
    cls = dataclasses.make_dataclass("Odd", [("field", hint)])
    with pytest.raises(TypeError, match="Odd.field"):
        union_of((cls,))


json_values = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(strategies.sampled_from(list(good())), json_values)
def test_any_value_is_read_or_described(field, value):
    try:
        made = union_of((Everything,)).read(dict(good(), **{field: value}))
    except BadMessage as exc:
        assert exc.errors and exc.errors[0]["loc"][0] == field
    else:
        assert read(json_text(made), Everything) == made or value != value


texts = strategies.text(strategies.characters(blacklist_categories=("Cs",)))
finite = strategies.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    strategies.builds(
        Everything, texts, strategies.integers(), finite, strategies.booleans(), strategies.none(),
        strategies.none() | strategies.integers(), strategies.integers() | texts | strategies.lists(strategies.booleans()),
        strategies.lists(strategies.integers()), strategies.tuples(strategies.integers(), texts),
        strategies.lists(strategies.integers()).map(tuple), strategies.dictionaries(texts, finite),
        strategies.dictionaries(strategies.integers(), texts), strategies.sampled_from(["yes", "no", 3]),
        strategies.sampled_from(Colour), strategies.datetimes(), strategies.dates(), strategies.times(),
        strategies.timedeltas(datetime.timedelta(-999), datetime.timedelta(999)), strategies.uuids(),
        strategies.decimals(allow_nan=False, allow_infinity=False), strategies.builds(Point, finite, finite),
        strategies.none() | strategies.builds(Circle, finite) | strategies.builds(Square, finite),
    )
)
def test_dataclass_round_trip(made):
    assert read(json_text(made), Everything) == made


# pydantic and msgspec -----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(strategies.builds(Move, to=strategies.lists(strategies.integers()), speed=strategies.integers(0, 9)))
def test_pydantic_round_trip(made):
    assert read(json_text(made), Move, Stop) == made


def test_pydantic_says_what_is_wrong_and_where():
    found = problems({"type": "move", "to": ["x"], "speed": 10}, Move, Stop)
    assert [place for place, _ in found] == [("to", 0), ("speed",)]
    assert [place for place, _ in problems({}, Move)] == [("to",)]


def test_pydantic_dataclass_is_read_by_pydantic():
    from pydantic.dataclasses import dataclass

    @dataclass
    class Turn:
        degrees: pydantic.conint(ge=0)

    assert read({"type": "turn", "degrees": "5"}, Turn) == Turn(5)
    assert [place for place, _ in problems({"degrees": -1}, Turn)] == [("degrees",)]


def test_pydantic_alias_and_strictness():
    class Dated(pydantic.BaseModel):
        model_config = {"strict": True, "extra": "forbid"}
        kind: Literal["dated"] = pydantic.Field("dated", alias="type")
        day: datetime.date

    value = {"type": "dated", "day": "2026-05-01"}
    assert json.loads(json_text(read(value, Dated, Move))) == value
    assert problems(dict(value, more=1), Dated, Move)[0][0] == ("more",)


@pytest.mark.filterwarnings("ignore")
def test_pydantic_of_the_first_version():
    if sys.version_info >= (3, 14):
        pytest.skip("there is no pydantic 1 for this Python")
    from pydantic import v1

    class Old(v1.BaseModel):
        number: int

    assert json_text(read({"number": 1}, Old)) == '{"type": "old", "number": 1}'
    assert [place for place, _ in problems({"number": "x"}, Old)] == [("number",)]
    assert union_of((Old,)).models[0].message_schema("#/{model}")[0]["required"] == ["type", "number"]


if has_msgspec:

    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(strategies.builds(Nudge, texts, strategies.lists(strategies.builds(Point, finite, finite))))
    def test_msgspec_round_trip(made):
        assert read(json_text(made), Nudge, Wave) == made

    def test_msgspec_says_what_is_wrong_and_where():
        [(place, _)] = problems({"type": "Nudge", "who": "a", "at": [{"x": "b"}]}, Nudge, Wave)
        assert place == ("at", 0, "x")
        assert problems({"type": "wave"}, Nudge, Wave) == [((), "Object missing required field `times`")]

    def test_struct_that_is_a_list_is_no_message():
        with pytest.raises(TypeError, match="expected a struct that is an object"):
            union_of((msgspec.defstruct("Row", ["a"], array_like=True),))

    def test_tag_field_of_a_struct():
        kinds = [msgspec.defstruct(name, [], tag_field="kind", tag=name) for name in ("A", "B")]
        assert type(read({"kind": "B"}, *kinds)) is kinds[1]
        assert json_text(kinds[0]()) == '{"kind": "A"}'
        with pytest.raises(TypeError, match="one field that tells messages apart"):
            union_of((kinds[0], Say))

    def test_libraries_go_together():
        assert [type(read(value, Say, Move, Wave)) for value in (
            {"type": "say", "text": ""}, {"type": "move", "to": []}, {"type": "wave", "times": 1}
        )] == [Say, Move, Wave]


# Tags ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{}, {"type": "shout"}, {"type": ["say"]}, {"type": None}, {"type": True}])
def test_unknown_tag(value):
    [(place, message)] = problems(value, Say, TypingNow)
    assert place == ("type",) and message.startswith('expected "say" or "typing_now", got ')


@pytest.mark.parametrize("value, got", [("[]", "a list"), ("5", "5"), ('"say"', '"say"'), ("null", "null")])
def test_what_is_no_object(value, got):
    assert problems(value, Say) == [((), "expected an object, got " + got)]


def test_one_class_needs_no_tag_but_no_other_either():
    assert read({"text": "a"}, Say) == read({"type": "say", "text": "a"}, Say) == Say("a")
    assert problems({"type": "shout", "text": "a"}, Say) == [(("type",), "expected 'say', got \"shout\"")]


@pytest.mark.parametrize(
    "name, tag", [("Say", "say"), ("UserJoined", "user_joined"), ("HTTPError", "http_error"), ("Move2D", "move2_d")]
)
def test_snake_case(name, tag):
    assert snake_case(name) == tag


def test_what_cannot_be_told_apart_is_an_error_of_the_project():
    other = dataclasses.make_dataclass("Say", [("text", str)])
    with pytest.raises(TypeError, match="different tags, got 'say'"):
        union_of((Say, other))
    with pytest.raises(TypeError, match="to be a Literal"):
        union_of((Say, dataclasses.make_dataclass("Free", [("type", str)])))
    for nothing in ((), (int,), (None,), ("Say",)):
        with pytest.raises(TypeError, match="expected"):
            union_of(nothing)


def test_union_by_the_bar():
    if sys.version_info < (3, 10):
        pytest.skip("the syntax came with Python 3.10")
    assert [model.cls for model in union_of((Say | TypingNow,)).models] == [Say, TypingNow]


# Over a socket ------------------------------------------------------------------------------------------------


async def talk(view, *said, leave=True):
    """Let a client say something and leave; return the server."""
    server = Server("/view/")
    with urls(view=view):
        server.say(*said)
        if leave:
            server.leave()
        await server.run(WebsocketHandler())
    return server


async def echo(request):
    async for message in request.messages(typing.Union[Say, TypingNow, Move]):
        await request.send(message)


GOOD = '{"type": "say", "text": "a"}'
BAD = ["{", "[1]", "NaN", '{"type": "say"}', '{"type": "say", "text": "\\ud800"}', b"\xff", "[" * 100000, "9" * 5000]


@pytest.mark.parametrize("protocol", [lambda view: view, WebsocketJSONProtocol])
async def test_bad_messages_are_answered_and_the_socket_lives_on(protocol):
    server = await talk(protocol(echo), *(BAD[:2] + BAD[3:4] + BAD[5:]), GOOD)
    *replies, last = [json.loads(message) for message in server.messages]
    assert last == {"type": "say", "text": "a"}
    assert [reply["type"] for reply in replies] == ["error"] * 6
    assert replies[0] == {"type": "error", "message": "expected JSON", "errors": [{"loc": [], "message": "expected JSON"}]}
    assert replies[2]["errors"] == [{"loc": ["text"], "message": "expected a value, got nothing"}]


@pytest.mark.parametrize("text", BAD)
async def test_each_bad_message_alone(text):
    server = await talk(echo, text, GOOD)
    assert [json.loads(message)["type"] for message in server.messages] == ["error", "say"]


async def test_binary_messages_are_json_too():
    assert (await talk(echo, GOOD.encode())).messages == [GOOD]


async def test_another_answer():
    async def later(exc):
        await asyncio.sleep(0)
        return "?"

    for on_error, sent in ((lambda exc: {"no": exc.errors[0]["message"]}, ['{"no": "expected JSON"}']),
                           (lambda exc: None, []), (later, ["?"])):

        async def view(request, on_error=on_error):
            async for _ in request.messages(Say, on_error=on_error):
                """Nothing good comes."""

        assert (await talk(view, "{")).messages == sent


async def test_bad_message_may_close():
    seen = []

    async def view(request):
        async for message in request.messages(Say, on_error="close"):
            seen.append(message)

    server = await talk(view, GOOD, "{", GOOD, leave=False)
    assert (server.closed, server.sent[-1]["reason"], seen) == (1007, "expected JSON", [Say("a")])


async def test_bad_message_may_raise_and_the_iteration_goes_on():
    seen = []

    async def view(request):
        incoming = request.messages(Say, on_error="raise")
        for _ in range(3):
            try:
                seen.append(await incoming.receive())
            except BadMessage as exc:
                seen.append(str(exc))
        with pytest.raises(ClientDisconnected):
            await incoming.receive()

    await talk(view, "{", GOOD, '{"text": 1, "more": 2}')
    assert seen == ["expected JSON", Say("a"), "text: expected str, got 1 (and 1 more)"]


async def test_bad_message_that_nobody_catches_is_a_bad_request():
    async def view(request):
        async for _ in request.messages(Say, on_error="raise"):
            """It is bad."""

    assert (await talk(view, "{", leave=False)).closed == 4400


async def test_wrong_choice_is_an_error_of_the_project():
    async def view(request):
        with pytest.raises(ValueError, match="expected on_error"):
            request.messages(Say, on_error="shrug")
        with pytest.raises(TypeError, match="at least one class"):
            request.messages()

    assert (await talk(view, leave=False)).closed == 1000


async def test_log_says_where_but_not_what_and_once(caplog):
    with caplog.at_level(logging.INFO, "pistoke"):
        await talk(echo, '{"type": "say", "text": 4711}', '{"type": "say", "text": 4711}')
    [record] = [record for record in caplog.records if "bad message" in record.getMessage()]
    assert (record.levelname, record.getMessage()) == ("INFO", "bad message to /view/: text")


async def test_log_cannot_be_forged_by_the_name_of_a_field(caplog):
    with caplog.at_level(logging.INFO, "pistoke"):
        await talk(echo, json.dumps({"type": "say", "text": "x", "a\nCRITICAL root logged in": 1}))
    [record] = [record for record in caplog.records if "bad message" in record.getMessage()]
    assert "\n" not in record.getMessage()


async def test_raw_view_has_no_messages_to_read():
    @RawWebsocketProtocol
    async def view(request):
        with pytest.raises(TypeError, match="RawWebsocketProtocol"):
            request.messages(Say)

    await talk(view, leave=False)


async def test_what_was_said_before_leaving_is_read_although_no_reply_arrives():
    seen = []

    async def view(request):
        async for message in request.messages(Say):
            seen.append(message)

    server = Server("/view/")
    with urls(view=view):
        task = server.start(WebsocketHandler())
        await server.until(1)
        server.send_failure = OSError("gone")
        server.say("{", GOOD)
        server.leave()
        await task
    assert seen == [Say("a")]


async def test_client_that_says_nothing_good_is_limited_as_ever():
    server = await talk(limits(message_rate=(5, 60))(echo), *["{"] * 50, leave=False)
    assert (server.closed, len(server.messages)) == (1008, 5)


async def test_declared_messages():
    @messages(receives=typing.Union[Say, TypingNow], sends=Say, on_error=lambda exc: {"odd": True})
    async def view(request):
        incoming = request.messages()
        assert isinstance(incoming, Messages)
        async for message in incoming:
            await request.send(message)

    class ByMethod(WebsocketView, View):
        @messages(receives=Say)
        async def websocket(self, request):
            async for message in request.messages():
                await request.send(message)

    @method_decorator(messages(receives=Say), name="websocket")
    class ByClass(WebsocketView, View):
        async def websocket(self, request):
            async for message in request.messages():
                await request.send(message)

    for decorated in (view, WebsocketJSONProtocol(view), ByMethod.as_view(), ByClass.as_view()):
        assert GOOD in (await talk(decorated, GOOD, "{")).messages
    assert (await talk(view, GOOD, "{")).messages == [GOOD, '{"odd": true}']


def test_wrong_declaration_is_told_where_it_is_made():
    for arguments, error in (({"receives": int}, TypeError), ({"on_error": "shrug"}, ValueError)):
        with pytest.raises(error):
            messages(**arguments)


@pytest.mark.parametrize("protocol", [lambda view: view, WebsocketJSONProtocol])
async def test_send_takes_models(protocol):
    models = [Say("ä"), Move(to=[1])] + ([Wave(2)] if has_msgspec else [])

    async def view(request):
        for model in models:
            await request.send(model)
        with pytest.raises(TypeError):
            await request.send(SimpleNamespace())

    sent = [json.loads(message) for message in (await talk(protocol(view))).messages]
    assert sent[:2] == [{"type": "say", "text": "ä"}, {"type": "move", "to": [1], "speed": 1}]


async def test_json_view_sends_models_among_other_things():
    async def view(request):
        await request.send({"said": [Say("a"), EVERYTHING.day]})

    server = await talk(WebsocketJSONProtocol(view), leave=False)
    assert server.messages == ['{"said": [{"type": "say", "text": "a"}, "2026-05-01"]}']


async def test_infinity_is_not_sent():
    async def view(request):
        with pytest.raises(ValueError):
            await request.send(Point(float("inf")))

    assert (await talk(view, leave=False)).closed == 1000


def test_models_can_be_published():
    assert decode(encode({"said": Say("a")})) == {"said": {"type": "say", "text": "a"}}
    with pytest.raises(TypeError):
        encode(SimpleNamespace())


# AsyncAPI -----------------------------------------------------------------------------------------------------


class FourDigits:
    regex = "[0-9]{4}"
    to_python = to_url = staticmethod(str)


register_converter(FourDigits, "yyyy")


@messages(receives=typing.Union[Say, Everything, Move], sends=Say)
async def chat(request, room):
    """Talk in a room."""


@WebsocketJSONProtocol
async def undeclared(request, **kwargs):
    """Say something."""


class Page(WebsocketView, TemplateView):
    """A page with a socket."""

    @messages(receives=Stop, on_error="close")
    async def websocket(self, request, key):
        """Stop it."""


async def http_only(request):
    """Answer nothing but HTTP, as far as anybody can tell."""


def document(*patterns, **arguments):
    """Return the AsyncAPI document of some patterns."""
    output = io.StringIO()
    urlconf = ModuleType("some_urls")
    urlconf.urlpatterns = list(patterns)
    with override_settings(ROOT_URLCONF=urlconf):
        call_command("asyncapi", stdout=output, **arguments)
    return output.getvalue()


def patterns():
    inner = [path("<uuid:key>/", Page.as_view(), name="page")]
    if has_msgspec:
        inner.append(path("wave/<yyyy:year>/<path:rest>", messages(receives=typing.Union[Nudge, Wave])(undeclared)))
    return [
        path("chat/<slug:room>/", WebsocketJSONProtocol(chat), name="chat"),
        path("in/<int:number>/", include((inner, "inner"), namespace="inner")),
        re_path(r"^old/(?P<year>[0-9]{4})/(\w+)?$", undeclared),
        path("http/", http_only),
    ]


def test_document_is_valid():
    # The last one for Python 3.7 takes a property of the name "$ref" for a reference.
    require("jsonschema", importable("jsonschema"), "pip install jsonschema", exists=sys.version_info >= (3, 8))
    import jsonschema

    content = json.loads(document(*patterns()))
    schema = json.loads((HERE / "asyncapi-3.0.0.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(content)
    for reference in references(content):
        place = content
        for part in reference[2:].split("/"):
            place = place[part]
    for message in content["components"]["messages"].values():
        jsonschema.Draft7Validator.check_schema(message["payload"])


def references(value):
    """Yield all references in a document."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from references(item)


def test_document_says_what_is_where():
    content = json.loads(document(*patterns(), title="Chat", api_version="2"))
    assert content["info"] == {"title": "Chat", "version": "2"}
    channels, operations = content["channels"], content["operations"]
    assert channels["chat"]["address"] == "/chat/{room}/" and channels["chat"]["description"] == "Talk in a room."
    assert channels["chat"]["parameters"]["room"]["x-schema"]["pattern"] == "^[-a-zA-Z0-9_]+$"
    assert set(channels["chat"]["messages"]) == {"Say", "Everything", "Move", "pistoke_Error"}
    assert operations["receive.chat"]["action"] == "receive" and len(operations["receive.chat"]["messages"]) == 3
    assert [item["$ref"].rpartition("/")[2] for item in operations["send.chat"]["messages"]] == ["Say", "pistoke_Error"]
    page = channels["inner.page"]
    assert (page["address"], page["description"]) == ("/in/{number}/{key}/", "Stop it.")
    assert page["parameters"]["number"]["x-schema"] == {"type": "integer", "minimum": 0}
    assert "send.inner.page" not in operations
    undeclared_ones = [channel for channel in channels.values() if channel["address"].startswith("/old/")]
    assert undeclared_ones and all("messages" not in channel for channel in undeclared_ones)
    assert "http" not in json.dumps(list(channels)) and content["components"]["messages"]["Stop"]["name"] == "halt"
    payload = content["components"]["messages"]["Say"]["payload"]
    assert payload["properties"] == {"type": {"const": "say"}, "text": {"type": "string"}}
    assert payload["description"] == "What somebody says." and payload["required"] == ["type", "text"]
    if has_msgspec:
        [other] = [channel for channel in channels.values() if channel["address"] == "/in/{number}/wave/{year}/{rest}"]
        assert other["parameters"]["year"]["x-schema"] == {"type": "string", "pattern": "^(?:[0-9]{4})$"}


def test_what_is_read_suits_the_schema_and_what_does_not_suit_is_bad():
    require("jsonschema", importable("jsonschema"), "pip install jsonschema", exists=sys.version_info >= (3, 8))
    import jsonschema

    content = json.loads(document(*patterns()))
    for model in (EVERYTHING, Say("a"), Move(to=[1])):
        payload = content["components"]["messages"][type(model).__name__]["payload"]
        schema = dict(payload, components=content["components"])
        jsonschema.Draft7Validator(schema).validate(json.loads(json_text(model)))
        assert not jsonschema.Draft7Validator(schema).is_valid({"type": "say", "text": 5})


def test_classes_of_one_name_keep_apart():
    first = dataclasses.make_dataclass("Odd", [("point", Point)])
    other = dataclasses.make_dataclass("Point", [("z", int)])
    second = dataclasses.make_dataclass("Odd", [("point", other)])
    second.__module__, second.__qualname__ = "types", "Other.Odd"
    content = json.loads(document(
        path("a/", messages(receives=first)(undeclared)), path("b/", messages(receives=second)(undeclared))
    ))
    assert set(content["components"]["messages"]) == {"Odd", "types_Other_Odd", "pistoke_Error"}
    assert set(content["components"]["schemas"]) == {"Point", "types_Other_Odd.Point"}


def test_classes_of_one_name_within_a_message_keep_apart():
    other = dataclasses.make_dataclass("Point", [("z", int)])
    both = dataclasses.make_dataclass("Both", [("here", Point), ("there", other)])
    content = json.loads(document(path("a/", messages(receives=both)(undeclared))))
    schemas = content["components"]["schemas"]
    assert len(schemas) == 2 and {"z"} in [set(schema["properties"]) for schema in schemas.values()]


def test_model_whose_name_ends_as_another_ones():
    class Node(pydantic.BaseModel):
        n: int

    class TreeNode(pydantic.BaseModel):
        node: Node
        inside: typing.List["TreeNode"] = []

    if hasattr(TreeNode, "model_rebuild"):
        TreeNode.model_rebuild(_types_namespace={"TreeNode": TreeNode})
    else:
        TreeNode.update_forward_refs(TreeNode=TreeNode)
    content = json.loads(document(path("a/", messages(receives=TreeNode)(undeclared))))
    assert set(content["components"]["messages"]["TreeNode"]["payload"]["properties"]) >= {"node", "inside"}


def test_document_that_cannot_be_written(tmp_path):
    with pytest.raises(CommandError, match="can be written"):
        document(*patterns(), output=str(tmp_path / "nowhere" / "document.json"))


def test_declaration_by_position_is_told_how_it_is_made():
    with pytest.raises(TypeError, match="receives=…"):
        messages(Say)


def test_document_as_yaml(tmp_path):
    require("PyYAML", importable("yaml"), "pip install PyYAML")
    import yaml

    file = tmp_path / "api.yaml"
    assert document(*patterns(), output=str(file)) == ""
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == json.loads(document(*patterns()))
    assert yaml.safe_load(document(*patterns(), format="yaml"))["asyncapi"] == "3.0.0"


def test_yaml_without_its_library_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(CommandError, match="pip install PyYAML"):
        document(format="yaml")


def test_nothing_of_it_is_imported_before_it_is_used():
    code = (
        "import sys, django; from django.conf import settings; settings.configure(INSTALLED_APPS=['pistoke.Pistoke']);"
        "django.setup(); import pistoke.handler, pistoke.request, pistoke.protocol;"
        "print([name for name in sys.modules if name.startswith(('pistoke.typed', 'pydantic', 'msgspec'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60, check=True,
        env={"PYTHONPATH": str(Path(pistoke.__file__).parent.parent)},
    )
    assert done.stdout.decode().strip() == "[]"
