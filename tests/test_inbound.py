"""Reading while the view is busy with something else: what is kept, who is woken, when the reading pauses."""
import asyncio

import pytest
from django.test import override_settings

from pistoke.inbound import Inbound

from .faults import Granian, turns


class Source:
    """A server's ``receive`` that a test feeds."""

    def __init__(self):
        self.events = asyncio.Queue()
        self.pending = 0
        self.failure = None

    def say(self, *messages):
        for message in messages:
            self.events.put_nowait({"type": "websocket.receive", "text": message})

    def leave(self, code=1001, **event):
        self.events.put_nowait(dict({"type": "websocket.disconnect", "code": code}, **event))

    async def receive(self):
        self.pending += 1
        try:
            if self.failure is not None:
                raise self.failure
            return await self.events.get()
        finally:
            self.pending -= 1


def inbound(on_over=lambda: None, granian=False):
    """Return a source and a connection that reads from it, with a view that is somewhere else."""
    source = Source()
    made = Inbound(Granian(source).receive if granian else source.receive)
    made.on_over = on_over
    return source, made


async def text(made):
    """Return the next message."""
    return (await made.next_buffered())["text"]


def ask(made, count=1):
    """Return tasks that each wait for a message."""
    return [asyncio.ensure_future(text(made)) for _ in range(count)]


# Starting and pausing


async def test_nothing_is_read_until_the_view_waits_for_something_else():
    source, made = inbound()
    await turns(3)
    assert source.pending == 0


async def test_somebody_reads_while_the_view_waits_for_something_else():
    source, made = inbound()
    made.attend_soon()
    await turns(3)
    assert source.pending == 1 and made.attended
    await made.stop_reading()
    assert source.pending == 0 and not made.attended


async def test_one_task_reads_however_often_it_is_asked_to():
    source, made = inbound()
    for _ in range(3):
        made.attend_soon()
        made.attend_soon()
        await turns(2)
    assert source.pending == 1
    await made.stop_reading()


async def test_no_task_is_started_where_the_view_is_back_in_time():
    source, made = inbound()
    made.attend_soon()
    made.attended = True
    await turns(3)
    assert source.pending == 0


async def test_no_task_is_started_without_a_view():
    source, made = inbound(on_over=None)
    made.attend_soon()
    await turns(3)
    assert source.pending == 0


async def test_messages_are_kept_in_order():
    source, made = inbound()
    made.attend_soon()
    source.say("1", "2", "3")
    await turns(5)
    assert [await text(made) for _ in range(3)] == ["1", "2", "3"]
    await made.stop_reading()


async def test_the_reading_pauses_at_so_many_messages():
    with override_settings(PISTOKE_INBOUND_MESSAGES=2):
        source, made = inbound()
        source.say("1", "2", "3", "4")
        made.attend_soon()
        await turns(10)
        assert source.events.qsize() == 2 and source.pending == 0
        made.attend_soon()
        await turns(5)
        assert source.events.qsize() == 2


async def test_the_reading_pauses_at_so_many_bytes():
    with override_settings(PISTOKE_INBOUND_BYTES=4):
        source, made = inbound()
        source.say("ää", "x")
        made.attend_soon()
        await turns(10)
        assert source.events.qsize() == 1 and source.pending == 0


async def test_the_reading_goes_on_when_there_is_room_again():
    with override_settings(PISTOKE_INBOUND_MESSAGES=2):
        source, made = inbound()
        source.say("1", "2", "3", "4")
        made.attend_soon()
        await turns(10)
        assert await text(made) == "1"
        await turns(10)
        assert source.events.qsize() == 1
        assert [await text(made) for _ in range(3)] == ["2", "3", "4"]
        await made.stop_reading()


async def test_a_leaving_is_noticed_when_there_is_room_again():
    over = []
    with override_settings(PISTOKE_INBOUND_MESSAGES=1):
        source, made = inbound(on_over=lambda: over.append(True))
        source.say("1")
        source.leave()
        made.attend_soon()
        await turns(10)
        assert not over
        assert await text(made) == "1"
        await turns(10)
        assert over


@pytest.mark.parametrize("setting", ["PISTOKE_INBOUND_MESSAGES", "PISTOKE_INBOUND_BYTES"])
async def test_a_bound_of_nothing_lets_one_message_through(setting):
    with override_settings(**{setting: 0}):
        source, made = inbound()
        source.say("1", "2")
        assert await text(made) == "1"
        assert await text(made) == "2"
        await turns(3)
        await made.stop_reading()


async def test_one_large_message_for_two_who_wait_does_not_end_the_reading():
    with override_settings(PISTOKE_INBOUND_BYTES=1):
        source, made = inbound()
        tasks = ask(made, 2)
        await turns(2)
        source.say("large", "larger")
        assert await asyncio.gather(*tasks) == ["large", "larger"]
        await turns(3)
        await made.stop_reading()


# Waiting


async def test_whoever_waits_starts_the_reading():
    source, made = inbound(on_over=None)
    source.say("1")
    assert await text(made) == "1"
    await made.stop_reading()


async def test_those_who_wait_are_served_in_order():
    source, made = inbound()
    tasks = ask(made, 3)
    await turns(2)
    source.say("1", "2", "3")
    assert await asyncio.gather(*tasks) == ["1", "2", "3"]
    await made.stop_reading()


async def test_nobody_reads_any_more_when_the_view_itself_was_woken():
    source, made = inbound()
    made.stepping = True
    task, = ask(made)
    await turns(2)
    source.say("1")
    assert await task == "1"
    assert source.pending == 0 and not made.attended


