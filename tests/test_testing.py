"""The asynchronous test client."""
import asyncio

import pytest
from django.contrib.auth import get_user_model
from django.core.signals import got_request_exception
from django.http import HttpResponse
from django.test import override_settings

from pistoke import testing
from pistoke.exceptions import HandshakeError
from pistoke.testing import (
    HandshakeForbidden,
    HandshakeMissed,
    HandshakeRefused,
    InputNotRead,
    OutputNotRead,
    SocketTimeout,
    ViewEnded,
    WebsocketClient,
    WebsocketSimpleTestCase,
    WebsocketTestCase,
)
from pistoke.testing.scope import as_response
from tests import testing_views as views


async def other_tasks():
    """Return how many tasks there are beside this one."""
    all_tasks = getattr(asyncio, "all_tasks", None) or asyncio.Task.all_tasks
    await asyncio.sleep(0)
    return len([task for task in all_tasks() if not task.done()]) - 1


@override_settings(ROOT_URLCONF="tests.testing_views")
class ClientTest(WebsocketSimpleTestCase):
    """What a test does with a socket; without a database."""

    def setUp(self):
        views.log.clear()

    def websocket(self, *args, **kwargs):
        return self.async_client.websocket(*args, **kwargs)

    # Messages

    async def test_text_and_bytes_go_to_and_fro(self):
        async with self.websocket("/echo/") as ws:
            await ws.send("x")
            self.assertEqual(await ws.receive(), "x")
            await ws.send(b"\x00\xff")
            self.assertEqual(await ws.receive(), b"\x00\xff")

    async def test_iteration_ends_with_the_view(self):
        async with self.websocket("/returning/") as ws:
            self.assertEqual([message async for message in ws], ["done"])
            self.assertEqual(ws.close_code, 1000)

    async def test_json(self):
        async with self.websocket("/json/") as ws:
            await ws.send_json({"a": [1]})
            self.assertEqual(await ws.receive_json(), {"got": {"a": [1]}})
            await ws.send([2], json=True)
            self.assertEqual(await ws.receive(), '{"got": [2]}')

    async def test_an_object_is_no_message(self):
        async with self.websocket("/echo/") as ws:
            with self.assertRaisesMessage(TypeError, "expected a message of type str or bytes, got dict; use send_json()"):
                await ws.send({})

    async def test_a_raw_view(self):
        async with self.websocket("/raw/echo/") as ws:
            await ws.send("x")
            self.assertEqual(await ws.receive(), "x")
            self.assertIn((b"x-seen", b"yes"), [tuple(pair) for pair in ws.accept_headers])
        self.assertEqual(self.async_client.cookies["crumb"].value, "1")

    # The handshake

    async def about(self, name, path="/about/", **kwargs):
        async with self.websocket(path, **kwargs) as ws:
            await ws.send(name)
            return await ws.receive()

    async def test_headers_in_all_forms(self):
        self.assertEqual(await self.about("headers.X-One", HTTP_X_ONE="1"), "1")
        self.assertEqual(await self.about("headers.X-One", x_one="2"), "2")
        self.assertEqual(await self.about("headers.X-One", **{"X-One": "3"}), "3")
        self.assertEqual(await self.about("headers.X-One", headers={"X-One": "4"}), "4")
        self.assertEqual(await self.about("META.CONTENT_TYPE", CONTENT_TYPE="5"), "5")
        self.assertEqual(await self.about("headers.X-One", headers=[(b"X-One", b"6")]), "6")

    async def test_names_of_meta_and_of_the_scope(self):
        self.assertEqual(await self.about("META.REMOTE_PORT", REMOTE_PORT="7"), "7")
        self.assertEqual(await self.about("META.REMOTE_ADDR", client=("10.0.0.2", 8)), "10.0.0.2")
        self.assertEqual(await self.about("META.SCRIPT_NAME", "/app/about/", SCRIPT_NAME="/app"), "/app")
        self.assertEqual(await self.about("META.SERVER_NAME", SERVER_NAME="testserver"), "testserver")
        self.assertEqual(await self.about("scheme", **{"wsgi.url_scheme": "https", "wsgi.version": (1, 0)}), "https")

    async def test_defaults_of_the_client(self):
        self.async_client = WebsocketClient(HTTP_X_ONE="1", REMOTE_ADDR="10.0.0.1", headers={"X-Two": "2"})
        self.assertEqual(await self.about("headers.X-One"), "1")
        self.assertEqual(await self.about("headers.X-Two"), "2")
        self.assertEqual(await self.about("META.REMOTE_ADDR"), "10.0.0.1")
        self.assertEqual(await self.about("headers.X-One", HTTP_X_ONE="other"), "other")

    async def test_the_query(self):
        self.assertEqual(await self.about("GET.q", "/about/?q=%C3%A4"), "ä")
        self.assertEqual(await self.about("GET.q", query_params={"q": "ä"}), "ä")
        self.assertEqual(await self.about("GET.q", QUERY_STRING="q=1"), "1")

    async def test_the_path(self):
        self.assertEqual(await self.about("path"), "/about/")
        self.assertEqual(await self.about("build_absolute_uri"), "http://testserver/about/")
        self.assertEqual(await self.about("build_absolute_uri", secure=True), "https://testserver/about/")
        self.assertEqual(
            await self.about("build_absolute_uri", "wss://testserver:8443/about/"), "https://testserver:8443/about/"
        )
        self.assertEqual(
            await self.about("build_absolute_uri", SERVER_PORT="81"), "http://testserver:81/about/"
        )

    async def test_cookies(self):
        self.async_client.cookies["a"] = "1"
        self.assertEqual(await self.about("COOKIES.a"), "1")
        self.assertEqual(await self.about("COOKIES.b", HTTP_COOKIE="b=2"), "2")
        self.assertEqual(await self.about("COOKIES.a", HTTP_COOKIE="b=2"), "1")

    async def test_the_scope_is_that_of_a_server(self):
        scope = self.websocket("/about/%C3%A4?q", secure=True, subprotocols=["a"]).scope
        self.assertEqual(scope["type"], "websocket")
        self.assertEqual((scope["scheme"], scope["http_version"]), ("wss", "1.1"))
        self.assertEqual((scope["path"], scope["raw_path"]), ("/about/ä", b"/about/%C3%A4"))
        self.assertEqual((scope["query_string"], scope["root_path"]), (b"q", ""))
        self.assertEqual((scope["server"], scope["subprotocols"]), (("testserver", 443), ["a"]))
        self.assertEqual((scope["extensions"], scope["state"]), ({"websocket.http.response": {}}, {}))
        self.assertIn([b"sec-websocket-protocol", b"a"], scope["headers"])
        self.assertNotIn(b"cookie", dict(scope["headers"]))

    async def test_subprotocols(self):
        async with self.websocket("/subprotocol/", subprotocols=["x", "a", "b"]) as ws:
            self.assertEqual(ws.subprotocol, "a")
            self.assertEqual(await ws.receive(), "a")
        async with self.websocket("/subprotocol/", protokolla="b") as ws:
            self.assertEqual(ws.subprotocol, "b")
            self.assertEqual(await ws.receive(), "b")

    async def test_the_request_of_the_view(self):
        async with self.websocket("/echo/") as ws:
            self.assertEqual(ws.request.method, "Websocket")

    async def test_csrf_is_not_checked_unless_asked_for(self):
        async with self.websocket("/csrf/") as ws:
            self.assertEqual(await ws.receive(), "True")
        strict = WebsocketClient(enforce_csrf_checks=True, raise_request_exception=False)
        async with strict.websocket("/csrf/") as ws:
            self.assertEqual(await ws.receive(), "False")

    async def test_middleware_is_loaded_with_the_first_socket(self):
        client = WebsocketClient()
        with override_settings(MIDDLEWARE=["pistoke.middleware.WebsocketMiddleware", "tests.test_testing.no_entry"]):
            with self.assertRaises(HandshakeForbidden):
                async with client.websocket("/echo/"):
                    pass

    # Refusals

    async def test_a_refusal_carries_the_response(self):
        with self.assertRaises(HandshakeRefused) as caught:
            async with self.websocket("/refusing/?status=418"):
                self.fail("the socket is not to open")
        response = caught.exception.response
        self.assertIsInstance(response, HttpResponse)
        self.assertContains(response, "no soup", status_code=418)
        self.assertEqual((response["X-Reason"], response["Content-Type"]), ("soup", "text/plain"))
        self.assertEqual(response.cookies["refused"].value, "1")
        self.assertEqual(self.async_client.cookies["refused"].value, "1")
        self.assertIsInstance(caught.exception, HandshakeError)
        self.assertNotIsInstance(caught.exception, HandshakeForbidden)
        self.assertIn("expected a socket at /refusing/, got 418", str(caught.exception))
        self.assertIn("no soup for you", str(caught.exception))

    async def test_403_has_its_own_exception(self):
        with self.assertRaises(self.async_client.Http403) as caught:
            async with self.websocket("/refusing/?status=403"):
                pass
        self.assertEqual(caught.exception.status_code, 403)

    async def test_a_close_before_the_acceptance_is_403(self):
        with self.assertRaises(HandshakeForbidden) as caught:
            async with self.websocket("/raw/close/"):
                pass
        self.assertEqual(caught.exception.response.status_code, 403)

    def test_a_response_has_every_header(self):
        pairs = [(b"vary", b"cookie"), (b"Vary", b"origin"), (b"location", b"/login/"), (b"set-cookie", b"a=1")]
        response = as_response(302, pairs, b"")
        self.assertEqual((response["Vary"], response.url, response.cookies["a"].value), ("cookie, origin", "/login/", "1"))
        self.assertFalse(response.has_header("Content-Type"))

    async def test_a_response_of_a_raw_view(self):
        with self.assertRaises(HandshakeRefused) as caught:
            async with self.websocket("/raw/denial/"):
                pass
        response = caught.exception.response
        self.assertEqual((response.status_code, response["X-Why"], response.content), (401, "because", b"long"))

    async def test_a_foreign_origin_is_refused(self):
        with self.assertRaises(HandshakeForbidden):
            async with self.websocket("/echo/", HTTP_ORIGIN="https://evil.example"):
                pass

    async def test_an_unknown_path_is_404(self):
        with self.assertRaises(self.async_client.KattelyEpaonnistui) as caught:
            async with self.websocket("/nowhere/"):
                pass
        self.assertEqual(caught.exception.status_code, 404)

    async def test_a_view_that_ends_before_the_handshake(self):
        with self.assertRaisesMessage(HandshakeMissed, "expected the view to open the socket at /raw/silent/"):
            async with self.websocket("/raw/silent/"):
                pass

    async def test_a_handshake_without_an_answer(self):
        with self.assertRaisesMessage(SocketTimeout, "expected an answer to the handshake within 0.1 s"):
            async with self.websocket("/raw/hanging/", timeout=0.1):
                pass
        self.assertEqual(await other_tasks(), 0)

    # What the view raises

    async def test_an_exception_surfaces_in_the_next_call(self):
        # Not assertRaises: it forgets the traceback.
        with pytest.raises(ValueError, match="of the view") as caught:
            async with self.websocket("/failing/") as ws:
                await ws.send("x")
                await ws.receive()
        names = []
        traceback = caught.value.__traceback__
        while traceback:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        self.assertIn("failing", names)

    async def test_what_was_sent_before_the_exception_comes_first(self):
        async with self.websocket("/failing/") as ws:
            await ws.send("talk first")
            self.assertEqual(await ws.receive(), "last words")
            with self.assertRaisesMessage(ValueError, "of the view"):
                await ws.receive()
            # Told once.
            with self.assertRaises(ViewEnded) as caught:
                await ws.receive()
        self.assertEqual(caught.exception.code, 1011)

    async def test_an_exception_surfaces_at_the_end(self):
        with self.assertRaisesMessage(ValueError, "of the view"):
            async with self.websocket("/failing/") as ws:
                await ws.send("talk first")

    async def test_an_exception_surfaces_in_send(self):
        with self.assertRaisesMessage(ValueError, "of the view"):
            async with self.websocket("/failing-at-once/") as ws:
                await asyncio.sleep(0.05)
                await ws.send("x")

    async def test_an_exception_before_the_acceptance(self):
        with self.assertRaisesMessage(ValueError, "before accept"):
            async with self.websocket("/raw/failing/"):
                pass

    async def test_an_exception_of_the_handler_itself_is_always_raised(self):
        def broken(scope, receive, send):
            raise LookupError("of the handler")

        self.async_client = WebsocketClient(raise_request_exception=False)
        self.async_client.websocket_handler = broken
        with self.assertRaisesMessage(LookupError, "of the handler"):
            async with self.websocket("/echo/"):
                pass

    async def test_an_exception_need_not_be_raised(self):
        client = WebsocketClient(raise_request_exception=False)
        async with client.websocket("/failing/") as ws:
            await ws.send("x")
            self.assertEqual(await ws.wait_closed(), 1011)
        with self.assertRaises(HandshakeRefused):
            async with client.websocket("/raw/failing/"):
                pass

    @override_settings(MIDDLEWARE=["tests.test_testing.broken_middleware"])
    async def test_an_exception_of_middleware(self):
        with self.assertRaisesMessage(ValueError, "of the middleware"):
            async with self.websocket("/echo/"):
                pass
        client = WebsocketClient(raise_request_exception=False)
        with self.assertRaises(HandshakeRefused) as caught:
            async with client.websocket("/echo/"):
                pass
        self.assertEqual(caught.exception.status_code, 500)

    async def test_django_hears_of_an_exception(self):
        heard = []

        def receiver(request, **kwargs):
            heard.append(request.path)

        got_request_exception.connect(receiver)
        try:
            with self.assertRaises(ValueError):
                async with self.websocket("/failing-at-once/"):
                    pass
        finally:
            got_request_exception.disconnect(receiver)
        self.assertEqual(heard, ["/failing-at-once/"])

    async def test_the_failure_of_the_test_wins_and_shows_that_of_the_view(self):
        with self.assertRaisesMessage(AssertionError, "of the test") as caught:
            async with self.websocket("/failing/") as ws:
                await ws.send("talk first")
                raise AssertionError("of the test")
        self.assertIsInstance(caught.exception.__context__, ValueError)

    # The end

    async def test_close_by_the_view(self):
        async with self.websocket("/closing/") as ws:
            with self.assertRaisesMessage(ViewEnded, "expected a message, got a close with code 4321 (enough)"):
                await ws.receive()
            self.assertEqual((ws.close_code, ws.close_reason), (4321, "enough"))
            with self.assertRaisesMessage(ViewEnded, "expected an open socket to send to"):
                await ws.send("x")

    async def test_close_by_the_test(self):
        async with self.websocket("/waiting/") as ws:
            await ws.close(3000, "bye")
            self.assertEqual(views.log, ["left"])
            self.assertEqual((ws.close_code, ws.close_reason), (3000, "bye"))
            with self.assertRaises(ViewEnded):
                await ws.receive()

    async def test_leaving_ends_the_view_at_once(self):
        started = asyncio.get_event_loop().time()
        async with self.websocket("/waiting/"):
            pass
        self.assertEqual(views.log, ["left"])
        views.log.clear()
        async with self.websocket("/sleeping/"):
            pass
        self.assertEqual(views.log, ["cancelled", "finally"])
        self.assertLess(asyncio.get_event_loop().time() - started, 2)
        self.assertEqual(await other_tasks(), 0)

    async def test_a_view_that_swallows_its_cancellation(self):
        with self.assertRaisesMessage(SocketTimeout, "it swallows its cancellation"):
            async with self.websocket("/stubborn/", timeout=0.2) as ws:
                self.assertEqual(await ws.receive(), "here")
        self.assertIn("swallowed", views.log)
        self.assertEqual(await other_tasks(), 0)

    async def test_input_that_the_view_does_not_read(self):
        with self.assertRaisesMessage(InputNotRead, "expected the view to read everything, got 2 unread: 'a', b'b'"):
            async with self.websocket("/sleeping/") as ws:
                await ws.send("a")
                await ws.send(b"b")

    async def test_output_that_the_test_does_not_read(self):
        with self.assertRaises(OutputNotRead) as caught:
            async with self.websocket("/echo/") as ws:
                await ws.send("a")
        self.assertEqual(caught.exception.messages, ["a"])

    async def test_the_failure_of_the_test_hides_what_was_left(self):
        with self.assertRaisesMessage(KeyError, "of the test"):
            async with self.websocket("/echo/") as ws:
                await ws.send("a")
                raise KeyError("of the test")
        self.assertEqual(await other_tasks(), 0)

    async def test_sending_to_a_client_that_has_left(self):
        ws = self.websocket("/parting/")
        async with ws:
            pass
        self.assertIsInstance(views.log[0], ConnectionError)
        self.assertEqual(await other_tasks(), 0)

    async def test_the_last_message_is_still_read(self):
        async with self.websocket("/slow-database/") as ws:
            await ws.send("x")
            self.assertEqual(await ws.receive(), "awake")

    # Time

    async def test_a_timeout(self):
        async with self.websocket("/echo/") as ws:
            with self.assertRaisesMessage(SocketTimeout, "expected a message within 0.05 s, got nothing"):
                await ws.receive(timeout=0.05)
            # It still works.
            await ws.send("x")
            self.assertEqual(await ws.receive(), "x")

    async def test_a_timeout_is_a_timeout_error(self):
        with self.assertRaises(asyncio.TimeoutError):
            async with self.websocket("/echo/", timeout=0.05) as ws:
                await ws.receive()

    async def test_the_timeout_of_the_client_in_both_languages(self):
        self.async_client.websocket_timeout = 7
        self.assertEqual(self.websocket("/echo/").timeout, 7)
        client = WebsocketClient()
        client.websocket_aikakatkaisu = 8
        self.assertEqual(client.websocket("/echo/").timeout, 8)

    async def test_a_cancelled_test_leaves_nothing_behind(self):
        entered = asyncio.Event()

        async def test():
            async with self.websocket("/sleeping/") as ws:
                entered.set()
                await ws.receive()

        task = asyncio.ensure_future(test())
        await entered.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertEqual(views.log, ["cancelled", "finally"])
        self.assertEqual(await other_tasks(), 0)

    async def test_a_test_cancelled_twice_leaves_nothing_behind(self):
        async def test():
            async with self.websocket("/stubborn/") as ws:
                await ws.receive()
                await ws.receive()

        task = asyncio.ensure_future(test())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertEqual(await other_tasks(), 0)

    # Several

    async def test_two_sockets_meet(self):
        async with self.websocket("/meeting/") as first, self.websocket("/meeting/") as second:
            self.assertEqual(await second.receive(), "second")
            self.assertEqual(await first.receive(), "first, met second")

    async def test_sockets_opened_from_tasks(self):
        results = await asyncio.gather(*[self.about("GET.n", "/about/?n={}".format(n)) for n in range(5)])
        self.assertEqual(results, ["0", "1", "2", "3", "4"])

    # Mistakes

    async def test_use_without_a_context_manager(self):
        ws = self.websocket("/echo/")
        message = "the socket to /echo/ is not open: use `async with client.websocket('/echo/') as ws:`"
        for use in (ws.receive, ws.wait_closed, ws.close):
            with self.assertRaisesMessage(RuntimeError, message):
                await use()
        with self.assertRaisesMessage(RuntimeError, message):
            await ws.send("x")
        with self.assertRaisesMessage(RuntimeError, message):
            await ws
        with self.assertRaisesMessage(RuntimeError, message):
            async for _ in ws:
                pass
        with self.assertRaisesMessage(TypeError, "expected `async with`"):
            with ws:
                pass

    async def test_a_socket_is_used_once(self):
        ws = self.websocket("/echo/")
        async with ws:
            pass
        with self.assertRaisesMessage(RuntimeError, "call client.websocket() again"):
            async with ws:
                pass

    async def test_representation(self):
        ws = self.websocket("/echo/")
        self.assertEqual(repr(ws), "<WebsocketSession /echo/ new>")
        async with ws:
            self.assertEqual(repr(ws), "<WebsocketSession /echo/ open>")
        self.assertEqual(repr(ws), "<WebsocketSession /echo/ closed 1000>")


