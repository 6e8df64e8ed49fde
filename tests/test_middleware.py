"""Where a socket is, for pages; and which pages may open one."""
import logging

import django
import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.test import RequestFactory, override_settings
from django.utils.decorators import method_decorator

from pistoke.decorators import json_messages, origin_exempt
from pistoke.handler import WebsocketHandler
from pistoke.middleware import CsrfMiddleware, OriginMiddleware, WebsocketMiddleware
from pistoke.protocol import WebsocketProtocol
from pistoke.request import WebsocketRequest
from pistoke.views import WebsocketView

from .asgi import Server, urls


async def view(request):
    pass


async def opens(*origins, view=view, **scope):
    """Return whether ``view`` opens for a page of these origins."""
    server = Server("/view/", [("origin", origin) for origin in origins], **scope)
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.types[0] == "accept" or server.status == 403
    return server.types[0] == "accept"


# Origins


async def test_who_is_no_browser_says_no_origin_and_may_open():
    assert await opens()


@pytest.mark.parametrize("origin", [
    "http://testserver",
    "https://testserver",
    "http://testserver:8000",
    "http://TestServer",
    "HTTP://TESTSERVER",
    "http://localhost:3000",
    "http://127.0.0.1:8000",
])
async def test_a_page_of_an_allowed_host_may_open(origin):
    assert await opens(origin)


@pytest.mark.parametrize("origin", [
    "http://evil.example",
    "https://testserver.evil.example",
    "http://eviltestserver",
    "null",
    "",
    " ",
    "testserver",
    "//testserver",
    "http://",
    "http://:80",
    "http:testserver",
    "http:///testserver",
    "http://testserver/",
    "http://testserver/path",
    "http://testserver?",
    "http://testserver?query",
    "http://testserver#",
    "http://testserver:",
    "http://testserver:port",
    "http://testserver:99999",
    "http://user@testserver",
    "http://testserver@evil.example",
    "http://evil.example\\@testserver",
    "http://test\tserver",
    "http://testserver, http://testserver",
    "http://testserver http://evil.example",
    "http://[::1",
    "http://[::1]evil",
    "http://testserver\xe4",
    "ws://testserver",
    "file://testserver",
    "chrome-extension://testserver",
    "javascript://testserver",
    "http://testserver:" + "0" * 600 + "80",
])
async def test_a_page_of_another_host_and_whatever_is_malformed_is_refused(origin):
    assert not await opens(origin)


async def test_what_is_no_utf_8_is_refused():
    server = Server("/view/")
    server.scope["headers"].append((b"origin", b"http://\xff\xfe"))
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.status == 403


async def test_two_origins_are_refused_even_if_both_are_good():
    assert not await opens("http://testserver", "http://testserver")


async def test_a_name_of_a_header_may_be_of_any_case():
    server = Server("/view/")
    server.scope["headers"].append((b"Origin", b"http://evil.example"))
    with urls(view=view):
        await server.run(WebsocketHandler())
    assert server.status == 403


@pytest.mark.parametrize(("origin", "scheme", "good"), [
    ("http://testserver", "ws", True),
    ("https://testserver", "ws", True),
    ("https://testserver", "wss", True),
    ("http://testserver", "wss", False),
])
async def test_an_insecure_page_may_not_open_a_secure_socket(origin, scheme, good):
    assert await opens(origin, scheme=scheme) is good


async def test_whether_it_is_secure_a_proxy_may_say():
    server = Server("/view/", [("origin", "http://testserver"), ("x-forwarded-proto", "https")])
    with urls(view=view), override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        await server.run(WebsocketHandler())
    assert server.status == 403


@pytest.mark.parametrize(("allowed", "origin", "good"), [
    ([".example.com"], "https://example.com", True),
    ([".example.com"], "https://deep.sub.example.com:8443", True),
    ([".example.com"], "https://badexample.com", False),
    (["example.com"], "https://sub.example.com", False),
    (["[::1]"], "http://[::1]:8000", True),
    (["[::1]"], "http://[::2]:8000", False),
    (["EXAMPLE.com"], "https://example.com", True),
    (["*"], "https://anything.example", True),
    (["*"], "chrome-extension://abcdef", True),
    (["*"], "null", False),
    (["*"], "", False),
    (["*"], "http://user@host", False),
    (["*"], "http://host/path", False),
    ([], "http://localhost", False),
])
async def test_allowed_hosts_are_read_as_django_reads_them(allowed, origin, good):
    with override_settings(ALLOWED_HOSTS=allowed, MIDDLEWARE=[]):
        assert await opens(origin) is good


