"""What a test of a socket can be told.

::

    HandshakeError                       of pistoke.exceptions
    └── HandshakeFailed                  the socket of the test did not open
        └── HandshakeRefused             it was answered with HTTP: ``.response``
            └── HandshakeForbidden       with status 403
                └── HandshakeMissed      also a ViewEnded: the view has ended without opening or refusing it
    AssertionError
    ├── ViewEnded                        nothing more to wait for: ``.code``, ``.reason``
    ├── UnexpectedMessage                another one than the test expects: ``.message``
    ├── UnexpectedClose                  with another code or reason: ``.code``, ``.reason``
    ├── UnexpectedHandshake              no refusal, or another one: ``.response``
    ├── InputNotRead                     ``.messages`` that the view did not read
    ├── OutputNotRead                    ``.messages`` that the test did not read
    └── SocketTimeout                    also an asyncio.TimeoutError: it took more than ``.seconds``

What the view itself raises is raised in the test as it is. The lower half is a failed test, not an error in it.
"""

import asyncio
import difflib
import pprint
from typing import Any, List, Optional, Sequence, Union

from django.http import HttpResponse

from ..exceptions import HandshakeError


class HandshakeFailed(HandshakeError):
    """The socket of the test did not open."""


class HandshakeRefused(HandshakeFailed):
    """The handshake was answered with an HTTP response.

    ``response`` is a :class:`django.http.HttpResponse` with the status, headers, cookies and content that were sent;
    ``path`` is what was asked for.
    """

    def __init__(self, response: HttpResponse, path: str = "") -> None:
        super().__init__(response, path)
        self.response = response
        self.path = path

    @property
    def status_code(self) -> int:
        """The HTTP status of the refusal."""
        return self.response.status_code

    def __str__(self) -> str:
        return "expected a socket at {}, got {}".format(self.path, self.describe())

    def describe(self) -> str:
        """Return the status and the beginning of a plain content."""
        return "{} {}{}".format(self.status_code, self.response.reason_phrase, self._excerpt())

    def _excerpt(self) -> str:
        content = self.response.content.decode(self.response.charset or "utf-8", "replace").strip()
        return ": " + content[:200] if content and "<" not in content else ""


class HandshakeForbidden(HandshakeRefused):
    """The handshake was answered with 403."""


class ViewEnded(AssertionError):
    """The view has closed the socket, and there is nothing more to receive from it or to send to.

    ``code`` and ``reason`` are those of the close; ``code`` is None where the view has ended without one.
    """

    def __init__(self, expected: str, code: Optional[int] = None, reason: str = "") -> None:
        super().__init__(expected, code, reason)
        self.expected = expected
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        end = "the end of the view" if self.code is None else "a close with code {}".format(self.code)
        return "expected {}, got {}{}".format(self.expected, end, " ({})".format(self.reason) if self.reason else "")


class HandshakeMissed(HandshakeForbidden, ViewEnded):
    """The view has ended without opening the socket or refusing it; a server answers 403 for it."""

    def __init__(self, response: HttpResponse, path: str = "") -> None:
        super().__init__(response, path)
        self.code: None = None
        self.reason = ""

    def __str__(self) -> str:
        return "expected the view to open the socket at {} or to refuse it, got its end".format(self.path)


class UnexpectedMessage(AssertionError):
    """Another message came than the test expects; ``message`` is what came, with ``expect_json`` as an object."""

    def __init__(self, expected: Any, message: Any, sentence: str = "") -> None:
        super().__init__(expected, message)
        self.expected = expected
        self.message = message
        # What was expected, in words, where that is no message.
        self._sentence = sentence

    def __str__(self) -> str:
        expected = self._sentence or short(self.expected)
        return "expected {}, got {}{}".format(expected, short(self.message), "" if self._sentence else self._difference())

    def _difference(self) -> str:
        """Return what differs, where that is not to be seen at a glance."""
        if len(repr(self.expected)) <= SHORT and len(repr(self.message)) <= SHORT:
            return ""
        expected, got = (pprint.pformat(message).splitlines() for message in (self.expected, self.message))
        return "\n" + "\n".join(difflib.unified_diff(expected, got, "expected", "got", n=2, lineterm=""))


