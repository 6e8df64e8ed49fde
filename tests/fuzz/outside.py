"""Send a case to a real server, byte by byte, and look at what comes back and what the server and Django say of it."""
import json
import logging
import re
import socket
import struct
import time
from urllib.parse import quote_from_bytes

from ..servers.clients import BINARY, TEXT, close_frame, encode_frame
from .inside import CONTROL, LEAKS, LOGS_ARE_ESCAPED, Failure, expect
from .secret import SECRET

#: How long an answer may take, in seconds.
PATIENCE = 15

#: From how many bytes on a server may be silent: Uvicorn's ``websockets-sansio`` is where a line is that long.
LONG = 8000
#: How long an answer is waited for that need not come, in seconds.
IMPATIENCE = 0.2


class Target:
    """A server that cases are sent to."""

    def __init__(self, server):
        server.application = "tests.fuzz.served:application"
        self.server = server.start()
        # How far the journal and the output were read.
        self.journal_read = self.output_read = 0
        # How often the server answered 5xx itself, without the application, and printed a traceback of its own.
        self.own_errors = self.own_tracebacks = 0

    def run(self, case):
        """Send a case; raise :class:`Failure` where a stranger can do what it should not."""
        began = time.monotonic()
        answer = Exchange(self.server.port, case).run()
        expect(time.monotonic() - began < 2 * PATIENCE, "it took too long", time.monotonic() - began)
        expect(self.server.process.poll() is None, "the server has ended", self.server.output[-2000:])
        for record in self.records():
            check_record(record)
        if answer is not None:
            self.check(answer, case)

    def records(self):
        """Return what Django has logged since the last call."""
        path = self.server.directory / "journal"
        if not path.exists():
            return []
        with open(str(path), "rb") as journal:
            journal.seek(self.journal_read)
            lines = journal.read()
        lines = lines[:lines.rfind(b"\n") + 1]
        self.journal_read += len(lines)
        return [json.loads(line.decode()) for line in lines.splitlines()]

    def check(self, answer, case):
        if answer.status >= 500:
            # With nothing in the log, below and above, it did not come from the application.
            self.own_errors += 1
        # On a line of its own: Daphne quotes what it refuses.
        expect(not re.search(rb"[\r\n]X-Injected", answer.head), "a header is injected", answer.head)
        expect(answer.code not in (1011, 4011, 4500), "a stranger sees code", answer.code)
        if answer.status != 101:
            text = answer.rest.decode("latin-1")
            expect(not LEAKS.search(text), "an answer tells too much", text)
        expect(SECRET.encode() not in answer.head + answer.rest, "an answer tells the secret", answer.rest)

    def check_output(self):
        """Look whether what the server prints has come from the application; what it says of itself is counted."""
        output = self.server.output
        new, self.output_read = output[self.output_read:], len(output)
        self.own_tracebacks += new.count("Traceback")
        ours = [line for line in new.splitlines() if OURS.search(line)]
        expect(not ours, "the server says", ours[:5], new[-3000:])


#: What is printed of an exception that came through the application, and of what was forgotten in it.
OURS = re.compile(
    r'File "[^"]*/(pistoke|django|fuzz)/|never awaited|never retrieved|was destroyed|Unclosed'
    "|ASGI callable|Exception in ASGI|Error in ASGI"
)


def check_record(record):
    """Look at a record of Django's log."""
    level = getattr(logging, record["level"])
    theirs = record["logger"].startswith("django.security.")
    expect(level < logging.ERROR or theirs, "an error is logged", record)
    expect(not (LOGS_ARE_ESCAPED and CONTROL.search(record["message"])), "a line of the log is forged", record["message"])


class Answer:
    """What came back."""

    def __init__(self, head, rest):
        self.head = head
        self.rest = rest
        words = head.split(None, 2)
        self.status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        # The code that the server closed with, None without one.
        self.code = None


