"""A WebSocket client that costs next to nothing: frames made beforehand, masked with zeros, and bytes that are counted.

What the other end computes is measured; so this end must keep up with anything that is written in Python. Nothing is
parsed but the first answer, and what follows an answer is done in the callback that brought it, without a task switch.
"""

import asyncio
import itertools
import socket
import sys

#: The example of RFC 6455. It is always the same one, so that the server written in C knows its answer by heart.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, CLOSE = 1, 8
NEVER = sys.maxsize
#: Linux takes the port when the socket is connected, so that each source address has all the ports there are.
IP_BIND_ADDRESS_NO_PORT = 24
SOURCES = itertools.cycle(f"127.0.0.{number}" for number in range(1, 9))

REQUEST = (
    "GET {path} HTTP/1.1\r\n"
    "Host: 127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: " + KEY + "\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Origin: http://127.0.0.1:{port}\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: */*\r\n"
    "Accept-Language: en,fi;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Cache-Control: no-cache\r\n"
    "Pragma: no-cache\r\n"
    "{cookie}\r\n"
)


def frame(payload, opcode=TEXT):
    """Return a frame of a client, masked with zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload


def answer_size(size):
    """Return how many bytes a frame of a server has, for a payload of so many."""
    return size + (2 if size < 126 else 4)


CLOSE_FRAME = frame((1000).to_bytes(2, "big"), CLOSE)


class Countdown:
    """Something to await until it has been called so many times."""

    def __init__(self, count):
        self.count = count
        self.future = asyncio.get_running_loop().create_future()

    def __call__(self):
        self.count -= 1
        if not self.count and not self.future.done():
            self.future.set_result(None)

    def fail(self, exc):
        """Raise where it is awaited."""
        if not self.future.done():
            self.future.set_exception(exc)

    def __await__(self):
        return self.future.__await__()


class Client(asyncio.Protocol):
    """One connection."""

    transport = None

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.opened, self.lost = loop.create_future(), loop.create_future()
        self.resumed = None  # a future while the server reads too slowly
        self.head = b""  # None once the handshake is over
        self.tail = b""  # what arrived last
        self.received, self.wanted = 0, NEVER  # bytes
        self.frame, self.times = b"", 0  # what to send after each answer, and how often
        self.then = None  # a Countdown, called after the last answer

    def connection_made(self, transport):
        """Remember the transport."""
        self.transport = transport

    def data_received(self, data):
        """Count the bytes; act when there are enough of them."""
        if self.head is not None:
            data = self.shake_hands(data)
        if data:
            self.tail = data
            self.received += len(data)
            if self.received >= self.wanted:
                self.answered()

    def shake_hands(self, data):
        """Take the answer to the handshake; return what follows it."""
        self.head += data
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if not end:
            return b""
        self.head = None
        if not self.opened.done():
            if head.startswith(b"HTTP/1.1 101 "):
                self.opened.set_result(self)
            else:
                self.opened.set_exception(ConnectionError(f"expected status 101, got {head.splitlines()[0]!r}"))
        return rest

    def answered(self):
        """Send the next message, or say that this was the last."""
        self.received -= self.wanted
        if self.times:
            self.times -= 1
            self.transport.write(self.frame)
        else:
            then, self.then, self.wanted = self.then, None, NEVER
            then()

    def expect(self, size, then):
        """Call ``then`` when so many bytes have arrived."""
        self.wanted, self.then = size, then
        if self.received >= size:
            self.answered()

    def exchange(self, message, size, times, then):
        """Send a frame and await so many bytes, so many times over; then call ``then``."""
        self.frame, self.times = message, times - 1
        self.transport.write(message)
        self.expect(size, then)

    def pause_writing(self):
        """Wait for a server that reads too slowly."""
        self.resumed = asyncio.get_running_loop().create_future()

    def resume_writing(self):
        """Go on."""
        self.resumed.set_result(None)
        self.resumed = None

    def connection_lost(self, exc):
        """Tell whoever waits."""
        gone = ConnectionError(f"the server hung up: {exc or 'end of file'}")
        if not self.opened.done():
            self.opened.set_exception(gone)
        if self.resumed is not None:
            self.resume_writing()
        if self.then is not None:
            self.then.fail(gone)
        if not self.lost.done():
            self.lost.set_result(None)


async def connect(port, path, cookie=""):
    """Open a connection and return it; raise ConnectionError where the server refuses."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((next(SOURCES), 0))
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    transport, client = await loop.create_connection(Client, sock=sock)
    cookie = f"Cookie: sessionid={cookie}\r\n" if cookie else ""
    transport.write(REQUEST.format(path=path, port=port, cookie=cookie).encode())
    return await client.opened


async def connect_many(port, path, count, together=50):
    """Return so many open connections, opened a few at once."""
    clients = []
    while len(clients) < count:
        batch = min(together, count - len(clients))
        clients += await asyncio.gather(*(connect(port, path) for _ in range(batch)))
    return clients


async def disconnect_many(clients, patience=3):
    """Close connections properly; after so many seconds, anyhow."""
    for client in clients:
        client.transport.write(CLOSE_FRAME)
    if clients:
        await asyncio.wait([client.lost for client in clients], timeout=patience)
    for client in clients:
        client.transport.abort()
