import asyncio
import contextlib
import io
from unittest import mock

from django.urls import path
from shop import receive, seats
from shop.jobs import searches
from shop.patience import quiz
from shop.stream import countdown
from shop.views import clock, tick

from pistoke.exceptions import ConnectionClosed
from pistoke.testing import WebsocketSimpleTestCase

noted = []


async def failing(request):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())
        await request.receive()


async def fail():
    raise LookupError("a task")


async def late(request):
    try:
        async with asyncio.timeout(0.01):
            await request.receive()
    except TimeoutError:
        await request.send("late")
    await request.send(await request.receive())


async def sends_at_the_end(request):
    try:
        await request.receive()
    finally:
        try:
            await request.send("?")
        except ConnectionClosed as exc:
            noted.append(exc)


urlpatterns = [
    path("clock/", clock),
    path("receive/", receive.clock),
    path("countdown/<int:start>/", countdown),
    path("searches/", searches),
    path("quiz/", quiz),
    path("seats/", seats.reserve),
    path("failing/", failing),
    path("late/", late),
    path("end/", sends_at_the_end),
]


def ticking():
    return [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "tick"]


class BackgroundWork(WebsocketSimpleTestCase):
    async def test_both_clocks(self):
        for address in ("/clock/", "/receive/"):
            async with self.async_client.websocket(address) as ws:
                self.assertRegex(await ws.receive(), r"^\d+-\d+")
                await ws.send("Hello")
                self.assertEqual(await ws.receive(), "Hello")
                self.assertEqual(len(ticking()), 1)
            self.assertEqual(ticking(), [])

    async def test_ticks_again(self):
        request = mock.AsyncMock()
        task = asyncio.ensure_future(tick(request, 0.001))
        await asyncio.sleep(0.1)
        task.cancel()
        self.assertGreater(request.send.await_count, 2)

    async def test_error_in_a_task(self):
        with self.assertRaisesRegex(Exception, "TaskGroup") as raised:
            async with self.async_client.websocket("/failing/") as ws:
                await ws.wait_closed()
        self.assertIsInstance(raised.exception.exceptions[0], LookupError)
        self.assertEqual(ws.close_code, 1011)

    async def test_only_send(self):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            async with self.async_client.websocket("/countdown/9/") as ws:
                self.assertEqual(await ws.receive(), "9")
        self.assertIn("The countdown ends", said.getvalue())

    async def test_long_work(self):
        async with self.async_client.websocket("/searches/") as ws:
            await ws.send_json("te")
            await ws.send_json("tea")
            self.assertEqual(await ws.receive_json(), {"query": "tea", "found": 3})

    async def test_time_out(self):
        for answer, verdict in (("42", "Right."), ("41", "Wrong.")):
            async with self.async_client.websocket("/quiz/") as ws:
                await ws.receive()
                await ws.send(answer)
                self.assertEqual(await ws.receive(), verdict)
        with mock.patch("asyncio.timeout", lambda seconds, timeout=asyncio.timeout: timeout(seconds / 200)):
            async with self.async_client.websocket("/quiz/") as ws:
                await ws.receive()
                self.assertEqual((await ws.wait_closed(), ws.close_reason), (4000, "Too slow."))

    async def test_message_after_a_time_out(self):
        async with self.async_client.websocket("/late/") as ws:
            self.assertEqual(await ws.receive(), "late")
            await ws.send("here")
            self.assertEqual(await ws.receive(), "here")

    async def test_clean_up(self):
        async with self.async_client.websocket("/seats/") as ws:
            seat = await ws.receive()
            self.assertNotIn(seat, seats.seats)
            await ws.send("?")
            self.assertEqual(await ws.receive(), seat + ": ?")
        self.assertIn(seat, seats.seats)

    async def test_nobody_to_send_to(self):
        async with self.async_client.websocket("/end/"):
            pass
        self.assertEqual(len(noted), 1)
