"""The synchronous test client, and the thread of the test."""
import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.test import override_settings

from pistoke.testing import (
    HandshakeForbidden,
    InputNotRead,
    OutputNotRead,
    SocketTimeout,
    ViewEnded,
    WebsocketSimpleTestCase,
    WebsocketSyncClient,
    WebsocketTestCase,
    WebsocketTransactionTestCase,
)
from tests import testing_views as views


def loop_threads():
    return [thread for thread in threading.enumerate() if thread.name == "pistoke-test-loop"]


@override_settings(ROOT_URLCONF="tests.testing_views")
class SyncClientTest(WebsocketSimpleTestCase):
    """The same as with the asynchronous client, without ``await``."""

    def setUp(self):
        views.log.clear()

    def tearDown(self):
        self.assertEqual(loop_threads(), [])

    def websocket(self, *args, **kwargs):
        return self.client.websocket(*args, **kwargs)

    def test_messages(self):
        with self.websocket("/echo/") as ws:
            ws.send("x")
            self.assertEqual(ws.receive(), "x")
            ws.send(b"y")
            self.assertEqual(ws.receive(), b"y")

    def test_iteration(self):
        with self.websocket("/returning/") as ws:
            self.assertEqual(list(ws), ["done"])
            self.assertEqual(ws.close_code, 1000)

    def test_json(self):
        with self.websocket("/json/") as ws:
            ws.send_json({"a": 1})
            self.assertEqual(ws.receive_json(), {"got": {"a": 1}})

    def test_handshake(self):
        client = WebsocketSyncClient(HTTP_X_ONE="1", REMOTE_ADDR="10.0.0.1")
        with client.websocket("/about/?q=2", secure=True, subprotocols=()) as ws:
            for name, value in ("headers.X-One", "1"), ("META.REMOTE_ADDR", "10.0.0.1"), ("GET.q", "2"), ("scheme", "https"):
                ws.send(name)
                self.assertEqual(ws.receive(), value)
        with client.websocket("/subprotocol/", protokolla="a") as ws:
            self.assertEqual((ws.subprotocol, ws.receive()), ("a", "a"))

    def test_refusal(self):
        with self.assertRaises(HandshakeForbidden) as caught:
            with self.websocket("/refusing/?status=403"):
                self.fail("the socket is not to open")
        self.assertContains(caught.exception.response, "no soup", status_code=403)

    def test_exceptions_of_the_view(self):
        with self.assertRaisesMessage(ValueError, "of the view"):
            with self.websocket("/failing/") as ws:
                ws.send("x")
                ws.receive()
        with self.assertRaisesMessage(ValueError, "of the view"):
            with self.websocket("/failing-at-once/"):
                pass

    def test_close_by_either_side(self):
        with self.websocket("/closing/") as ws:
            self.assertEqual(ws.wait_closed(), 4321)
            with self.assertRaises(ViewEnded):
                ws.receive()
        with self.websocket("/waiting/") as ws:
            ws.close(3000, "bye")
            self.assertEqual(views.log, ["left"])

    def test_leaving_ends_the_view(self):
        with self.websocket("/sleeping/"):
            pass
        self.assertEqual(views.log, ["cancelled", "finally"])

    def test_what_is_left_over(self):
        with self.assertRaises(InputNotRead):
            with self.websocket("/sleeping/") as ws:
                ws.send("x")
        with self.assertRaises(OutputNotRead):
            with self.websocket("/echo/") as ws:
                ws.send("x")
        with self.assertRaisesMessage(KeyError, "of the test"):
            with self.websocket("/echo/") as ws:
                ws.send("x")
                raise KeyError("of the test")

    def test_time_out(self):
        with self.websocket("/echo/") as ws:
            with self.assertRaises(SocketTimeout):
                ws.receive(timeout=0.05)

    def test_a_view_that_swallows_its_cancellation(self):
        with self.assertRaises(SocketTimeout):
            with self.websocket("/stubborn/", timeout=0.2) as ws:
                ws.receive()

    def test_two_sockets_meet(self):
        with self.websocket("/meeting/") as first, WebsocketSyncClient().websocket("/meeting/") as second:
            self.assertEqual(second.receive(), "second")
            self.assertEqual(first.receive(), "first, met second")

    def test_mistakes(self):
        ws = self.websocket("/echo/")
        with self.assertRaisesMessage(RuntimeError, "use `with client.websocket('/echo/') as ws:`"):
            ws.receive()
        with self.assertRaisesMessage(RuntimeError, "use `with"):
            next(ws)

        async def use():
            async with ws:
                pass

        with self.assertRaisesMessage(TypeError, "expected `with`"):
            async_to_sync(use)()
        with ws:
            pass
        with self.assertRaisesMessage(RuntimeError, "call client.websocket() again"):
            with ws:
                pass
        with self.assertRaisesMessage(RuntimeError, "use `with"):
            ws.send("x")

    def test_async_code_of_the_test_beside_an_open_socket(self):
        async def answer():
            return await sync_to_async(threading.current_thread)()

        with self.websocket("/slow-database/") as ws:
            ws.send("x")
            self.assertEqual(ws.receive(), "awake")
            self.assertIs(async_to_sync(answer)(), threading.current_thread())
        self.assertIs(async_to_sync(answer)(), threading.current_thread())

    async def test_in_an_asynchronous_test(self):
        with self.assertRaisesMessage(RuntimeError, "use `async with` and the asynchronous client"):
            with self.websocket("/echo/"):
                pass

    async def test_in_a_synchronous_part_of_an_asynchronous_test(self):
        def part():
            with self.websocket("/slow-database/") as ws:
                ws.send("x")
                return ws.receive()

        self.assertEqual(await sync_to_async(part)(), "awake")
        # And what runs there afterwards still does.
        self.assertEqual(await asyncio.wait_for(sync_to_async(int)("1"), 5), 1)

    def test_from_another_thread(self):
        results = []

        def in_thread():
            with WebsocketSyncClient().websocket("/echo/") as ws:
                ws.send("x")
                results.append(ws.receive())

        thread = threading.Thread(target=in_thread)
        with self.websocket("/echo/"):
            thread.start()
            thread.join(5)
        self.assertEqual(results, ["x"])


