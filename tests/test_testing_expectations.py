"""What a test can expect of its socket, and what it reads where that does not come true."""
import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings

from pistoke.testing import (
    HandshakeMissed,
    HandshakeRefused,
    OutputNotRead,
    SocketTimeout,
    UnexpectedClose,
    UnexpectedHandshake,
    UnexpectedMessage,
    ViewEnded,
    WebsocketClient,
    WebsocketSimpleTestCase,
    WebsocketTestCase,
)
from tests import testing_views as views


@override_settings(ROOT_URLCONF="tests.testing_views")
class AsyncTest(WebsocketSimpleTestCase):
    """With the asynchronous client."""

    def setUp(self):
        views.log.clear()
        self.websocket = self.async_client.websocket

    # Messages

    async def test_the_next_message(self):
        async with self.websocket("/echo/") as ws:
            await ws.send("x")
            await ws.expect("x")
            await ws.send(b"y")
            await ws.expect(b"y")

    async def test_another_message(self):
        async with self.websocket("/echo/") as ws:
            await ws.send("x")
            with self.assertRaises(UnexpectedMessage) as caught:
                await ws.expect("y")
            self.assertEqual((str(caught.exception), caught.exception.message), ("expected 'y', got 'x'", "x"))
            await ws.send(b"x")
            with self.assertRaisesMessage(UnexpectedMessage, "expected 'x', got b'x'"):
                await ws.expect("x")

    async def test_no_message(self):
        async with self.websocket("/echo/") as ws:
            with self.assertRaisesMessage(SocketTimeout, "expected 'y' within 0.05 s, got nothing"):
                await ws.expect("y", timeout=0.05)
        async with self.websocket("/closing/") as ws:
            with self.assertRaisesMessage(ViewEnded, "expected 'y', got a close with code 4321 (enough)"):
                await ws.expect("y")

    async def test_an_object_is_no_message(self):
        async with self.websocket("/echo/") as ws:
            with self.assertRaisesMessage(TypeError, "got dict; use expect_json() for objects"):
                await ws.expect({})

    async def test_json(self):
        async with self.websocket("/json/") as ws:
            await ws.send_json(1)
            await ws.expect_json({"got": 1})
            await ws.send_json(2)
            with self.assertRaisesMessage(UnexpectedMessage, "expected {'got': 3}, got {'got': 2}"):
                await ws.expect_json({"got": 3})
            with self.assertRaisesMessage(SocketTimeout, "expected JSON of [] within 0.05 s"):
                await ws.expect_json([], timeout=0.05)

    async def test_what_is_no_json(self):
        async with self.websocket("/echo/") as ws:
            await ws.send("{")
            with self.assertRaisesMessage(UnexpectedMessage, "expected [1], got '{'"):
                await ws.expect_json([1])

    async def test_where_long_ones_differ(self):
        async with self.websocket("/json/") as ws:
            await ws.send_json({"numbers": list(range(50))})
            with self.assertRaises(UnexpectedMessage) as caught:
                await ws.expect_json({"got": {"numbers": list(range(49))}})
        lines = str(caught.exception).splitlines()
        self.assertEqual(lines[1:3], ["--- expected", "+++ got"])
        self.assertIn("+                     49]}}", [line.rstrip() for line in lines])
        self.assertLess(len(lines), 12)

    async def test_a_message_after_others(self):
        async with self.websocket("/echo/") as ws:
            for message in ("a", "b", "c", "d", "7"):
                await ws.send(message)
            self.assertEqual(await ws.receive_until("b"), "b")
            self.assertEqual(await ws.receive_until(lambda message: message > "c"), "d")
            self.assertEqual(await ws.receive_until(7, json=True), 7)

    async def test_no_such_message(self):
        async with self.websocket("/echo/") as ws:
            await ws.send("a")
            await ws.send("b")
            with self.assertRaisesMessage(SocketTimeout, "expected 'c' within 0.05 s, got 2 messages: 'a', 'b'"):
                await ws.receive_until("c", timeout=0.05)
            with self.assertRaisesMessage(SocketTimeout, "expected a message that is wanted within 0.01 s, got nothing"):
                await ws.receive_until(bool, timeout=0.01)
        async with self.websocket("/returning/") as ws:
            with self.assertRaises(ViewEnded):
                await ws.receive_until(7, json=True)

    async def test_silence(self):
        async with self.websocket("/echo/") as ws:
            await ws.assert_silent(0.02)
            await ws.send("x")
            with self.assertRaisesMessage(UnexpectedMessage, "expected silence for 0.1 s, got 'x'"):
                await ws.assert_silent()
            # It is still there to be read.
            await ws.expect("x")
        async with self.websocket("/closing/") as ws:
            with self.assertRaisesMessage(ViewEnded, "expected silence for 0.1 s, got a close with code 4321"):
                await ws.assert_silent()
        with self.assertRaisesMessage(ValueError, "of the view"):
            async with self.websocket("/failing-at-once/") as ws:
                await ws.assert_silent()

    # The end

    async def test_a_close(self):
        async with self.websocket("/closing/") as ws:
            await ws.assert_closed()
            await ws.assert_closed(4321)
            await ws.assert_closed(4321, "enough")
            await ws.assert_closed(reason="enough")

    async def test_another_close(self):
        async with self.websocket("/closing/") as ws:
            with self.assertRaisesMessage(UnexpectedClose, "code 4000, got a close with code 4321 and reason 'enough'"):
                await ws.assert_closed(4000)
            with self.assertRaisesMessage(UnexpectedClose, "expected a close with reason 'x', got"):
                await ws.assert_closed(reason="x")

    async def test_another_close_after_messages(self):
        with self.assertRaisesMessage(UnexpectedClose, "code 1000 and reason '' after 1 message: 'done'"):
            async with self.websocket("/returning/") as ws:
                await ws.assert_closed(4000)

    async def test_no_close(self):
        async with self.websocket("/echo/") as ws:
            await ws.send("x")
            with self.assertRaisesMessage(SocketTimeout, "a close with code 4000 within 0.05 s, got 1 message: 'x'"):
                await ws.assert_closed(4000, timeout=0.05)
            await ws.receive()

    async def test_a_close_by_an_error(self):
        with self.assertRaisesMessage(ValueError, "of the view"):
            async with self.websocket("/failing-at-once/") as ws:
                await ws.assert_closed(1011)
        async with WebsocketClient(raise_request_exception=False).websocket("/failing-at-once/") as ws:
            await ws.assert_closed(1011)
            with self.assertRaises(ViewEnded) as caught:
                await ws.receive()
        self.assertIsInstance(caught.exception.__cause__, ValueError)

    async def test_a_close_does_not_hide_what_was_not_read(self):
        with self.assertRaises(OutputNotRead):
            async with self.websocket("/returning/") as ws:
                await ws.assert_closed(1000)

    # The handshake

    async def test_a_refusal(self):
        response = await self.websocket("/refusing/?status=418").assert_refused(418)
        self.assertContains(response, "no soup", status_code=418)
        self.assertEqual((await self.websocket("/refusing/?status=401").assert_refused()).status_code, 401)

    async def test_another_refusal(self):
        with self.assertRaises(UnexpectedHandshake) as caught:
            await self.websocket("/refusing/?status=401").assert_refused(403)
        self.assertEqual(
            str(caught.exception), "expected a refusal with 403 at /refusing/, got 401 Unauthorized: no soup for you"
        )
        self.assertEqual(caught.exception.response.status_code, 401)

    async def test_no_refusal(self):
        with self.assertRaises(UnexpectedHandshake) as caught:
            await self.websocket("/waiting/").assert_refused()
        self.assertEqual(str(caught.exception), "expected a refusal at /waiting/, got an open socket")
        self.assertEqual((caught.exception.response, views.log), (None, ["left"]))

    async def test_a_close_is_no_refusal(self):
        message = "got an open socket, and then a close with code 4321 and reason 'enough'"
        with self.assertRaisesMessage(UnexpectedHandshake, message):
            await self.websocket("/closing/").assert_refused(403)
        with self.assertRaisesMessage(UnexpectedHandshake, "a close with code 1011") as caught:
            await self.websocket("/failing-at-once/").assert_refused(403)
        self.assertIsInstance(caught.exception.__cause__, ValueError)

    async def test_an_error_is_no_refusal(self):
        with self.assertRaisesMessage(ValueError, "before accept"):
            await self.websocket("/raw/failing/").assert_refused(500)
        with self.assertRaises(SocketTimeout):
            await self.websocket("/raw/hanging/", timeout=0.05).assert_refused()

    async def test_a_refusal_is_asked_for_in_time(self):
        async with self.websocket("/echo/") as ws:
            with self.assertRaisesMessage(RuntimeError, "call client.websocket() again"):
                await ws.assert_refused()

    # Anything else

    async def test_a_condition(self):
        async with self.websocket("/waiting/") as ws:
            self.assertEqual(await ws.wait_until(lambda: 7), 7)
            await ws.close()
            await ws.wait_until(lambda: views.log == ["left"])

    async def test_a_condition_that_is_a_coroutine(self):
        async def condition():
            return len(views.log)

        async with self.websocket("/sleeping/") as ws:
            views.log.append(1)
            self.assertEqual(await ws.wait_until(condition), 1)

    async def test_a_condition_that_stays_false(self):
        async with self.websocket("/echo/") as ws:
            with self.assertRaisesMessage(SocketTimeout, "expected the condition to come true within 0.02 s, got []"):
                await ws.wait_until(list, timeout=0.02)
        with self.assertRaisesMessage(ValueError, "of the view"):
            async with self.websocket("/failing-at-once/") as ws:
                await ws.wait_until(list)

    async def test_all_need_an_open_socket(self):
        ws = self.websocket("/echo/")
        for use in (ws.wait_closed, ws.assert_closed, ws.assert_silent):
            with self.assertRaisesMessage(RuntimeError, "is not open"):
                await use()
        for use in (ws.expect, ws.expect_json, ws.receive_until):
            with self.assertRaisesMessage(RuntimeError, "is not open"):
                await use("x")
        with self.assertRaisesMessage(RuntimeError, "is not open"):
            await ws.wait_until(bool)


