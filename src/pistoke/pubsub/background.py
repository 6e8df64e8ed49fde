"""An event loop for synchronous code, in processes that have none."""

import asyncio
import os
import threading

#: How long the end of the thread is waited for, in seconds.
PATIENCE = 30


class Background:
    """An event loop in a thread of its own, started when it is first asked for: what is opened in it stays open."""

    def __init__(self, name: str = "pistoke-pubsub") -> None:
        # What the thread is called.
        self._name = name
        # Guards the loop; and the process that it was started in, whose children have no such thread.
        self._lock = threading.Lock()
        self._pid: "int | None" = None
        self._loop: "asyncio.AbstractEventLoop | None" = None
        self._thread: "threading.Thread | None" = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop; start it where it does not run."""
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._pid, self._loop = os.getpid(), asyncio.new_event_loop()
                self._thread = threading.Thread(target=serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def stop(self) -> None:
        """End the loop and its thread; otherwise they end with the process."""
        with self._lock:
            loop, thread, own = self._loop, self._thread, self._pid == os.getpid()
            self._loop = self._thread = None
        if loop is not None and thread is not None and own:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(PATIENCE)


def serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run an event loop until it is stopped, and close it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        # What channels_redis has opened is closed by this.
        loop.close()
