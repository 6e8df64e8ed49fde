"""A socket as a Django request."""
import asyncio
import io

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import DisallowedHost, TooManyFieldsSent
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.exception import response_for_exception
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import override_settings
from django.urls import path, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.views.debug import ExceptionReporter
from django.views.decorators.csrf import csrf_protect

from pistoke.handler import WebsocketHandler
from pistoke.request import WebsocketRequest

from .asgi import Server, urls

HEADERS = [
    (b"host", b"testserver:8000"),
    (b"user-agent", b"Mozilla"),
    (b"x-twice", b"1"),
    (b"x-twice", b"2"),
    (b"x-latin", b"\xe4"),
    (b"content-type", b"text/plain"),
    (b"content-length", b"0"),
    (b"cookie", b"a=1; b=2"),
]


def scope(path="/path/", **more):
    """Return the scope of a socket."""
    return dict({
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 4711),
    }, **more)


def request(*args, **more):
    """Return the request of a socket."""
    return WebsocketRequest(scope(*args, **more), None)


def http_request(**more):
    """Return the request of a page, as Django makes it."""
    return ASGIRequest(dict(scope(**more), type="http", method="GET"), io.BytesIO())


async def seen(view, **more):
    """Run a view over a socket."""
    server = Server("/view/", **more)
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.closed == 1000


# As over HTTP


def test_it_is_an_asgi_request_with_a_method_of_its_own():
    assert isinstance(request(), ASGIRequest)
    assert request().method == "Websocket"
    assert repr(request()) == "<WebsocketRequest: Websocket '/path/'>"


@pytest.mark.parametrize("more", [
    {"headers": HEADERS},
    {"headers": HEADERS, "query_string": b"a=%C3%A4&b=%FF"},
    {"query_string": "a=b"},
    {"client": None, "server": None},
    {"client": ("::1", 1), "server": ("::1", 443)},
    {"root_path": "/mounted", "path": "/mounted/path/"},
    {"root_path": "/mounted", "path": "/elsewhere/path/"},
], ids=str)
def test_meta_is_what_django_makes_of_the_same_headers(more):
    theirs = dict(http_request(**more).META, REQUEST_METHOD="Websocket")
    assert theirs == request(**more).META


def test_meta_is_made_of_the_least_a_scope_may_have():
    meta = WebsocketRequest({"type": "websocket", "path": "/"}, None).META
    assert (meta["SERVER_NAME"], meta["SERVER_PORT"], meta["QUERY_STRING"]) == ("unknown", "0", "")
    assert "REMOTE_ADDR" not in meta


def test_a_unix_socket_has_no_port():
    assert request(server=("/run/socket", None)).META["SERVER_PORT"] == "0"


def test_a_header_with_an_underscore_is_nobodys():
    assert "HTTP_X_FORWARDED_PROTO" not in request(headers=[(b"x_forwarded_proto", b"https")]).META


def test_cookies_may_come_in_several_headers():
    asked = request(headers=[(b"cookie", b"a=1"), (b"cookie", b"b=2; c=3")])
    assert asked.COOKIES == {"a": "1", "b": "2", "c": "3"}
    assert asked.META["HTTP_COOKIE"] == "a=1; b=2; c=3"


@pytest.mark.parametrize("cookie", [b"\xff\xe4", b"a=\xff; b=2", b"=;;=", b'a="\\777"', b"a" * 10000])
def test_no_cookie_is_too_bad_to_read(cookie):
    assert isinstance(request(headers=[(b"cookie", cookie)]).COOKIES, dict)


def test_a_query_of_too_many_fields_can_be_reported():
    asked = request(query_string=b"&".join([b"a=1"] * 2000))
    try:
        asked.GET
    except TooManyFieldsSent as exc:
        assert response_for_exception(asked, exc).status_code == 400
        # What admins are mailed.
        assert "TooManyFieldsSent" in ExceptionReporter(asked, type(exc), exc, exc.__traceback__).get_traceback_text()
    assert asked.GET == {}


def test_cookies_without_any_are_empty():
    assert request().COOKIES == {}


def test_signed_cookies_are_verified():
    response = HttpResponse()
    response.set_signed_cookie("name", "value")
    value = response.cookies["name"].value
    asked = request(headers=[(b"cookie", "name={}; bad={}".format(value, value).encode())])
    assert asked.get_signed_cookie("name") == "value"
    with pytest.raises(BadSignature):
        asked.get_signed_cookie("bad")


