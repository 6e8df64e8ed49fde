"""The servers: how each is run, and what it can and cannot do."""

import collections
import sys

from tests.parts import importable

from .harness import Server

#: Releases of a server: what a note calls them, whether this Python runs one of them, and whether newer Pythons have better.
Releases = collections.namedtuple("Releases", "which here old")


def uvicorn_has(implementation):
    """Return whether the installed Uvicorn knows an implementation of sockets."""
    if not importable("uvicorn"):
        return True
    from uvicorn.config import WS_PROTOCOLS

    return implementation in WS_PROTOCOLS


#: The extension for answers to a handshake came with 0.25.
NO_DENIAL = Releases("of Python 3.6 and 3.7 (0.16, 0.22)", sys.version_info < (3, 8), True)


class Uvicorn(Server):
    """Uvicorn with its ``websockets`` implementation.

    It answers a cookie that is no ASCII with 500 itself, and tells of a client that has closed when that hangs up.
    """

    name = "uvicorn-websockets"
    title = "Uvicorn `websockets`"
    modules = ("uvicorn", "websockets")
    package = "uvicorn[standard]"
    implementation = "websockets"
    loop = "asyncio"
    # A warning of the newest, and what the oldest makes of a client that leaves during the handshake.
    noise = (r"[^\n]*UvicornDeprecationWarning[^\n]*\n", r"Error in opening handshake\n.*?\nAssertionError\n")
    releases = {
        "old-uvicorn-websockets": Releases("of Python 3.6 (0.16)", sys.version_info < (3, 7), True),
        "old-uvicorn": NO_DENIAL,
    }

    def command(self):
        return [
            "-m", "uvicorn", self.application, "--host", "127.0.0.1", "--port", str(self.port),
            "--ws", self.implementation, "--loop", self.loop,
        ] + self.tls("--ssl-certfile", "--ssl-keyfile")


class UvicornSansio(Uvicorn):
    """Uvicorn with its ``websockets-sansio`` implementation, which there is from 0.35 on."""

    name = "uvicorn-websockets-sansio"
    title = "Uvicorn `websockets-sansio`"
    implementation = "websockets-sansio"
    exists = uvicorn_has("websockets-sansio")
    releases = {"old-uvicorn-sansio": Releases("of Python 3.9 (0.39)", sys.version_info < (3, 10), True)}


class UvicornWsproto(Uvicorn):
    """Uvicorn with its ``wsproto`` implementation."""

    name = "uvicorn-wsproto"
    modules = ("uvicorn", "wsproto")
    package = "uvicorn wsproto"
    title = "Uvicorn `wsproto`"
    implementation = "wsproto"
    releases = {
        "old-uvicorn-wsproto": Releases("of Python 3.6 (0.16)", sys.version_info < (3, 7), True),
        "old-uvicorn": NO_DENIAL,
    }


class Hypercorn(Server):
    """Hypercorn, which tells the view 1006 however the client left, and cancels views 3 s after it was told to end."""

    name = "hypercorn"
    loop = "asyncio"
    title = "Hypercorn"
    modules = ("hypercorn",)
    package = "hypercorn"
    exists = sys.version_info >= (3, 7)
    # Python 3.12 lets a listening socket wait for all its connections, before Hypercorn tells them that it ends; the last
    # release for Python 3.8 waits for ever after it has told them.
    releases = {
        "patient-hypercorn": Releases(
            "on Python 3.8, and on 3.12 and later", sys.version_info >= (3, 12) or sys.version_info[:2] == (3, 8), False
        )
    }
    # What asyncio makes of a cancelled connection, up to Python 3.11.
    noise = (r"Exception in callback StreamReaderProtocol.*?asyncio\.exceptions\.CancelledError",)

    def command(self):
        arguments = ["-m", "hypercorn", self.application, "-b", self.address, "-k", self.loop]
        return arguments + self.tls("--certfile", "--keyfile")


class Daphne(Server):
    """Daphne, which refuses with 403 alone, knows no reasons, and drops a client whose message is over 1 MiB."""

    name = "daphne"
    title = "Daphne"
    modules = ("daphne",)
    package = "daphne"

    def seen(self, code):
        """Its library lets an application close with 1000 and 3000–4999 only: another code says the same 3000 higher."""
        return code + 3000 if 1000 < code < 3000 else code

    # It stumbles over what is left of a handshake of the last second, and ends no view at all then.
    housekeeping = 2.5
    # What its TLS library says of Python 3.6 and 3.7.
    noise = (r"[^\n]*CryptographyDeprecationWarning[^\n]*\n",)

    def command(self):
        return ["-m", "daphne", *self.endpoint(), self.application]

    def endpoint(self):
        """Return the options that say where it listens."""
        if self.certificate is None:
            return ["-b", "127.0.0.1", "-p", str(self.port)]
        return ["-e", "ssl:{}:certKey={}:privateKey={}:interface=127.0.0.1".format(self.port, *self.certificate)]


class Granian(Server):
    """Granian, which does not notice an early leave, passes no reasons, and ends without ending views.

    It logs a close that failed while it holds a lock that its other thread waits for with the interpreter's own lock, so at
    the level INFO it can hang.
    """

    name = "granian"
    # Its own choice.
    loop = "auto"
    title = "Granian"
    modules = ("granian",)
    package = "granian"
    # The releases for older Pythons send no close codes.
    exists = sys.version_info >= (3, 9)
    releases = {"old-granian": Releases("of Python 3.9 (2.5.7)", sys.version_info < (3, 10), True)}

    def command(self):
        return [
            "-m", "granian", self.application, "--interface", "asgi", "--host", "127.0.0.1", "--port", str(self.port),
            "--log-level", "warning", "--loop", self.loop,
        ] + self.tls("--ssl-certificate", "--ssl-keyfile")


SERVERS = [Uvicorn, UvicornSansio, UvicornWsproto, Hypercorn, Daphne, Granian]
