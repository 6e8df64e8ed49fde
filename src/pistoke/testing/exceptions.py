"""What a test of a socket can be told.

    HandshakeError                       of pistoke.exceptions
    └── HandshakeFailed                  the socket of the test did not open
        └── HandshakeRefused             it was answered with HTTP: ``.response``
            └── HandshakeForbidden       with status 403
                └── HandshakeMissed      also a ViewEnded: the view has ended without opening or refusing it
    AssertionError
    ├── ViewEnded                        nothing more to wait for: ``.code``, ``.reason``
    ├── InputNotRead                     ``.messages`` that the view did not read
    ├── OutputNotRead                    ``.messages`` that the test did not read
    └── SocketTimeout                    also an asyncio.TimeoutError: it took more than ``.seconds``

What the view itself raises is raised in the test as it is. The lower half is a failed test, not an error in it.
"""

import asyncio
from typing import List, Optional, Union

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
        return "expected a socket at {}, got {} {}{}".format(
            self.path, self.status_code, self.response.reason_phrase, self._excerpt()
        )

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


class Unread(AssertionError):
    """Messages were left over; ``messages`` holds them in order."""

    sentence = ""

    def __init__(self, messages: List[Union[str, bytes]]) -> None:
        super().__init__(messages)
        self.messages = messages

    def __str__(self) -> str:
        return self.sentence.format(len(self.messages), ", ".join(_short(message) for message in self.messages[:5]))


class InputNotRead(Unread):
    """The view did not read everything that the test had sent."""

    sentence = "expected the view to read everything, got {} unread: {}"


class OutputNotRead(Unread):
    """The test did not read everything that the view had sent."""

    sentence = "expected the test to receive everything that the view sends, got {} unread: {}"


class SocketTimeout(AssertionError, asyncio.TimeoutError):
    """Something did not happen within ``seconds``."""

    def __init__(self, expected: str, seconds: Optional[float]) -> None:
        super().__init__(expected, seconds)
        self.expected = expected
        self.seconds = seconds

    def __str__(self) -> str:
        return "expected {} within {} s, got nothing".format(self.expected, self.seconds)


def _short(message: Union[str, bytes]) -> str:
    text = repr(message)
    return text if len(text) <= 80 else text[:77] + "..."
