"""An event loop whose clock jumps: to sleep takes no time, and what is to happen when is known exactly."""
import asyncio
import selectors

#: How long a thread, or a silence that nobody would ever break, is waited for, in real seconds.
PATIENCE = 10


class JumpingSelector(selectors.DefaultSelector):
    """A selector that does not wait for a timer, but puts the clock forward to it."""

    loop = None

    def select(self, timeout=None):
        events = super().select(0)
        if events or timeout == 0:
            return events
        if self.loop.threads or timeout is None:
            # What a thread does takes real time, and the clock stands still meanwhile.
            events = super().select(PATIENCE)
            assert events, "nothing happens, and nothing ever will"
            return events
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with such a clock; it begins at 0.0."""

    def __init__(self):
        self.now = 0.0
        # How many calls are under way in threads.
        self.threads = 0
        selector = JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self):
        return self.now

    def run_in_executor(self, executor, func, *args):
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, future):
        self.threads -= 1


def run(coroutine):
    """Run a coroutine to its end in a virtual loop; return its result, and fail where it leaves something behind."""
    from .conftest import run_in

    return run_in(VirtualLoop(), coroutine)