def test_the_query_is_parsed():
    asked = request(query_string=b"a=1&a=2&b=%C3%A4&c=%FF")
    assert asked.GET.getlist("a") == ["1", "2"]
    assert asked.GET["b"] == "ä"
    assert asked.GET["c"] == "\ufffd"


def test_headers_are_found_in_any_case():
    asked = request(headers=HEADERS)
    assert asked.headers["User-Agent"] == asked.headers["user-agent"] == "Mozilla"
    assert asked.headers["X-Twice"] == "1,2"


def test_values_of_a_header_are_told_apart():
    asked = request(headers=[(b"X-Twice", b"1"), (b"x-twice", b"2")])
    assert asked.header_values(b"x-twice") == [b"1", b"2"]


@pytest.mark.parametrize(("scheme", "theirs", "secure"), [
    ("ws", "http", False), ("wss", "https", True), (None, "http", False), ("https", "https", True),
])
def test_the_scheme_counts_as_that_of_http(scheme, theirs, secure):
    asked = request(scheme=scheme)
    assert (asked.scheme, asked.is_secure()) == (theirs, secure)
    assert asked.build_absolute_uri("/x/") == theirs + "://testserver/x/"


def test_a_scope_of_daphne_has_no_scheme():
    bare = scope()
    del bare["scheme"]
    assert WebsocketRequest(bare, None).scheme == "http"


def test_a_proxy_may_say_that_it_is_secure():
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        asked = request(headers=[(b"host", b"testserver"), (b"x-forwarded-proto", b"https")])
        assert asked.is_secure() and asked.build_absolute_uri() == "https://testserver/path/"


def test_the_host_is_checked():
    assert request(headers=HEADERS).get_host() == "testserver:8000"
    with pytest.raises(DisallowedHost):
        request(headers=[(b"host", b"evil.example")]).get_host()


def test_full_path_and_address_have_the_query():
    asked = request(query_string=b"a=b")
    assert asked.get_full_path() == "/path/?a=b"
    assert asked.build_absolute_uri() == "http://testserver/path/?a=b"


def test_there_is_no_body():
    asked = request()
    assert asked.body == b"" and asked.read() == b""
    assert not asked.POST and not asked.FILES
    assert (asked.content_type, asked.content_params) == ("", {})


def test_the_encoding_of_the_query_can_be_set():
    asked = request(query_string=b"a=b")
    assert asked.GET["a"] == "b"
    asked.encoding = "latin-1"
    assert asked.GET["a"] == "b"


@pytest.mark.parametrize(("path", "root", "inside"), [
    ("/mounted/path/", "/mounted", "/path/"),
    ("/path/", "/mounted", "/path/"),
    ("/path/", "", "/path/"),
    ("/mounted", "/mounted", ""),
])
def test_a_project_may_be_mounted_under_a_path(path, root, inside):
    asked = request(path, root_path=root)
    assert (asked.path, asked.path_info, asked.script_name) == (path, inside, root)


def test_the_settings_may_say_where_it_is_mounted():
    with override_settings(FORCE_SCRIPT_NAME="/mounted"):
        assert request("/mounted/path/").path_info == "/path/"


@pytest.mark.parametrize("more", [{"path": "/\udcff/"}, {"query_string": b"a=\xff"}], ids=str)
def test_what_cannot_be_decoded_is_a_unicode_error(more):
    with pytest.raises(UnicodeError):
        request(**more)


@pytest.mark.parametrize("more", [{"path": "/\udcff/"}, {"query_string": b"a=\xff"}], ids=str)
async def test_what_cannot_be_decoded_is_a_400(more):
    server = Server()
    server.scope.update(more)
    await server.run(WebsocketHandler())
    assert server.status == 400


async def test_the_view_knows_how_it_was_found():
    found = []

    async def view(request, number):
        found.append((request.resolver_match.url_name, request.resolver_match.kwargs, number))
        found.append(reverse("name", args=[7]))

    class Routes:
        urlpatterns = [path("view/<int:number>/", view, name="name")]

    with override_settings(ROOT_URLCONF=Routes):
        await Server("/mounted/view/3/", root_path="/mounted").run(WebsocketHandler())
    assert found == [("name", {"number": 3}, 3), "/mounted/view/7/"]


async def test_the_request_is_one_object_throughout():
    requests = []

    def decorator(view):
        async def wrapper(request):
            requests.append(request)
            return await view(request)

        return wrapper

    async def view(request):
        requests.append(request)

    await seen(decorator(view))
    assert requests[0] is requests[1]