@override_settings(ROOT_URLCONF="tests.testing_views")
class PlaceTest(WebsocketSimpleTestCase):
    """Where a view waits is said, and what is not the view's is left out of its traceback."""

    async def message_of(self, path, *messages):
        with self.assertRaises(SocketTimeout) as caught:
            async with self.async_client.websocket(path) as ws:
                for message in messages:
                    await ws.send(message)
                await ws.receive(timeout=0.05)
        return caught.exception

    async def test_a_view_that_reads(self):
        lines = str(await self.message_of("/waiting/")).splitlines()
        self.assertEqual(lines[:2], ["expected a message within 0.05 s, got nothing", "the view waits here:"])
        self.assertRegex(lines[2], r'^  File ".*testing_views\.py", line \d+, in waiting$')
        self.assertEqual(lines[3:], ["    async for _ in request:"])

    async def test_a_view_that_is_busy(self):
        problem = await self.message_of("/about/sleep/", "x", "y")
        self.assertIn("\nthe view has not read 1 message: 'y'\n", str(problem))
        self.assertIn("in websocket\n    await self.rest()\n", problem.place)
        self.assertTrue(problem.place.endswith("in rest\n    await asyncio.sleep(3600)"))

    async def test_a_view_that_swallows_its_cancellation(self):
        with self.assertRaisesMessage(SocketTimeout, "in stubborn"):
            async with self.async_client.websocket("/stubborn/", timeout=0.1) as ws:
                await ws.receive()

    async def test_a_handshake_that_hangs(self):
        with self.assertRaisesMessage(SocketTimeout, "in raw_hanging"):
            async with self.async_client.websocket("/raw/hanging/", timeout=0.05):
                pass

    async def test_a_traceback_begins_with_the_view(self):
        # Not assertRaises: it forgets the traceback.
        with pytest.raises(ValueError, match="of the view") as caught:
            async with self.async_client.websocket("/failing/") as ws:
                await ws.send("x")
                await ws.receive()
        names = [entry.name for entry in caught.traceback]
        modules = [entry.frame.f_globals["__name__"] for entry in caught.traceback]
        shown = [name for name, entry in zip(names, caught.traceback) if not entry.frame.f_globals.get("__tracebackhide__")]
        self.assertEqual(shown, ["test_a_traceback_begins_with_the_view", "failing"])
        self.assertNotIn("pistoke.handler", modules)


