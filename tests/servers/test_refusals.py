"""A refusal is a real HTTP answer, where the server can give one."""

import pytest

from .clients import Bare, Library, Refused


def refusal(server, path, client=Bare, **options):
    """Return how a handshake is refused."""
    with pytest.raises(Refused) as caught:
        client(server.address, path, **options).leave()
    return caught.value


def can_refuse(server):
    """Return whether a server says that it can refuse with any HTTP answer: the newest do, but for Daphne."""
    with Library(server.address, "/extensions/") as ws:
        return "websocket.http.response" in ws.receive()


def expected(server, status):
    """Return the status that a server can refuse with."""
    return status if can_refuse(server) else 403


@pytest.fixture
def refusing_server(server):
    """Return a server that can refuse with any HTTP answer."""
    if not can_refuse(server):
        pytest.skip("{} refuses with a bare 403".format(server))
    return server


class TestStatus:
    @pytest.mark.parametrize(
        "path, status",
        [
            ("/nothing-here/", 404),
            ("/only-http/", 405),
            ("/too-many/", 429),
            ("/unauthorized/", 401),
            # One that the table of statuses of every Python has.
            ("/gone/", 410),
            ("/redirected/", 403),
            ("/members/", 403),
            ("/rendered/", 403),
            ("/forbidden/", 403),
            ("/missing/", 404),
            ("/suspicious/", 400),
        ],
    )
    @pytest.mark.logs("WARNING django.request", "ERROR django.security.SuspiciousOperation")
    def test_refusal_has_its_status(self, server, path, status):
        assert refusal(server, path).status == expected(server, status)

    @pytest.mark.logs("ERROR django.request: Internal Server Error: /broken/ ValueError")
    def test_exception_outside_of_the_protocol_is_500(self, server):
        assert refusal(server, "/broken/").status == expected(server, 500)
        assert server.event(event="log", level="ERROR", error="ValueError")

    @pytest.mark.limit("old-uvicorn-sansio", reason="sends Content-Length twice, which a library does not accept")
    @pytest.mark.logs("WARNING django.request")
    def test_library_is_refused_too(self, server):
        assert refusal(server, "/nothing-here/", Library).status == expected(server, 404)

    def test_login_opens_the_door(self, server):
        _, _, cookie = server.get("/login/")
        with Library(server.address, "/members/", headers=[("Cookie", cookie)]) as ws:
            assert ws.receive() == "welcome"


class TestContent:
    @pytest.mark.logs("WARNING django.request")
    @pytest.mark.parametrize(
        "path, body",
        [
            ("/unauthorized/", b"who are you?"),
            ("/too-many/", b"come back later"),
            ("/rendered/", b"refused /rendered/\n"),
        ],
    )
    def test_refusal_has_its_body(self, refusing_server, path, body):
        assert refusal(refusing_server, path).body == body

    @pytest.mark.logs("WARNING django.request")
    def test_refusal_has_its_headers(self, refusing_server):
        headers = refusal(refusing_server, "/unauthorized/").headers
        assert ("www-authenticate", "Bearer") in headers
        assert ("content-type", "text/plain") in headers
        assert [value.partition(";")[0] for name, value in headers if name == "set-cookie"] == ["asked=yes"]


class TestSubprotocolRefusals:
    @pytest.mark.logs("WARNING django.request: Forbidden")
    @pytest.mark.parametrize(
        "path, offered",
        [("/subprotocols/", ["gamma"]), ("/subprotocols/", None), ("/no-subprotocol/", ["alpha"]), ("/echo/", ["alpha"])],
    )
    def test_what_does_not_match_is_refused(self, server, path, offered):
        assert refusal(server, path, subprotocols=offered).status == 403


class TestOrigin:
    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "nonsense", "http://127.0.0.1.evil.example", ""])
    @pytest.mark.logs("WARNING django.security.WebsocketOrigin: Forbidden")
    def test_other_site_is_refused(self, server, origin):
        # 400 is the answer of a server that reads the header itself.
        assert refusal(server, "/echo/", origin=origin).status in (400, 403)

    @pytest.mark.logs("WARNING django.security.WebsocketOrigin: Forbidden")
    def test_two_origins_are_refused(self, server):
        origin = "http://" + server.address
        assert refusal(server, "/echo/", origin=origin, headers=[("Origin", origin)]).status in (400, 403)

    def test_same_site_is_let_in(self, server):
        with Library(server.address, "/echo/", origin="http://" + server.address) as ws:
            assert ws.exchange("hello") == "hello"

    def test_no_browser_is_let_in(self, server):
        with Bare(server.address, "/echo/") as ws:
            assert ws.exchange("hello") == "hello"

    def test_exempt_view_greets_everyone(self, server):
        with Library(server.address, "/for-everyone/", origin="https://evil.example") as ws:
            assert ws.receive() == "welcome"
