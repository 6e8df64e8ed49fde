"""An event loop for synchronous code."""

import asyncio
import concurrent.futures
import os
import threading
import typing
from typing import Any

from ...exceptions import BrokerUnavailable

#: How long synchronous code waits for the layer, in seconds.
PATIENCE = 30


class Background:
    """An event loop in a thread of its own, for synchronous code: the layer's connections stay."""

    def __init__(self) -> None:
        # Guards the loop; and the process that it was started in, whose children have no such thread.
        self._lock = threading.Lock()
        self._pid: "int | None" = None
        self._loop: "asyncio.AbstractEventLoop | None" = None
        self._thread: "threading.Thread | None" = None

    def run(
        self, coroutine: "typing.Coroutine[Any, Any, None]", loop: "asyncio.AbstractEventLoop | None", alias: str
    ) -> None:
        """Run a coroutine in an event loop, by default the one of the thread, and wait for it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, loop or self._started())
        try:
            future.result(PATIENCE)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise BrokerUnavailable(alias, "no answer for {} s".format(PATIENCE)) from None

    def _started(self) -> "asyncio.AbstractEventLoop":
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=serve, args=(self._loop,), name="pistoke-pubsub", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            loop, thread, own = self._loop, self._thread, self._pid == os.getpid()
            self._loop = self._thread = None
        if loop is not None and thread is not None and own:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(PATIENCE)


def serve(loop: "asyncio.AbstractEventLoop") -> None:
    """Run an event loop until it is stopped."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        # What channels_redis has opened is closed by this.
        loop.close()