@override_settings(ROOT_URLCONF="tests.testing_views")
class SyncTest(WebsocketSimpleTestCase):
    """The same with the synchronous client."""

    def setUp(self):
        views.log.clear()
        self.websocket = self.client.websocket

    def test_messages(self):
        with self.websocket("/echo/") as ws:
            for message in ("a", "[1]", "b", "2"):
                ws.send(message)
            ws.expect("a")
            ws.expect_json([1])
            self.assertEqual(ws.receive_until(2, json=True), 2)
            ws.assert_silent(0.02)
            ws.send("a")
            with self.assertRaisesMessage(UnexpectedMessage, "expected 'b', got 'a'"):
                ws.expect("b", timeout=3)

    def test_closes(self):
        with self.websocket("/closing/") as ws:
            ws.assert_closed(4321, "enough")
            with self.assertRaises(UnexpectedClose):
                ws.assert_closed(4000)

    def test_refusals(self):
        self.assertEqual(self.websocket("/refusing/?status=401").assert_refused(401)["X-Reason"], "soup")
        self.websocket("/nowhere/").assert_refused(404)
        with self.assertRaises(UnexpectedHandshake):
            self.websocket("/echo/").assert_refused()
        with self.assertRaises(HandshakeRefused), self.websocket("/nowhere/"):
            pass
        with self.assertRaises(HandshakeMissed), self.websocket("/raw/silent/"):
            pass

    def test_conditions(self):
        with self.websocket("/waiting/") as ws:
            ws.close()
            self.assertEqual(ws.wait_until(lambda: views.log), ["left"])
            with self.assertRaises(SocketTimeout):
                ws.wait_until(list, timeout=0.01)

    async def test_no_event_loop_runs(self):
        with self.assertRaisesMessage(RuntimeError, "expected a synchronous test"):
            self.websocket("/echo/").assert_refused()


@override_settings(ROOT_URLCONF="tests.testing_views")
class DatabaseTest(WebsocketTestCase):
    """A condition may ask the database of the test."""

    def test_what_the_view_writes_is_waited_for(self):
        with self.client.websocket("/user-names/") as ws:
            ws.send("pia")
            ws.wait_until(get_user_model().objects.filter(username="pia").exists)
            ws.expect("pia")