async def test_a_task_may_keep_the_send_of_a_request():
    async def view(request):
        send = request.send
        await asyncio.ensure_future(send("x"))

    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.messages == ["x"]


# Sessions and users


class SessionStore(SessionBase):
    """A session of a user, loaded from nowhere."""

    def load(self):
        return {
            SESSION_KEY: "1",
            BACKEND_SESSION_KEY: __name__ + ".Backend",
            HASH_SESSION_KEY: user().get_session_auth_hash(),
        }

    def save(self, must_create=False):
        raise AssertionError("a session is not saved by itself")


class Backend(BaseBackend):
    """Users that are in no database."""

    def get_user(self, user_id):
        return user()


def user():
    return User(pk=1, username="somebody", password="hash")


@pytest.fixture
def sessions():
    with override_settings(SESSION_ENGINE=__name__, AUTHENTICATION_BACKENDS=[__name__ + ".Backend"]):
        yield [(settings.SESSION_COOKIE_NAME, "a-key-of-eight-letters")]


def logged_in():
    return Server("/view/", [("cookie", settings.SESSION_COOKIE_NAME + "=a-key-of-eight-letters")])


async def run_logged_in(view):
    server = logged_in()
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.closed == 1000


async def test_the_user_of_a_session_is_simply_there(sessions):
    async def view(request):
        assert request.user.username == "somebody"
        assert request.session[SESSION_KEY] == "1"

    await run_logged_in(view)


async def test_the_user_can_be_awaited(sessions):
    async def view(request):
        found = await request.auser()
        assert type(found) is User and found.username == "somebody"

    await run_logged_in(view)


async def test_an_anonymous_user_can_be_awaited():
    async def view(request):
        assert not request.user.is_authenticated
        assert isinstance(await request.auser(), AnonymousUser)

    await seen(view)


async def test_a_lazy_user_of_another_middleware_is_evaluated_in_a_thread():
    asked = request()
    asked.user = SimpleLazyObject(user)
    assert type(await asked.auser()) is User


async def test_a_user_that_is_not_lazy_can_be_awaited():
    asked = request()
    asked.user = user()
    assert await asked.auser() is asked.user


async def test_without_a_middleware_there_is_no_user():
    with pytest.raises(AttributeError):
        await request().auser()


async def test_a_changed_session_is_not_saved_by_itself(sessions):
    async def view(request):
        request.session["changed"] = True

    await run_logged_in(view)


# Messages of Django's


async def test_messages_of_the_next_page_are_made_when_somebody_looks():
    from django.contrib import messages

    async def view(request):
        assert "_messages" not in request.__dict__
        messages.info(request, "hello")
        assert [str(message) for message in messages.get_messages(request)] == ["hello"]

    await seen(view)


async def test_without_their_middleware_there_are_no_messages():
    from django.contrib import messages

    async def view(request):
        assert not hasattr(request, "_messages")
        with pytest.raises(messages.MessageFailure):
            messages.info(request, "hello")

    with override_settings(MIDDLEWARE=[]):
        await seen(view)


# CSRF


def form_token():
    """Return a cookie and a token that Django makes for the same client."""
    page = HttpRequest()
    token = get_token(page)
    return page.META["CSRF_COOKIE"], token


def with_cookie(value, **more):
    asked = request(headers=[(b"cookie", "csrftoken={}".format(value).encode("latin-1"))], **more)
    # What the CSRF middleware of HTTP does is not there to help.
    assert "CSRF_COOKIE" not in asked.META
    return asked


def test_the_token_of_a_page_is_right():
    cookie, token = form_token()
    assert with_cookie(cookie).check_csrf(token) is True


def test_the_token_of_the_cookie_itself_is_right():
    cookie, _ = form_token()
    assert with_cookie(cookie).check_csrf(cookie) is True


def test_a_masked_cookie_of_an_older_django_is_right():
    _, masked = form_token()
    _, token = masked, masked
    assert with_cookie(masked).check_csrf(token) is True


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_origin_and_referer_are_no_business_of_the_token(scheme):
    cookie, token = form_token()
    asked = request(scheme=scheme, headers=[
        (b"cookie", b"csrftoken=" + cookie.encode()), (b"origin", b"http://evil"), (b"referer", b"http://evil/"),
    ])
    assert asked.check_csrf(token) is True


def test_a_token_may_be_a_safe_string():
    cookie, token = form_token()
    assert with_cookie(cookie).check_csrf(mark_safe(token)) is True


