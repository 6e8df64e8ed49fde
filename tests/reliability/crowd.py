"""Many clients at once."""

import json
import os
import resource
import selectors
import threading

from tests.servers.clients import PATIENCE, Bare

#: How many sockets a crowd has. `make reliability` asks for more, and then there is time for everything.
SIZE = int(os.environ.get("PISTOKE_SOCKETS", 100))
THOROUGH = SIZE >= 500
#: How many may knock at a time: more than a server listens to are dropped, and knock again after a second.
KNOCKING = 50


class Crowd:
    """Sockets to the given paths of one server."""

    def __init__(self, address, paths):
        allow_files(3 * len(paths))
        self.clients = []
        try:
            for start in range(0, len(paths), KNOCKING):
                self._arrive(address, paths[start:start + KNOCKING])
        except BaseException:
            self.leave()
            raise

    def _arrive(self, address, paths):
        arriving = []
        for path in paths:
            arriving.append(Bare(address, path, wait=False))
            self.clients.append(arriving[-1])
        for client in arriving:
            client.finish_handshake()

    def __len__(self):
        return len(self.clients)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.leave()

    def say(self, message):
        """Send a message from each."""
        for client in self.clients:
            client.send(message)

    def order(self, do, each=({},), **details):
        """Let each socket do something at the same time; ``each`` has more details, for one after the other in turn."""
        for number, client in enumerate(self.clients):
            client.send(json.dumps(dict(details, do=do, **each[number % len(each)])))

    def ask_one(self, do, **details):
        """Return the result of what the first was told to do."""
        return json.loads(self.clients[0].exchange(json.dumps(dict(details, do=do))))["result"]

    def answer(self, number):
        """Return what one of them has to say."""
        return json.loads(self.clients[number].receive())

    def answers(self):
        """Return what each has to say."""
        return [self.answer(number) for number in range(len(self.clients))]

    def ask(self, do, **details):
        """Return the results of what each was told to do; an error fails the test."""
        self.order(do, **details)
        answers = self.answers()
        assert [answer for answer in answers if "result" not in answer] == []
        return [answer["result"] for answer in answers]

    def wait(self):
        """Wait until one of them has something to say."""
        with selectors.DefaultSelector() as selector:
            for client in self.clients:
                selector.register(client.socket, selectors.EVENT_READ)
            assert selector.select(PATIENCE)

    def codes(self):
        """Wait until the server has closed each; return the codes."""
        codes = []
        for client in self.clients:
            try:
                codes.append(client.close_code())
            except OSError as exc:
                codes.append(type(exc).__name__)
            client.leave()
        return codes

    def vanish(self):
        """Be gone without a word."""
        for client in self.clients:
            client.vanish()

    def leave(self):
        """Be gone."""
        for client in self.clients:
            client.leave()


class Watch(threading.Thread):
    """Looks at a number for as long as the block lasts, and remembers the largest."""

    def __init__(self, look):
        super().__init__()
        self.look = look
        self.most = 0
        self.over = threading.Event()

    def run(self):
        """Look."""
        while not self.over.wait(0.002):
            self.most = max(self.most, self.look())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.over.set()
        self.join()


def allow_files(number):
    """Let this process, and those that it starts, have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number if hard < 0 else min(number, hard), hard))