@pytest.mark.parametrize(("origin", "good"), [
    ("http://localhost:8000", True),
    ("http://sub.localhost", True),
    ("http://127.0.0.1:8000", True),
    ("http://[::1]:8000", True),
    ("http://testserver", False),
])
async def test_an_empty_list_means_this_machine_while_debugging(origin, good):
    with override_settings(ALLOWED_HOSTS=[], DEBUG=True, MIDDLEWARE=[]):
        assert await opens(origin) is good


async def test_a_list_that_is_not_empty_means_what_it_says_while_debugging():
    with override_settings(ALLOWED_HOSTS=["testserver"], DEBUG=True):
        assert not await opens("http://localhost:8000")


NEW_SPELLING = [
    (["https://other.example"], "https://other.example", True),
    (["https://other.example"], "https://OTHER.example", True),
    (["https://Other.example"], "https://other.example", True),
    (["https://other.example"], "http://other.example", False),
    (["https://other.example"], "https://other.example:8443", False),
    (["https://other.example:8443"], "https://other.example:8443", True),
    (["https://*.other.example"], "https://sub.other.example", True),
    (["https://*.other.example"], "http://sub.other.example", False),
    (["https://*.other.example"], "https://another.example", False),
    (["https://first.example", "https://second.example"], "https://second.example", True),
    (["chrome-extension://abcdef"], "chrome-extension://abcdef", True),
    (["chrome-extension://abcdef"], "chrome-extension://fedcba", False),
]
OLD_SPELLING = [
    (["other.example"], "https://other.example", True),
    (["other.example"], "http://other.example", True),
    (["other.example"], "https://sub.other.example", False),
    ([".other.example"], "https://sub.other.example", True),
    ([".other.example"], "https://other.example", True),
    (["other.example:8443"], "https://other.example:8443", True),
    ([""], "https://other.example", False),
]


@pytest.mark.parametrize(("trusted", "origin", "good"), NEW_SPELLING + OLD_SPELLING)
async def test_trusted_origins_may_open_in_either_spelling(trusted, origin, good):
    with override_settings(CSRF_TRUSTED_ORIGINS=trusted):
        assert await opens(origin) is good


async def test_an_insecure_page_may_open_a_secure_socket_where_it_is_trusted():
    with override_settings(CSRF_TRUSTED_ORIGINS=["http://testserver"]):
        assert await opens("http://testserver", scheme="wss")


async def test_a_refusal_is_logged_for_security(caplog):
    await opens("http://evil.example")
    record, = caplog.records
    assert record.name.startswith("django.security.") and record.levelno == logging.WARNING
    assert "http://evil.example" in record.getMessage() and "/view/" in record.getMessage()
    assert record.status_code == 403


async def test_an_unknown_path_says_404_to_a_bad_origin_too():
    server = Server("/nowhere/", [("origin", "http://evil.example")])
    with urls():
        await server.run(WebsocketHandler())
    assert server.status == 404


def test_an_http_request_is_let_through_by_the_middleware_for_sockets():
    request = RequestFactory().get("/", HTTP_ORIGIN="http://evil.example")
    assert OriginMiddleware(lambda request: None).process_view(request, view, (), {}) is None


# Exempt views

EVIL = "http://evil.example"


async def http_and_socket(request):
    if request.method != "Websocket":
        return HttpResponse("page")
    return None


@pytest.mark.parametrize("exempt", [
    origin_exempt(view),
    origin_exempt()(view),
    origin_exempt(WebsocketProtocol(view)),
    WebsocketProtocol(origin_exempt(view)),
    WebsocketProtocol()(origin_exempt()(view)),
    origin_exempt(json_messages(WebsocketProtocol(view))),
], ids=["bare", "called", "outside", "inside", "inside called", "around json"])
async def test_any_page_may_open_an_exempt_function(exempt):
    assert await opens(EVIL, view=exempt)


class Page(WebsocketView):
    async def websocket(self, request):
        await request.send("x")


@pytest.mark.parametrize("decorators", [
    [(origin_exempt, "dispatch")],
    [(origin_exempt(), "dispatch")],
    [(origin_exempt, "websocket")],
    [(origin_exempt, "websocket"), (WebsocketProtocol, "websocket")],
    [(WebsocketProtocol(), "websocket"), (origin_exempt(), "websocket")],
    [(WebsocketProtocol(), "websocket"), (origin_exempt, "dispatch")],
], ids=repr)
async def test_any_page_may_open_an_exempt_class(decorators):
    class Exempt(Page):
        async def websocket(self, request):
            await request.send("x")

    for decorator, name in decorators:
        Exempt = method_decorator(decorator, name=name)(Exempt)
    assert await opens(EVIL, view=Exempt.as_view())