def test_a_token_is_checked_as_often_as_one_likes():
    cookie, token = form_token()
    asked = with_cookie(cookie)
    assert [asked.check_csrf(item) for item in (token, "x", token, None)] == [True, False, True, False]


@pytest.mark.parametrize("token", [
    None, "", " ", "x", "x" * 32, "x" * 64, "x" * 100000, "ä" * 32, "\x00" * 64, "\udcff" * 64,
    7, 1.5, b"x" * 64, [], {}, object(), True,
], ids=lambda token: repr(token)[:12])
def test_anything_else_is_wrong(token):
    cookie, _ = form_token()
    assert with_cookie(cookie).check_csrf(token) is False


def test_the_bytes_of_the_right_token_are_wrong():
    cookie, token = form_token()
    assert with_cookie(cookie).check_csrf(token.encode()) is False


@pytest.mark.parametrize("cookie", ["", "x", "x" * 64, "\xe4" * 32, "\x01" * 64, "!" * 32])
def test_a_malformed_cookie_is_wrong(cookie):
    _, token = form_token()
    assert with_cookie(cookie).check_csrf(token) is False


def test_no_cookie_is_wrong():
    _, token = form_token()
    assert request().check_csrf(token) is False
    assert request().check_csrf("") is False
    assert request().check_csrf(None) is False


def test_the_token_of_a_header_does_not_count():
    cookie, token = form_token()
    asked = request(headers=[(b"cookie", b"csrftoken=" + cookie.encode()), (b"x-csrftoken", token.encode())])
    assert asked.check_csrf("") is False


def test_the_name_of_the_cookie_is_a_setting():
    cookie, token = form_token()
    with override_settings(CSRF_COOKIE_NAME="other"):
        assert request(headers=[(b"cookie", b"other=" + cookie.encode())]).check_csrf(token) is True


@pytest.mark.parametrize("stored", [None, 0, 1])
def test_the_token_may_be_in_the_session(stored):
    from django.middleware.csrf import CSRF_SESSION_KEY

    tokens = form_token()
    asked = request()
    asked.session = {} if stored is None else {CSRF_SESSION_KEY: tokens[stored]}
    with override_settings(CSRF_USE_SESSIONS=True):
        assert asked.check_csrf(tokens[1]) is (stored is not None)
        assert asked.check_csrf("x") is False


def test_the_cookie_does_not_count_where_the_session_does():
    cookie, token = form_token()
    asked = with_cookie(cookie)
    asked.session = {}
    with override_settings(CSRF_USE_SESSIONS=True):
        assert asked.check_csrf(token) is False


def test_a_test_client_may_do_without():
    asked = request()
    asked.enforce_csrf_checks = False
    assert asked.check_csrf(None) is True


def test_a_wrong_token_is_not_logged_nor_answered_by_a_page(caplog):
    assert request().check_csrf("x") is False
    assert not caplog.records


def test_django_s_decorator_lets_a_socket_pass():
    assert csrf_protect(lambda request: "passed")(request()) == "passed"


# Closing, and the Finnish names


def test_a_close_that_nobody_awaits_is_harmless():
    request().close()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000])
def test_a_code_that_may_not_be_sent_is_said_at_once(code):
    with pytest.raises(ValueError, match="code"):
        request().close(code)


async def test_a_close_is_awaited():
    async def view(request):
        request.close(4001)
        await request.close(4002, "why")

    server = Server("/view/")
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.sent[-1] == {"type": "websocket.close", "code": 4002, "reason": "why"}


async def test_iteration_ends_when_the_client_leaves():
    got = []

    async def view(request):
        async for message in request:
            got.append(message)
        got.append("end")

    server = Server("/view/")
    server.say("a", "b")
    server.leave()
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert got == ["a", "b", "end"]


def test_finnish_names_are_the_same():
    assert WebsocketRequest.tarkista_csrf is WebsocketRequest.check_csrf
    assert WebsocketRequest.protokolla is WebsocketRequest.subprotocol
    asked = request()
    asked.csrf_handshake = {"token": "x"}
    assert asked._csrf_kattely is asked.csrf_handshake


def test_no_handshake_is_none():
    assert request().csrf_handshake is None and request()._csrf_kattely is None


async def test_a_view_without_subprotocols_has_none():
    async def view(request):
        assert request.subprotocol is None and request.protokolla is None

    await seen(view)




async def test_sending_is_known_to_be_asynchronous(recwarn):
    # As a task or a thread of the project's own would do it.
    request = WebsocketRequest(Server().scope, None)
    async_to_sync(request.send)
    async_to_sync(request.receive)
    assert not recwarn.list