class UnexpectedClose(AssertionError):
    """The socket was closed in another way than the test expects.

    ``code`` and ``reason`` are those of the close, ``messages`` what the test had not read before it.
    """

    def __init__(
        self, expected: str, code: Optional[int], reason: str = "", messages: Sequence[Union[str, bytes]] = ()
    ) -> None:
        super().__init__(expected, code, reason, messages)
        self.expected = expected
        self.code = code
        self.reason = reason
        self.messages = messages

    def __str__(self) -> str:
        before = listed(self.messages)
        return "expected {}, got {}{}".format(
            self.expected, self.describe(self.code, self.reason), " after " + before if before else ""
        )

    @staticmethod
    def describe(code: Optional[int], reason: Optional[str]) -> str:
        """Return a close in words; None for what does not matter."""
        parts = [] if code is None else ["code {}".format(code)]
        parts += [] if reason is None else ["reason {!r}".format(reason)]
        return "a close" + (" with " if parts else "") + " and ".join(parts)


class UnexpectedHandshake(AssertionError):
    """The handshake was to be refused, and was not, or in another way; ``response`` is the refusal, None without one."""

    def __init__(self, expected: str, got: str, response: Optional[HttpResponse] = None) -> None:
        super().__init__(expected, got)
        self.expected = expected
        self.got = got
        self.response = response

    def __str__(self) -> str:
        return "expected {}, got {}".format(self.expected, self.got)


class Unread(AssertionError):
    """Messages were left over; ``messages`` holds them in order."""

    sentence = ""

    def __init__(self, messages: List[Union[str, bytes]]) -> None:
        super().__init__(messages)
        self.messages = messages

    def __str__(self) -> str:
        return self.sentence.format(len(self.messages), few(self.messages))


class InputNotRead(Unread):
    """The view did not read everything that the test had sent."""

    sentence = "expected the view to read everything, got {} unread: {}"


class OutputNotRead(Unread):
    """The test did not read everything that the view had sent."""

    sentence = "expected the test to receive everything that the view sends, got {} unread: {}"


class SocketTimeout(AssertionError, asyncio.TimeoutError):
    """Something did not happen within ``seconds``.

    ``got`` is what came instead, ``place`` where the view waits, as in a traceback, ``unread`` what it has not read.
    """

    def __init__(
        self,
        expected: str,
        seconds: Optional[float],
        got: str = "",
        place: str = "",
        unread: Sequence[Union[str, bytes]] = (),
    ) -> None:
        super().__init__(expected, seconds)
        self.expected = expected
        self.seconds = seconds
        self.got = got or "nothing"
        self.place = place
        self.unread = unread

    def __str__(self) -> str:
        lines = ["expected {} within {} s, got {}".format(self.expected, self.seconds, self.got)]
        if self.unread:
            lines.append("the view has not read {}".format(listed(self.unread)))
        if self.place:
            lines.append("the view waits here:\n" + self.place)
        return "\n".join(lines)


#: How long a message may be to be shown whole, in characters.
SHORT = 80


def short(message: Any) -> str:
    """Return a message as an error shows it."""
    text = repr(message)
    return text if len(text) <= SHORT else text[: SHORT - 3] + "..."


def few(messages: Sequence[Any]) -> str:
    """Return the first of some messages as an error shows them."""
    return ", ".join(short(message) for message in messages[:5])


def listed(messages: Sequence[Any]) -> str:
    """Return how many messages there are, and the first of them; "" for none."""
    count = "1 message" if len(messages) == 1 else "{} messages".format(len(messages))
    return "{}: {}".format(count, few(messages)) if messages else ""
