"""A refusal is a real HTTP answer, where the server can give one."""

import pytest

from .clients import Bare, Library, Refused
from .limits import BARE_403, NO_CONTENT


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



class TestStatus:
    @pytest.mark.behaviour("A refusal has the HTTP status of its answer or exception, 403 for a redirect")
    @BARE_403
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

    @pytest.mark.behaviour("A refusal by any other exception is a 500, and reported")
    @BARE_403
    @pytest.mark.logs("ERROR django.request: Internal Server Error: /broken/ ValueError")
    def test_exception_outside_of_the_protocol_is_500(self, server):
        assert refusal(server, "/broken/").status == expected(server, 500)
        assert server.event(event="log", level="ERROR", error="ValueError")

    @pytest.mark.behaviour("Client libraries understand a refusal")
    @pytest.mark.limit("old-uvicorn-sansio", reason="sends `Content-Length` twice, which the strict do not accept")
    @pytest.mark.logs("WARNING django.request")
    def test_library_is_refused_too(self, server):
        assert refusal(server, "/nothing-here/", Library).status == expected(server, 404)

    @pytest.mark.behaviour("`login_required` opens to whoever has logged in")
    def test_login_opens_the_door(self, server):
        _, _, cookie = server.get("/login/")
        with Library(server.address, "/members/", headers=[("Cookie", cookie)]) as ws:
            assert ws.receive() == "welcome"


class TestContent:
    @pytest.mark.behaviour("A refusal has its body, templates are rendered")
    @NO_CONTENT
    @pytest.mark.logs("WARNING django.request")
    @pytest.mark.parametrize(
        "path, body",
        [
            ("/unauthorized/", b"who are you?"),
            ("/too-many/", b"come back later"),
            ("/rendered/", b"refused /rendered/\n"),
        ],
    )
    def test_refusal_has_its_body(self, server, path, body):
        assert refusal(server, path).body == body

    @pytest.mark.behaviour("A refusal has its headers and its cookie")
    @NO_CONTENT
    @pytest.mark.logs("WARNING django.request")
    def test_refusal_has_its_headers(self, server):
        headers = refusal(server, "/unauthorized/").headers
        assert ("www-authenticate", "Bearer") in headers
        assert ("content-type", "text/plain") in headers
        assert [value.partition(";")[0] for name, value in headers if name == "set-cookie"] == ["asked=yes"]


    @pytest.mark.behaviour("A refusal has each of several cookies")
    @NO_CONTENT
    @pytest.mark.limit(
        "granian", reason="its process dies of a header name that comes twice", remedy="it is given each name once"
    )
    @pytest.mark.logs("WARNING django.request")
    def test_refusal_has_each_of_its_cookies(self, server):
        headers = refusal(server, "/two-cookies/").headers
        cookies = [value.partition(";")[0] for name, value in headers if name == "set-cookie"]
        assert sorted(cookies) == ["asked=yes", "told=no"]

    @pytest.mark.behaviour("A refusal with several cookies harms nobody")
    @pytest.mark.logs("WARNING django.request")
    @pytest.mark.workaround(
        "granian", reason="its process dies of a header name that comes twice", remedy="it is given each name once"
    )
    def test_refusal_with_cookies_harms_nobody(self, server):
        assert refusal(server, "/two-cookies/").status == expected(server, 401)
        assert server.answers()

    @pytest.mark.behaviour("A refusal ends the connection, or leaves it ready for the next request")
    @pytest.mark.logs("WARNING django.request")
    def test_refusal_does_not_leave_the_client_hanging(self, server):
        ws = Bare(server.address, "/unauthorized/", wait=False)
        with pytest.raises(Refused):
            ws.finish_handshake()
        try:
            ws.socket.sendall(b"GET /both/ HTTP/1.1\r\nHost: " + server.address.encode() + b"\r\n\r\n")
            answer = ws.socket.recv(65536)
        except ConnectionError:
            answer = b""
        finally:
            ws.hang_up()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 200")


class TestHost:
    @pytest.mark.behaviour("A `Host` that is not in `ALLOWED_HOSTS` is refused with 400")
    @BARE_403
    @pytest.mark.logs("ERROR django.security.DisallowedHost")
    def test_unknown_host_is_refused(self, server):
        assert refusal(server, "/echo/", host="evil.example").status == expected(server, 400)


class TestSubprotocolRefusals:
    @pytest.mark.behaviour("Subprotocols: where the two sides have none in common, 403")
    @pytest.mark.logs("WARNING django.request: Forbidden")
    @pytest.mark.parametrize(
        "path, offered",
        [("/subprotocols/", ["gamma"]), ("/subprotocols/", None), ("/no-subprotocol/", ["alpha"]), ("/echo/", ["alpha"])],
    )
    def test_what_does_not_match_is_refused(self, server, path, offered):
        assert refusal(server, path, subprotocols=offered).status == 403


READS_ORIGIN = pytest.mark.differs(
    "uvicorn-websockets-sansio", "uvicorn-wsproto", "daphne",
    reason="answers a repeated or malformed `Origin` with 400 itself, before the view is asked",
)


class TestOrigin:
    @pytest.mark.behaviour("A page of another site is refused with 403, and logged")
    @READS_ORIGIN
    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "nonsense", "http://127.0.0.1.evil.example", ""])
    @pytest.mark.logs("WARNING django.security.WebsocketOrigin: Forbidden")
    def test_other_site_is_refused(self, server, origin):
        # 400 is the answer of a server that reads the header itself.
        assert refusal(server, "/echo/", origin=origin).status in (400, 403)

    @pytest.mark.behaviour("A page of another site is refused with 403, and logged")
    @READS_ORIGIN
    @pytest.mark.logs("WARNING django.security.WebsocketOrigin: Forbidden")
    def test_two_origins_are_refused(self, server):
        origin = "http://" + server.address
        assert refusal(server, "/echo/", origin=origin, headers=[("Origin", origin)]).status in (400, 403)

    @pytest.mark.behaviour("A page of the same site, and a client that is no browser, are let in")
    def test_same_site_is_let_in(self, server):
        with Library(server.address, "/echo/", origin="http://" + server.address) as ws:
            assert ws.exchange("hello") == "hello"

    @pytest.mark.behaviour("A page of the same site, and a client that is no browser, are let in")
    def test_no_browser_is_let_in(self, server):
        with Bare(server.address, "/echo/") as ws:
            assert ws.exchange("hello") == "hello"

    def test_exempt_view_greets_everyone(self, server):
        with Library(server.address, "/for-everyone/", origin="https://evil.example") as ws:
            assert ws.receive() == "welcome"