@pytest.mark.parametrize("name", ["dispatch", "websocket"])
async def test_a_class_is_not_exempt_because_its_subclass_is(name):
    @method_decorator(origin_exempt, name=name)
    class Exempt(Page):
        async def websocket(self, request):
            await super().websocket(request)

    assert await opens(EVIL, view=Exempt.as_view())
    assert not await opens(EVIL, view=Page.as_view())


@pytest.mark.parametrize("protected", [view, WebsocketProtocol(view)], ids=["function", "protocol"])
async def test_a_view_is_not_exempt_because_an_exempt_one_was_made_of_it(protected):
    origin_exempt(protected)
    assert not await opens(EVIL, view=protected)


async def test_an_exempt_view_answers_http_as_before():
    request = RequestFactory().get("/")
    assert (await origin_exempt(http_and_socket)(request)).content == b"page"


async def test_what_an_exempt_view_answers_still_counts():
    async def view(request):
        return HttpResponse(status=403)

    server = Server("/view/")
    with urls(view=origin_exempt(view)):
        await server.run(WebsocketHandler())
    assert server.closed == 4403


# The address of sockets, for pages


def page_request(path="/page/", headers=(), **scope):
    scope = dict({
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(b"host", b"testserver")] + list(headers),
        "scheme": "http",
        "server": ("testserver", 80),
    }, **scope)
    import io

    return ASGIRequest(scope, io.BytesIO())


def with_websocket(request):
    """Return ``request.websocket`` as a page sees it."""
    return WebsocketMiddleware(lambda request: getattr(request, "websocket", None))(request)


@pytest.mark.parametrize(("scope", "address"), [
    ({}, "ws://testserver"),
    ({"scheme": "https"}, "wss://testserver"),
    ({"headers": [(b"x-forwarded-proto", b"https")]}, "ws://testserver"),
])
def test_a_page_knows_the_address_of_sockets(scope, address):
    assert with_websocket(page_request(**scope)) == address


def test_the_address_has_the_port_of_the_page():
    request = page_request()
    request.META["HTTP_HOST"] = "localhost:8000"
    assert with_websocket(request) == "ws://localhost:8000"


def test_the_address_is_secure_where_a_proxy_says_that_the_page_is():
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        assert with_websocket(page_request(headers=[(b"x-forwarded-proto", b"https")])) == "wss://testserver"


def test_there_is_no_address_under_wsgi():
    request = RequestFactory().get("/")
    assert with_websocket(request) is None
    assert not hasattr(request, "websocket")


async def test_a_socket_has_no_address_of_another():
    request = WebsocketRequest(Server("/").scope, None)
    WebsocketMiddleware(lambda request: None).process_request(request)
    assert not hasattr(request, "websocket")


@pytest.mark.skipif(django.VERSION < (3, 2), reason="the test client of Django 3.1 has no scope of HTTP")
async def test_an_address_is_in_the_template_of_a_page():
    from django.template import engines
    from django.test import AsyncClient

    async def page(request):
        template = engines["django"].from_string("{{ request.websocket }}{{ request.path }}")
        return HttpResponse(template.render({"request": request}))

    with urls(page=page):
        response = await AsyncClient().get("/page/")
    assert response.content == b"ws://testserver/page/"


# CSRF


def posted(**form):
    request = RequestFactory().post("/", form)
    request._dont_enforce_csrf_checks = False
    return request


def csrf_middleware():
    return CsrfMiddleware(lambda request: HttpResponse())


def test_the_token_of_a_form_is_checked():
    request = posted()
    csrf_middleware().process_request(request)
    assert csrf_middleware().process_view(request, view, (), {}).status_code == 403


def test_a_form_with_its_token_passes():
    request = RequestFactory().get("/")
    token = get_token(request)
    cookie = request.META["CSRF_COOKIE"]
    request = posted(csrfmiddlewaretoken=token)
    request.COOKIES["csrftoken"] = cookie
    csrf_middleware().process_request(request)
    assert csrf_middleware().process_view(request, view, (), {}) is None


async def test_a_socket_is_not_checked():
    request = WebsocketRequest(Server("/").scope, None)
    request._dont_enforce_csrf_checks = False
    csrf_middleware().process_request(request)
    assert csrf_middleware().process_view(request, view, (), {}) is None
    assert "CSRF_COOKIE" not in request.META
