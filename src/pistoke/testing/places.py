"""Where a view is, for a test that has failed: the line that it waits at, and its own part of a traceback."""

import traceback
import types
from typing import Any, Iterator, List, Optional

from ..driver import Driver
from . import exceptions

#: Packages whose frames say nothing of the view.
OTHERS = {"asgiref", "asyncio", "concurrent", "django", "pistoke", "threading"}

#: What holds the frame of something awaited, and what that awaits: a coroutine, a generator, an asynchronous one.
ATTRIBUTES = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


def describe_place(coroutine: Any) -> str:
    """Return the lines of views that a suspended handler waits at, as in a traceback; "" where there are none."""
    frames = [frame for frame in frames_of(coroutine) if not is_other(frame)]
    lines: List[str] = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames).format()
    return "".join(lines).rstrip()


def frames_of(awaited: Any) -> Iterator[types.FrameType]:
    """Yield the frames of a suspended coroutine, the outermost first."""
    while awaited is not None:
        frame, awaited = frame_and_next(awaited)
        if frame is None:
            return
        yield frame
        if frame.f_code is Driver.run.__code__:
            # It steps the view by hand, so that none of its attributes lead there.
            awaited = frame.f_locals.get("view")


def frame_and_next(awaited: Any) -> Any:
    """Return the frame of something awaited and what it awaits, None for what there is not."""
    for frame, following in ATTRIBUTES:
        if hasattr(awaited, frame):
            return getattr(awaited, frame), getattr(awaited, following, None)
    return None, None


def is_other(frame: types.FrameType) -> bool:
    """Return whether a frame is of a package that carries views."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in OTHERS


def begin_at_view(exc: BaseException) -> BaseException:
    """Cut off what lies before the view (the handler, Django, …) from the traceback of its exception; return that."""
    first: Optional[types.TracebackType] = exc.__traceback__
    while first is not None and is_other(first.tb_frame):
        first = first.tb_next
    return exc.with_traceback(first or exc.__traceback__)


def shorten(exc: Any) -> BaseException:
    """Drop the traceback of what a test is told where it ends in this package: only the line of the test says anything."""
    error: BaseException = exc
    return error.with_traceback(None) if type(error).__module__ == exceptions.__name__ else error
