"""What a view knows of its request is what it would know over HTTP."""

import json

import pytest

from .clients import Bare, Library


def facts(server, path="/facts/", client=Library, **options):
    """Return what the view sees."""
    with client(server.address, path, **options) as ws:
        return json.loads(ws.exchange("tell"))


class TestRequest:
    @pytest.mark.behaviour("Method, path, query, headers, cookies, client and absolute URIs are those of HTTP")
    def test_anonymous_request_is_known_as_over_http(self, server):
        seen = facts(server, "/facts/?q=%C3%A4&page=2", headers=[("X-Test", "yes"), ("Cookie", "a=1; b=2")])
        assert seen == {
            "method": "Websocket",
            "path": "/facts/",
            "query": {"q": "ä", "page": "2"},
            "cookies": {"a": "1", "b": "2"},
            "header": "yes",
            "address": "127.0.0.1",
            "user": "",
            "user_attribute": "",
            "session": None,
            "view_name": "facts",
            "host": server.address,
            "uri": "http://{}/facts/?q=%C3%A4&page=2".format(server.address),
            "secure": False,
        }

    @pytest.mark.behaviour("A header that comes twice is joined, as over HTTP")
    def test_header_that_comes_twice_is_joined(self, server):
        assert facts(server, client=Bare, headers=[("X-Test", "a"), ("X-Test", "b")])["header"] == "a,b"

    @pytest.mark.behaviour("The session cookie of a login names the user")
    def test_session_cookie_of_a_login_names_the_user(self, server):
        status, _, cookie = server.get("/login/")
        assert status == 200
        seen = facts(server, headers=[("Cookie", cookie)])
        assert (seen["user"], seen["user_attribute"], seen["session"]) == ("aino", "aino", "1")

    def test_made_up_session_cookie_is_nobody(self, server):
        seen = facts(server, headers=[("Cookie", "sessionid=mzkeh5xu1tq9vqj4h0jq2r0yx1o2p3q4")])
        assert (seen["user"], seen["session"]) == ("", None)

    def test_page_learns_the_address_of_sockets(self, server):
        assert json.loads(server.get("/address/")[1]) == {"websocket": "ws://" + server.address}

    @pytest.mark.behaviour("CSRF tokens are checked against the cookie")
    def test_csrf_token_is_checked_against_the_cookie(self, server):
        _, body, cookie = server.get("/login/")
        token = json.loads(body)["csrf"]
        with Library(server.address, "/csrf/", headers=[("Cookie", cookie)]) as ws:
            answers = [ws.exchange(json.dumps(guess)) for guess in (token, "x" * 64, None, 4711)]
        assert answers == ["true", "false", "false", "false"]


class TestDecoding:
    @pytest.mark.behaviour("Path and query are decoded as over HTTP")
    def test_path_and_query_are_decoded(self, server):
        with Bare(server.address, "/undecoded/%C3%A4%20%2B/?q=a+b%2B%C3%A4") as ws:
            assert ws.receive() == r"'\xe4 +' 'a b+\xe4' []"


class TestUndecodable:
    """Input that is no UTF-8 does what it does over HTTP."""

    @pytest.mark.behaviour("What is no UTF-8 in path and query is replaced, as over HTTP")
    def test_path_is_not_found_or_replaced(self, server):
        with Bare(server.address, "/undecoded/%FF%E4/") as ws:
            assert ws.receive() == r"'\ufffd\ufffd' None []"

    @pytest.mark.behaviour("What is no UTF-8 in path and query is replaced, as over HTTP")
    def test_query_is_replaced(self, server):
        with Bare(server.address, "/undecoded/?q=%FF") as ws:
            assert ws.receive() == r"'none' '\ufffd' []"

    @pytest.mark.behaviour("Cookies that are no ASCII are read as over HTTP")
    @pytest.mark.limit("uvicorn-websockets", reason="answers them with 500 itself")
    def test_cookie_is_read_as_over_http(self, server):
        with Bare(server.address, "/undecoded/", headers=[("Cookie", b"c=\xff")]) as ws:
            assert ws.receive() == r"'none' None [('c', '\xff')]"

    @pytest.mark.behaviour("A request line that is no ASCII harms nobody")
    # An older Uvicorn logs how it failed to read the address.
    @pytest.mark.logs("^Traceback", "httptools.parser.errors", "opening handshake failed")
    @pytest.mark.parametrize("path", [b"/echo/\xff", b"/echo/?q=\xff"])
    def test_bare_bytes_harm_nobody(self, server, path):
        try:
            Bare(server.address, path).leave()
        except Exception:
            # Most servers hang up on it, or answer 400.
            pass
        with Bare(server.address, "/echo/") as ws:
            assert ws.exchange("still here") == "still here"