class Exchange:
    """One connection."""

    def __init__(self, port, case):
        self.case = case
        self.wire = case["wire"]
        self.buffer = b""
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def run(self):
        """Send everything; return the answer, None where the server hangs up without one."""
        try:
            return self.exchange()
        except (ConnectionError, BrokenPipeError):
            return None
        finally:
            self.socket.close()

    def exchange(self):
        self.socket.sendall(self.head() + (b"".join(self.frames()) if "early" in self.wire else b""))
        if not self.read_until(lambda: b"\r\n\r\n" in self.buffer, IMPATIENCE if self.may_be_ignored else PATIENCE):
            expect(self.hung_up or self.may_be_ignored, "no answer", self.buffer)
            return None
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        answer = Answer(head, rest)
        if answer.status == 101:
            self.buffer = rest
            self.talk(answer)
        else:
            self.read_until(lambda: False, 0.02)
            answer.rest = self.buffer.partition(b"\r\n\r\n")[2]
        return answer

    @property
    def may_be_ignored(self):
        """Whether what was sent is no whole request, or none for a server of sockets: it may wait for the rest."""
        headers = b"\n".join(name + b":" + value for name, value in self.case["headers"]).lower()
        unusual = re.search(rb"content-length|transfer-encoding|\n\n|\r|\0", headers)
        return bool(self.wire) or len(self.head()) > LONG or unusual is not None

    def talk(self, answer):
        if "early" not in self.wire:
            self.socket.sendall(b"".join(self.frames()))
        if self.case["end"] is None:
            # Gone without a word.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        self.socket.sendall(encode_frame(*close_frame(self.case["end"] % 65536)))
        # What comes before the handshake is answered, some lose.
        ruly = not {"frames", "early"} & set(self.wire)
        closed = self.read_until(lambda: self.close_code() is not None, PATIENCE if ruly else IMPATIENCE)
        expect(closed or self.hung_up or not ruly, "the server does not close", self.buffer[-200:])
        answer.rest, answer.code = self.buffer, self.close_code()

    def read_until(self, condition, seconds):
        """Read until something is there; return whether it is."""
        deadline = time.monotonic() + seconds
        self.hung_up = False
        while not condition():
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                return False
            except ConnectionError:
                data = b""
            if not data:
                self.hung_up = True
                return False
            self.buffer += data
        return True

    def close_code(self):
        """Return the code of the close frame among the frames that have come, None where there is none."""
        at = 0
        while len(self.buffer) >= at + 2:
            opcode, length = self.buffer[at] & 15, self.buffer[at + 1] & 127
            at += 2
            if length > 125:
                size = 2 if length == 126 else 8
                length = int.from_bytes(self.buffer[at:at + size], "big")
                at += size
            payload = self.buffer[at:at + length]
            at += length
            if opcode == 8 and len(self.buffer) >= at:
                return struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005
        return None

    def frames(self):
        """Return what is sent once the socket is open, or before."""
        if "frames" in self.wire:
            return self.wire["frames"]
        return [
            encode_frame(TEXT, message.encode("utf-8", "surrogatepass"))
            if isinstance(message, str)
            else encode_frame(BINARY, message)
            for message in self.case["messages"]
        ]

    def head(self):
        """Return the opening handshake."""
        wire = self.wire
        target = self.case["target"]
        if "line" not in wire:
            target = quote_from_bytes(target, safe="/?&=%:*;[]@,#'\"<>{}$!()+-._~\\").encode() or b"/"
        lines = [wire.get("method", b"GET") + b" " + target + b" " + wire.get("version", b"HTTP/1.1")]
        lines += [name + b": " + value for name, value in self.case["headers"]]
        lines += [
            b"Upgrade: " + wire.get("upgrade", b"websocket"),
            b"Connection: " + wire.get("connection", b"Upgrade"),
            b"Sec-WebSocket-Key: " + wire.get("key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            b"Sec-WebSocket-Version: " + wire.get("websocket version", b"13"),
        ]
        if self.case["subprotocols"]:
            lines.append(b"Sec-WebSocket-Protocol: " + ", ".join(self.case["subprotocols"]).encode("utf-8", "surrogatepass"))
        if "extensions" in wire:
            lines.append(b"Sec-WebSocket-Extensions: " + wire["extensions"])
        if "line" in wire:
            lines.append(wire["line"])
        return b"\r\n".join(lines) + b"\r\n\r\n"


__all__ = ["Failure", "Target"]
