"""A scripted ASGI server: it says what a test tells it to, and keeps what the application says."""
import asyncio

from django.test import override_settings


class Server:
    """One connection: ``say`` events to the application, look at what it ``sent``.

    ``send_failure`` is raised by the application's sends once it is set; ``slow`` holds them while it is set.
    """

    def __init__(self, path="/", headers=(), **scope):
        self.scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 4711),
            "root_path": "",
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "headers": [(b"host", b"testserver")] + [(name.encode(), value.encode()) for name, value in headers],
            "subprotocols": [],
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }
        self.scope.update(scope)
        self.sent = []
        self.send_failure = None
        self.receives = 0
        self._inbound = asyncio.Queue()
        self._inbound.put_nowait({"type": "websocket.connect"})
        self._outbound = asyncio.Event()
        self._may_send = asyncio.Event()
        self._may_send.set()

    def say(self, *messages):
        """Send messages as the client."""
        for message in messages:
            key = "text" if isinstance(message, str) else "bytes"
            self._inbound.put_nowait({"type": "websocket.receive", key: message})

    def leave(self, code=1001, **event):
        """Leave as the client."""
        self._inbound.put_nowait(dict({"type": "websocket.disconnect", "code": code}, **event))

    def hold(self):
        """Let no send return."""
        self._may_send.clear()

    def release(self):
        """Let sends return."""
        self._may_send.set()

    async def receive(self):
        self.receives += 1
        return await self._inbound.get()

    async def send(self, event):
        await self._may_send.wait()
        if self.send_failure is not None:
            raise self.send_failure
        self.sent.append(event)
        self._outbound.set()

    async def until(self, count):
        """Wait until the application has sent that many events; return them."""
        while len(self.sent) < count:
            self._outbound.clear()
            await asyncio.wait_for(self._outbound.wait(), 10)
        return self.sent

    def start(self, application):
        """Call the application in a task."""
        self.task = asyncio.ensure_future(application(self.scope, self.receive, self.send))
        return self.task

    async def run(self, application):
        """Call the application; return what it sent."""
        await asyncio.wait_for(self.start(application), 20)
        return self.sent

    @property
    def types(self):
        """The types of what was sent, without their common prefix."""
        return [event["type"].replace("websocket.", "") for event in self.sent]

    @property
    def messages(self):
        """The messages that were sent."""
        return [
            event["text"] if event.get("text") is not None else event["bytes"]
            for event in self.sent
            if event["type"] == "websocket.send"
        ]

    @property
    def closed(self):
        """The code the application closed with, None where it did not."""
        return next((event.get("code", 1000) for event in self.sent if event["type"] == "websocket.close"), None)

    @property
    def status(self):
        """The status of the HTTP answer, None where there is none."""
        starts = (event for event in self.sent if event["type"] == "websocket.http.response.start")
        return next((event["status"] for event in starts), None)


class urls:
    """A URLconf of views given by name: ``with urls(echo=view): …`` routes ``/echo/``."""

    def __init__(self, **views):
        from django.urls import path

        self.urlpatterns = [path("{}/".format(name), view) for name, view in views.items()]

    def __enter__(self):
        self._override = override_settings(ROOT_URLCONF=self)
        self._override.enable()
        return self

    def __exit__(self, *exc_info):
        self._override.disable()