class DatabaseTests:
    """The view and the test share a thread and a connection."""

    def setUp(self):
        self.user = get_user_model().objects.create_user("mats")
        self.client.force_login(self.user)

    def test_a_login_holds(self):
        with self.client.websocket("/whoami/") as ws:
            self.assertEqual(ws.receive(), "mats")

    def test_the_view_sees_what_the_test_writes_and_the_reverse(self):
        users = get_user_model().objects
        with self.client.websocket("/user-names/") as ws:
            ws.send("pia")
            self.assertEqual(ws.receive(), "mats,pia")
            self.assertEqual(users.count(), 2)
            users.create_user("ulla")
            ws.send("")
            self.assertEqual(ws.receive(), "mats,pia,ulla")

    def test_tasks_of_the_view_see_it_too(self):
        with self.client.websocket("/user-names-in-task/") as ws:
            self.assertEqual(ws.receive(), "1")

    def test_several_sockets(self):
        with self.client.websocket("/user-names/") as a, self.client.websocket("/user-names/") as b:
            a.send("pia")
            b.send("")
            self.assertEqual(a.receive(), "mats,pia")
            self.assertIn(b.receive(), ("mats", "mats,pia"))


@override_settings(ROOT_URLCONF="tests.testing_views")
class TransactionSharedTest(DatabaseTests, WebsocketTestCase):
    """In the transaction of the test."""


@override_settings(ROOT_URLCONF="tests.testing_views")
class NoTransactionTest(DatabaseTests, WebsocketTransactionTestCase):
    """Without a transaction around it."""


@pytest.mark.django_db
def test_without_a_test_case(settings):
    settings.ROOT_URLCONF = "tests.testing_views"
    client = WebsocketSyncClient()
    client.force_login(get_user_model().objects.create_user("pia"))
    with client.websocket("/whoami/") as ws:
        assert ws.receive() == "pia"
