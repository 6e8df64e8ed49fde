"""Clients of sockets: a library that people use, and a bare socket for what a library would hide or refuse to do.

Both are synchronous and look the same: ``send``, ``receive``, ``close``; ``receive`` raises :class:`Closed`.
"""

import asyncio
import base64
import collections
import inspect
import os
import socket
import struct

import websockets

PATIENCE = 15


class Closed(Exception):
    """The server has closed the socket; the arguments are the code and the reason."""


class Refused(Exception):
    """The server has refused the handshake."""

    def __init__(self, status, headers=(), body=None):
        super().__init__(status, headers, body)
        self.status = status
        self.headers = headers
        self.body = body


class Client:
    """What both clients have."""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.leave()

    def exchange(self, message):
        """Send a message and return the next."""
        self.send(message)
        return self.receive()

    def end_after(self, message):
        """Send a message, unless the server has closed already; return the code that it closes with."""
        try:
            self.send(message)
        except (Closed, OSError):
            pass
        return self.close_code()

    def wait_closed(self):
        """Return the code and reason that the server closes with, whatever comes before."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return closed.args

    def close_code(self):
        """Return the code that the server closes with, whatever comes before."""
        return self.wait_closed()[0]


class Library(Client):
    """The client of the ``websockets`` package, 9.1 or later."""

    def __init__(self, address, path, headers=(), origin=None, subprotocols=None):
        self.loop = asyncio.new_event_loop()
        try:
            self.websocket = self._run(connect("ws://{}{}".format(address, path), headers, origin, subprotocols))
        except BaseException:
            self.loop.close()
            raise

    def _run(self, coroutine, patience=PATIENCE):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, patience))

    @property
    def subprotocol(self):
        """The subprotocol that the server chose."""
        return self.websocket.subprotocol

    def send(self, message):
        """Send a message."""
        self._run(self._sent(self.websocket.send(message)))

    async def _sent(self, sending):
        await self._translate(sending)

    def receive(self, patience=PATIENCE):
        """Return the next message."""
        return self._run(self._translate(self.websocket.recv()), patience)

    async def _translate(self, operation):
        try:
            return await operation
        except websockets.exceptions.ConnectionClosed:
            raise Closed(self.websocket.close_code, self.websocket.close_reason) from None

    def close(self, code=1000, reason=""):
        """Close the socket, and wait until the server has."""
        self._run(self.websocket.close(code=code, reason=reason))

    def leave(self):
        """Be gone."""
        try:
            self.close()
        finally:
            self._run(asyncio.sleep(0))
            self.loop.close()


async def connect(uri, headers, origin, subprotocols):
    """Open a socket."""
    parameters = inspect.signature(websockets.connect.__init__).parameters
    options = {"additional_headers" if "additional_headers" in parameters else "extra_headers": list(headers)}
    if "proxy" in parameters:
        # An environment that names a proxy does not mean it for loopback.
        options["proxy"] = None
    try:
        return await websockets.connect(
            uri, origin=origin, subprotocols=subprotocols, max_size=None, close_timeout=PATIENCE, **options
        )
    except websockets.exceptions.InvalidHandshake as exc:
        status = getattr(exc, "status_code", None) or exc.response.status_code
        raise Refused(status) from None


#: What is on the wire, RFC 6455 section 5.2.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FINAL, COMPRESSED, MASKED = 0x80, 0x40, 0x80

Frame = collections.namedtuple("Frame", "opcode payload")


class Bare(Client):
    """A socket, a handshake and frames."""

    def __init__(
        self, address, path, headers=(), origin=None, subprotocols=None, host=None, tls=None, behind=b"", wait=True
    ):
        """Open a socket.

        host: what the ``Host`` header says, if not the address. tls: an ``ssl.SSLContext``. behind: bytes that are sent with
        the handshake, without waiting for the answer. wait: whether to wait for it at all.
        """
        name, port = address.split(":")
        self.buffer = b""
        self.socket = socket.create_connection((name, int(port)), PATIENCE)
        try:
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket)
            self.socket.sendall(handshake(host or address, path, headers, origin, subprotocols) + behind)
            if wait:
                self.finish_handshake()
        except BaseException:
            self.socket.close()
            raise

    def finish_handshake(self):
        """Read the answer to the handshake; raise Refused for one other than 101."""
        while b"\r\n\r\n" not in self.buffer:
            self._read_more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":")[::2] for line in lines[1:]]
        self.headers = [(name.lower(), value.strip()) for name, value in pairs]
        status = int(lines[0].split()[1])
        if status != 101:
            raise Refused(status, self.headers, self._body(dict(self.headers)))

    def _body(self, headers):
        if "content-length" in headers:
            self._read(int(headers["content-length"]))
        elif "chunked" in headers.get("transfer-encoding", ""):
            while not self.buffer.endswith(b"0\r\n\r\n"):
                self._read_more()
        return self.buffer

    def _read_more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed(1006, "")
        self.buffer += data

    def _read(self, count):
        while len(self.buffer) < count:
            self._read_more()
        return self.buffer[:count]

    def _take(self, count):
        data = self._read(count)
        self.buffer = self.buffer[count:]
        return data

    def send(self, message):
        """Send a message."""
        if isinstance(message, str):
            self.send_frames(Frame(TEXT, message.encode()))
        else:
            self.send_frames(Frame(BINARY, message))

    def send_frames(self, *frames):
        """Send frames in one go."""
        self.socket.sendall(encode_frames(*frames))

    def receive(self):
        """Return the next message."""
        while True:
            frame = self.receive_frame()
            if frame.opcode == CLOSE:
                code = struct.unpack("!H", frame.payload[:2])[0] if frame.payload else 1005
                raise Closed(code, frame.payload[2:].decode())
            if frame.opcode == TEXT:
                return frame.payload.decode()
            if frame.opcode == BINARY:
                return frame.payload

    def end_with_frame(self, data):
        """Send the bytes of a frame, unless the server has closed already; return the code that it closes with."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass
        return self.close_code()

    def receive_frame(self):
        """Return the next frame."""
        opcode, length = self._take(2)
        if length == 126:
            length = struct.unpack("!H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._take(8))[0]
        return Frame(opcode & 15, self._take(length))

    def close(self, code=1000, reason=""):
        """Send a close frame."""
        self.send_frames(close_frame(code, reason))

    def vanish(self):
        """Be gone without a word, as when a cable is pulled: the server hears RST at best."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def hang_up(self):
        """Be gone without a close frame."""
        self.socket.close()

    def leave(self):
        """Be gone."""
        try:
            self.close()
        except OSError:
            pass
        self.socket.close()


def handshake(address, path, headers, origin, subprotocols):
    """Return the bytes of an opening handshake, RFC 6455 section 4.1."""
    path = path if isinstance(path, bytes) else path.encode("ascii")
    lines = [b"GET " + path + b" HTTP/1.1", b"Host: " + address.encode(), b"Upgrade: websocket", b"Connection: Upgrade"]
    lines += [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16))]
    lines += [encode_header(name, value) for name, value in headers]
    lines += [encode_header("Origin", origin)] if origin is not None else []
    lines += [encode_header("Sec-WebSocket-Protocol", ", ".join(subprotocols))] if subprotocols else []
    return b"\r\n".join(lines) + b"\r\n\r\n"


def encode_header(name, value):
    """Return a header line; a value of bytes is sent as it is."""
    return name.encode("ascii") + b": " + (value if isinstance(value, bytes) else value.encode("latin-1"))


def close_frame(code, reason=""):
    """Return the frame that closes a socket."""
    return Frame(CLOSE, struct.pack("!H", code) + reason.encode())


def encode_frames(*frames):
    """Return the bytes of frames."""
    return b"".join(encode_frame(*frame) for frame in frames)


def encode_frame(opcode, payload, first_bits=FINAL):
    """Return the bytes of a frame, masked with nothing: what a client's frames have to be, RFC 6455 section 5.3.

    first_bits: what comes before the opcode in the first byte.
    """
    first = first_bits | opcode
    if len(payload) < 126:
        head = struct.pack("!BB", first, MASKED | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, MASKED | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, MASKED | 127, len(payload))
    return head + b"\0\0\0\0" + payload