def no_entry(get_response):
    """Refuse everything, as middleware."""
    return lambda request: HttpResponse(status=403)


def broken_middleware(get_response):
    """Fail, as middleware."""

    def middleware(request):
        raise ValueError("of the middleware")

    return middleware


class TimeoutTest(WebsocketSimpleTestCase):
    """A test case says how long its clients wait."""

    websocket_aikakatkaisu = 3

    def test_both_clients(self):
        self.assertEqual(self.async_client.websocket("/").timeout, 3)
        self.assertEqual(self.client.websocket("/").timeout, 3)


class MoreSpecificTimeoutTest(TimeoutTest):
    """The more specific class wins, whatever the language."""

    websocket_timeout = 2

    def test_both_clients(self):
        self.assertEqual(self.async_client.websocket("/").timeout, 2)


@override_settings(ROOT_URLCONF="tests.testing_views")
class DatabaseTest(WebsocketTestCase):
    """Views take part in the transaction of the test."""

    @classmethod
    def setUpTestData(cls):
        cls.user = get_user_model().objects.create_user("mats")

    def setUp(self):
        self.async_client.force_login(self.user)

    async def test_a_login_holds(self):
        async with self.async_client.websocket("/whoami/") as ws:
            self.assertEqual(await ws.receive(), "mats")

    async def test_the_view_sees_what_the_test_has_written(self):
        async with self.async_client.websocket("/user-names/") as ws:
            await ws.send("pia")
            self.assertEqual(await ws.receive(), "mats,pia")

    async def test_tasks_see_it_too(self):
        async def in_task():
            async with self.async_client.websocket("/user-names-in-task/") as ws:
                return await ws.receive()

        self.assertEqual(await asyncio.ensure_future(in_task()), "1")

    async def test_several_sockets_and_a_database(self):
        async with self.async_client.websocket("/user-names/") as a, self.async_client.websocket("/user-names/") as b:
            await a.send("pia")
            self.assertEqual(await a.receive(), "mats,pia")
            await b.send("")
            self.assertEqual(await b.receive(), "mats,pia")


async def test_without_a_test_case(settings):
    settings.ROOT_URLCONF = "tests.testing_views"
    async with WebsocketClient().websocket("/echo/") as ws:
        await ws.send("x")
        assert await ws.receive() == "x"
    with pytest.raises(SocketTimeout):
        async with WebsocketClient().websocket("/stubborn/", timeout=0.1) as ws:
            await ws.receive()


@pytest.mark.parametrize("name", testing.__all__)
def test_everything_is_exported_and_documented(name):
    assert getattr(testing, name).__doc__


def test_older_names():
    client = WebsocketClient
    assert client.Http403 is HandshakeForbidden and issubclass(client.Http403, HandshakeRefused)
    assert issubclass(HandshakeRefused, client.KattelyEpaonnistui) and issubclass(HandshakeMissed, client.NakymaPaattyi)
    assert client.SyotettaEiLuettu is InputNotRead and client.TulostettaEiLuettu is OutputNotRead
    assert client.PaateyhteysAikakatkaistiin is SocketTimeout and client.NakymaPaattyi is ViewEnded
