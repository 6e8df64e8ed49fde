"""A scripted server whose calls go wrong, and the ways in which they do."""
import asyncio

from .asgi import Server


async def turns(count):
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


class FaultyServer(Server):
    """A server that ``fault`` befalls at the call number ``at``, counted from one.

    ``pace`` is how many turns of the event loop each call takes.
    """

    def __init__(self, path, fault=None, at=0, pace=0, answers=True, **scope):
        super().__init__(path, **scope)
        self.fault = fault
        self.at = at
        self.pace = pace
        self.calls = 0
        # The messages that the application was given.
        self.handed = []
        # All that the application tried to send, whether it succeeded or not.
        self.attempted = []
        self.receive_failure = None
        # Whether sends go nowhere, and whether the client answers a close (Hypercorn waits for it for ever).
        self.silent = False
        self.answers = answers
        self.gone = False
        self.cancelled = False

    async def _call(self, kind):
        self.calls += 1
        if self.calls == self.at and self.fault is not None:
            await self.fault(self, kind)

    async def receive(self):
        await self._call("receive")
        await turns(self.pace)
        if self.receive_failure is not None:
            raise self.receive_failure
        event = await super().receive()
        if event["type"] == "websocket.receive":
            self.handed.append(event["text"])
        elif event["type"] == "websocket.disconnect":
            self.gone = True
        return event

    async def send(self, event):
        self.attempted.append(event)
        await self._call("send")
        if not self.silent:
            await super().send(event)
        if event["type"] == "websocket.close" and self.answers:
            self.leave(event["code"])
        await turns(self.pace)

    @property
    def told(self):
        """The code that the client was told, or would have been if the send had not failed; None without one."""
        return next((event.get("code", 1000) for event in self.attempted if event["type"] == "websocket.close"), None)

    def cancel(self):
        """Cancel the application, as a server does when it shuts down."""
        self.cancelled = self.cancelled or self.task.cancel()


# Faults


async def client_gone(server, kind):
    """The client leaves; sends fail from now on."""
    server.gone = True
    server.send_failure = OSError("gone")
    server.leave(1006)


async def client_gone_unnoticed(server, kind):
    """The client leaves; sends go nowhere from now on."""
    server.gone = server.silent = True
    server.leave(1006)


async def send_fails(server, kind):
    """Sends raise whatever the server raises; the client is still there, as far as it knows."""
    server.send_failure = RuntimeError("Unexpected ASGI message")


async def receive_fails(server, kind):
    """Receives raise whatever the server raises."""
    server.gone = True
    server.receive_failure = RuntimeError("cannot receive")


async def both_fail(server, kind):
    """Nothing works any more."""
    await receive_fails(server, kind)
    await send_fails(server, kind)


async def slow(server, kind):
    """One call takes its time."""
    await turns(7)


async def cancelled(server, kind):
    """The server cancels the application in the middle of the call."""
    server.cancel()
    await turns(2)


async def cancelled_after(server, kind):
    """The server cancels the application just when the call is done."""
    asyncio.get_event_loop().call_soon(server.cancel)


async def cancelled_twice(server, kind):
    """The server cancels the application, and again while it cleans up."""
    server.cancel()
    call_after_turns(1, server.task.cancel)
    await turns(2)


async def cancelled_twice_later(server, kind):
    """The server cancels the application, and again when it has nearly cleaned up."""
    server.cancel()
    call_after_turns(3, server.task.cancel)
    await turns(2)


async def cancelled_twice_slowly(server, kind):
    """The server cancels the application, and again while its last words take their time."""
    server.cancel()
    server.pace += 5
    call_after_turns(4, server.task.cancel)
    await turns(2)


async def gone_and_cancelled(server, kind):
    """The client leaves and the server cancels in the same turn."""
    await client_gone(server, kind)
    server.cancel()
    await turns(2)


async def shutdown(server, kind):
    """The server shuts down and says so."""
    server.gone = True
    server.leave(1012)


def call_after_turns(count, callback):
    """Call back after that many turns of the event loop."""
    if count == 0:
        return callback()
    return asyncio.get_event_loop().call_soon(call_after_turns, count - 1, callback)


FAULTS = [
    client_gone,
    client_gone_unnoticed,
    send_fails,
    receive_fails,
    both_fail,
    slow,
    cancelled,
    cancelled_after,
    cancelled_twice,
    cancelled_twice_later,
    cancelled_twice_slowly,
    gone_and_cancelled,
    shutdown,
]


class Granian:
    """A server that has a module's name: messages are lost where its ``receive`` is cancelled."""

    __module__ = "granian.asgi"

    def __init__(self, server):
        self.server = server

    async def receive(self):
        return await self.server.receive()

#: Those that need no call to befall.
FAULTS_OF_ANY_MOMENT = [
    client_gone,
    client_gone_unnoticed,
    both_fail,
    cancelled,
    cancelled_twice,
    gone_and_cancelled,
    shutdown,
]
