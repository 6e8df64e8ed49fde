"""The tree of exceptions, and what each of them says."""
import asyncio
import copy
import pickle

import pytest

from pistoke import exceptions
from pistoke.exceptions import (
    ClientDisconnected,
    ConnectionClosed,
    HandshakeError,
    PistokeException,
    SubprotocolMismatch,
    WebsocketDisconnect,
)


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (PistokeException, (BaseException,)),
        (HandshakeError, (PistokeException, Exception)),
        (SubprotocolMismatch, (HandshakeError,)),
        (WebsocketDisconnect, (PistokeException,)),
        (ClientDisconnected, (WebsocketDisconnect, asyncio.CancelledError)),
        (ConnectionClosed, (WebsocketDisconnect, ConnectionError, OSError, Exception)),
    ],
)
def test_the_tree(kind, bases):
    assert issubclass(kind, bases[0]) and all(issubclass(kind, base) for base in bases)


def test_the_two_leaves_are_not_taken_for_one_another():
    assert not issubclass(ClientDisconnected, ConnectionError)
    assert not issubclass(ConnectionClosed, asyncio.CancelledError)


def test_the_module_draws_every_class():
    defined = {name for name, item in vars(exceptions).items() if getattr(item, "__module__", "") == exceptions.__name__}
    assert defined and all(name in exceptions.__doc__ for name in defined)


def test_the_disconnect_itself_is_abstract():
    with pytest.raises(TypeError, match="^WebsocketDisconnect is abstract: expected ClientDisconnected or ConnectionClosed"):
        WebsocketDisconnect(1000)


@pytest.mark.parametrize("kind", [ClientDisconnected, ConnectionClosed])
def test_a_disconnect_tells_code_reason_and_socket(kind):
    socket = object()
    error = kind(4001, "why", socket)
    assert (error.code, error.reason, error.socket) == (4001, "why", socket)


@pytest.mark.parametrize("kind", [ClientDisconnected, ConnectionClosed])
def test_a_disconnect_has_no_status_unless_told(kind):
    assert (kind().code, kind().reason, kind().socket) == (1005, "", None)


@pytest.mark.parametrize("kind", [ClientDisconnected, ConnectionClosed])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [((1001,), "the socket was closed with code 1001"), ((4000, "bye"), "the socket was closed with code 4000: bye")],
)
def test_a_disconnect_in_words(kind, arguments, text):
    assert str(kind(*arguments)) == text


@pytest.mark.parametrize("kind", [ClientDisconnected, ConnectionClosed])
def test_a_disconnect_survives_copying(kind):
    for same in (copy.copy(kind(4001, "why")), pickle.loads(pickle.dumps(kind(4001, "why")))):
        assert (type(same), same.code, same.reason) == (kind, 4001, "why")


def test_a_mismatch_tells_what_both_sides_wanted():
    error = SubprotocolMismatch(["a", "b"], ("c",))
    assert (error.offered, error.supported) == (("a", "b"), ("c",))
    assert str(error) == "expected one of the subprotocols ['c'], got ['a', 'b']"


def test_a_handshake_error_says_what_it_is_told():
    assert str(HandshakeError("no")) == "no"
