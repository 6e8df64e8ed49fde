"""Sign-out over HTTP reaches the open sockets of a real server."""

import time

import pytest

from .clients import Closed, Library

#: How soon, in seconds.
SECOND = 1


class Session:
    """What a browser has after it has signed in: a cookie, and a socket that is open."""

    def __init__(self, server, user):
        self.server = server
        status, _, self.cookie = server.get("/accounts/sign-in/?user=" + user)
        assert status == 200
        self.ws = Library(server.address, "/echo/", headers=[("Cookie", self.cookie)])
        assert self.is_open()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.ws.leave()

    def get(self, path):
        """Get a page."""
        assert self.server.get(path, Cookie=self.cookie)[0] == 200

    def closes(self):
        """Return the code that the socket is closed with, and how long that takes, in seconds."""
        began = time.monotonic()
        return self.ws.close_code(), time.monotonic() - began

    def is_open(self):
        """Return whether the socket answers."""
        try:
            return self.ws.exchange("hello") == "hello"
        except Closed:
            return False


@pytest.fixture
def user(key):
    """Return the name of a user whom nobody knows yet."""
    return "user" + key


class TestSignOut:
    def test_logout_closes_the_sockets_of_the_session(self, server, user):
        with Session(server, user) as mine, Session(server, user) as others:
            mine.get("/accounts/sign-out/")
            code, seconds = mine.closes()
            assert (code, seconds < SECOND) == (server.seen(4401), True)
            assert others.is_open()

    def test_change_of_password_closes_the_sockets_of_other_sessions(self, server, user):
        with Session(server, user) as mine, Session(server, user) as others:
            mine.get("/accounts/change-password/")
            code, seconds = others.closes()
            assert (code, seconds < SECOND) == (server.seen(4401), True)
            # Longer than it takes to look whether its user is still logged in.
            time.sleep(0.7 * SECOND)
            assert mine.is_open()

    def test_what_nobody_tells_is_found(self, server, user):
        with Session(server, user) as mine, Session(server, user) as others, Session(server, user + "2") as strangers:
            mine.get("/accounts/deactivate/")
            assert [session.closes()[0] for session in (mine, others)] == [server.seen(4401)] * 2
            assert strangers.is_open()
