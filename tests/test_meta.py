"""The environment of a socket, which is made when somebody looks."""
import copy
import io
import json
import pickle

import pytest
from django.core.handlers.asgi import ASGIRequest

from pistoke.request import WebsocketRequest

HEADERS = [
    (b"host", b"testserver"),
    (b"user-agent", b"Mozilla"),
    (b"x-twice", b"1"),
    (b"x-twice", b"2"),
    (b"x_spoofed", b"1"),
    (b"content-type", b"text/plain"),
]


def scope(**more):
    return dict({"path": "/path/", "headers": HEADERS, "query_string": b"a=b", "client": ("127.0.0.1", 1)}, **more)


@pytest.fixture
def meta():
    return WebsocketRequest(scope(type="websocket"), None).META


@pytest.fixture
def whole():
    """Return what Django makes of the same headers over HTTP."""
    headers = [item for item in HEADERS if b"_" not in item[0]]
    request = ASGIRequest(scope(type="http", method="GET", headers=headers), io.BytesIO())
    return dict(request.META, REQUEST_METHOD="Websocket")


def looks(meta):
    """Do nothing first."""


def looks_up(meta):
    assert meta["HTTP_HOST"] == "testserver"


def looks_for_more(meta):
    assert meta.get("HTTP_ABSENT") is None and meta["REMOTE_ADDR"] == "127.0.0.1"


@pytest.fixture(params=[looks, looks_up, looks_for_more], ids=lambda look: look.__name__)
def looked_at(request, meta):
    request.param(meta)
    return meta


@pytest.mark.parametrize("whole_of", [
    lambda meta: meta,
    dict,
    lambda meta: dict(**meta),
    lambda meta: {**meta},
    lambda meta: dict(meta.items()),
    lambda meta: {key: meta[key] for key in meta},
    lambda meta: dict(zip(meta.keys(), meta.values())),
    copy.copy,
    copy.deepcopy,
    lambda meta: meta.copy(),
    lambda meta: json.loads(json.dumps(meta)),
    lambda meta: json.loads(json.dumps(meta, indent=1)),
    lambda meta: pickle.loads(pickle.dumps(meta)),
    lambda meta: eval(repr(meta)),
    lambda meta: {key: meta[key] for key in sorted(meta)},
    lambda meta: {key: meta[key] for key in reversed(list(meta))},
], ids=range(16))
def test_however_one_takes_it_it_is_whole(whole_of, looked_at, whole):
    taken = whole_of(looked_at)
    assert taken == whole and whole == taken
    assert dict(taken) == whole


def test_it_is_as_long_as_it_is_and_true(looked_at, whole):
    assert len(looked_at) == len(whole) and bool(looked_at)


def test_every_item_is_found(looked_at, whole):
    for key, value in whole.items():
        assert key in looked_at and looked_at[key] == value == looked_at.get(key)


@pytest.mark.parametrize("key", ["HTTP_ABSENT", "ABSENT", "HTTP_", "HTTP_X_SPOOFED", "HTTP_x-twice", "http_host", None, 1])
def test_what_is_not_there_is_not_found(key, looked_at):
    assert key not in looked_at and looked_at.get(key, 7) == 7
    with pytest.raises(KeyError):
        looked_at[key]
    with pytest.raises(KeyError):
        del looked_at[key]
    assert looked_at.pop(key, 7) == 7


@pytest.mark.parametrize("key", ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"])
def test_headers_with_a_name_of_their_own_have_no_other(key, looked_at):
    assert key not in looked_at


@pytest.mark.parametrize("key", ["HTTP_HOST", "REMOTE_ADDR", "NEW"])
def test_what_is_set_stays_whatever_is_looked_at_then(key, looked_at):
    looked_at[key] = "set"
    assert looked_at[key] == looked_at.get(key) == dict(looked_at)[key] == looked_at[key] == "set"


@pytest.mark.parametrize("key", ["HTTP_HOST", "REMOTE_ADDR"])
def test_what_is_deleted_stays_so(key, looked_at):
    del looked_at[key]
    assert key not in looked_at and key not in dict(looked_at) and looked_at.get(key) is None


@pytest.mark.parametrize("key", ["HTTP_HOST", "REMOTE_ADDR"])
def test_what_is_popped_was_there(key, looked_at, whole):
    assert looked_at.pop(key) == whole[key]
    assert key not in looked_at


def test_a_default_is_set_where_there_is_nothing(looked_at):
    assert looked_at.setdefault("HTTP_HOST", "x") == "testserver"
    assert looked_at.setdefault("REMOTE_ADDR", "x") == "127.0.0.1"
    assert looked_at.setdefault("NEW", "x") == "x" == looked_at["NEW"]


def test_it_is_updated(looked_at, whole):
    looked_at.update(HTTP_HOST="x", NEW="y")
    assert looked_at == dict(whole, HTTP_HOST="x", NEW="y")


def test_it_updates_others(looked_at, whole):
    other = {}
    other.update(looked_at)
    assert other == whole


def test_an_item_is_popped_until_there_is_none(looked_at, whole):
    assert {looked_at.popitem() for _ in range(len(whole))} == set(whole.items())
    assert not looked_at


def test_it_is_cleared(looked_at):
    looked_at.clear()
    assert looked_at == {} and "HTTP_HOST" not in looked_at and "REMOTE_ADDR" not in looked_at