async def test_the_reading_goes_on_where_others_wait_behind_the_view():
    source, made = inbound()
    made.stepping = True
    view, = ask(made)
    await turns(2)
    made.stepping = False
    other, = ask(made)
    await turns(2)
    source.say("1", "2")
    assert [await view, await other] == ["1", "2"]
    await made.stop_reading()


async def test_somebody_else_reads_on_when_the_reader_has_gone_but_others_wait():
    source, made = inbound()
    made.stepping = True
    view, = ask(made)
    await turns(2)
    source.say("1")
    await turns(1)
    late, = ask(made)
    await turns(4)
    source.say("2")
    assert sorted([await view, await late]) == ["1", "2"]
    await made.stop_reading()


async def test_a_time_out_leaves_no_waiter_behind():
    source, made = inbound()
    for _ in range(3):
        task, = ask(made)
        await turns(2)
        task.cancel()
        await turns(2)
    assert not made._waiters
    source.say("1")
    assert await text(made) == "1"
    await made.stop_reading()


async def test_a_message_for_one_who_is_cancelled_goes_to_the_next():
    source, made = inbound()
    first, second = ask(made, 2)
    await turns(2)
    source.say("1")
    while made._waiters and not made._buffer:
        await turns(1)
    first.cancel()
    assert await second == "1"
    await made.stop_reading()


async def test_a_message_for_one_who_was_cancelled_in_the_same_turn_is_kept():
    source, made = inbound()
    task, = ask(made)
    await turns(2)
    source.say("1")
    while not made._buffer:
        await turns(1)
    task.cancel()
    await turns(2)
    assert task.cancelled()
    assert await text(made) == "1"
    await made.stop_reading()


async def test_a_waiter_that_is_done_is_passed_over():
    source, made = inbound()
    task, = ask(made)
    await turns(2)
    waiter, _ = made._waiters[0]
    waiter.set_result(None)
    source.say("1")
    assert await task == "1"
    await made.stop_reading()


async def test_an_event_can_be_put_back():
    source, made = inbound(on_over=None)
    made.replay({"type": "websocket.connect"})
    assert await made.next_buffered() == {"type": "websocket.connect"}


# The end


async def test_messages_come_before_the_end_and_the_end_again_and_again():
    source, made = inbound()
    source.say("1")
    source.leave(4001, reason="why")
    made.attend_soon()
    await turns(5)
    assert await text(made) == "1"
    for _ in range(2):
        assert await made.next_buffered() == {"type": "websocket.disconnect", "code": 4001, "reason": "why"}


async def test_nobody_reads_after_the_end():
    source, made = inbound()
    source.leave()
    made.attend_soon()
    await turns(5)
    made.attend_soon()
    await turns(3)
    assert source.pending == 0


async def test_the_view_is_told_of_the_end_once():
    over = []
    source, made = inbound(on_over=lambda: over.append(True))
    source.leave()
    made.attend_soon()
    await turns(5)
    made.attend_soon()
    await turns(3)
    assert over == [True]


async def test_the_end_wakes_all_who_wait():
    source, made = inbound()
    tasks = [asyncio.ensure_future(made.next_buffered()) for _ in range(3)]
    await turns(2)
    source.leave(4001)
    events = await asyncio.gather(*tasks)
    assert [event["code"] for event in events] == [4001] * 3


async def test_the_end_wakes_those_who_outlive_the_view():
    source, made = inbound()
    made.attended = True
    task = asyncio.ensure_future(made.next_buffered())
    await turns(2)
    made.attended = False
    made.attend_soon()
    made.received({"type": "websocket.disconnect", "code": 4001})
    made.on_over = None
    assert (await task)["code"] == 4001


@pytest.mark.parametrize("failure", [RuntimeError("no more"), OSError(), KeyError("text")], ids=repr)
async def test_whatever_the_server_raises_is_the_end(failure):
    source, made = inbound()
    source.failure = failure
    assert (await made.next_buffered())["code"] == 1006


async def test_nothing_more_wakes_all_and_ends_the_reading():
    over = []
    source, made = inbound(on_over=lambda: over.append(True))
    task = asyncio.ensure_future(made.next_buffered())
    await turns(3)
    made.sending({"type": "websocket.close", "code": 4000, "reason": "enough"})
    made.nothing_more()
    assert (await task)["code"] == 4000
    assert source.pending == 0 and over == [True]


async def test_nothing_more_needs_neither_a_reader_nor_a_view():
    source, made = inbound(on_over=None)
    made.nothing_more()
    assert source.pending == 0


async def test_stopping_waits_for_the_end_of_the_reading():
    source, made = inbound()
    made.attend_soon()
    await turns(3)
    await made.stop_reading()
    assert source.pending == 0 and made._reader is None
    await made.stop_reading()


# One reader


@pytest.mark.parametrize("granian", [False, True])
async def test_granian_is_known(granian):
    source, made = inbound(granian=granian)
    assert made.one_reader is granian
    assert made.is_served_by("granian") is granian
    assert not made.is_served_by("gran")


async def test_a_plain_function_is_nobodys_server():
    async def receive():
        pass

    assert not Inbound(receive).one_reader


async def test_where_one_task_reads_it_reads_on_when_the_view_is_woken():
    source, made = inbound(granian=True)
    made.stepping = True
    task, = ask(made)
    await turns(2)
    source.say("1")
    assert await task == "1"
    await turns(2)
    assert source.pending == 1
    await made.stop_reading()
