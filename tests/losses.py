"""What is lost and what comes twice when processes and the engine die in the middle of a stream.

Two processes publish numbers, each again until it was accepted. Two processes follow: one lives through all of it, the
other is killed and comes back with the last position that it has seen. At a third of the stream a publisher is killed with
SIGKILL and replaced, at half of it a follower, then the engine is restarted, and then killed and started again.
"""
import collections
import threading
import time

from tests import brokers as kinds

#: How long a process may be silent before a stream is given up, in seconds.
PATIENCE = 30

Figures = collections.namedtuple("Figures", "published refused repeated followers seconds")
Follower = collections.namedtuple("Follower", "received lost twice disordered gaps")


class Voice(threading.Thread):
    """What a worker says, line by line."""

    #: All of them: whatever happens, none is left behind to publish for ever.
    processes = []

    def __init__(self, engine, *words):
        super().__init__(daemon=True)
        self.process = engine.worker(*words)
        self.processes.append(self.process)
        self.lines = []
        self.start()

    def run(self):
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.lines.append(line.split())

    def kill(self):
        """Kill the worker; return what it has said."""
        self.process.kill()
        return self.finish()

    def finish(self):
        """Wait until the worker ends; return what it has said."""
        self.process.wait(PATIENCE * 10)
        self.join(PATIENCE)
        self.process.stdout.close()
        self.process.stdin.close()
        return self.lines


class Publisher:
    """Numbers that are published by one process after another."""

    def __init__(self, engine, topic, first, count):
        self.engine, self.topic, self.first, self.end = engine, topic, first, first + count
        self.before = []
        self.voice = Voice(engine, "insist", topic, first, count)

    @property
    def said(self):
        """Numbers that were accepted, and how often each was tried."""
        return self.before + self.voice.lines

    def replace(self):
        """Kill the process, and have another one go on after what was accepted."""
        self.before += self.voice.kill()
        # It may not have got to say anything.
        first = int(self.before[-1][0]) + 1 if self.before else self.first
        self.voice = Voice(self.engine, "insist", self.topic, first, self.end - first)


class Following:
    """Messages that are followed by one process after another."""

    def __init__(self, engine, topic):
        self.engine, self.topic = engine, topic
        self.before = []
        self.voice = Voice(engine, "follow", topic, "")
        kinds.eventually(lambda: self.voice.lines, PATIENCE)

    @property
    def heard(self):
        """Positions and numbers, and gaps."""
        return [words for words in self.before + self.voice.lines if words[0] != "ready"]

    @property
    def last(self):
        """The last position, as a client would keep it."""
        return [words[0] for words in self.before if len(words) == 2 and words[0] != "ready"][-1]

    def replace(self):
        """Kill the process; another one comes back with the last position."""
        self.before += self.voice.kill()
        self.voice = Voice(self.engine, "follow", self.topic, self.last)
        kinds.eventually(lambda: self.voice.lines, PATIENCE)
        self.before += [] if self.voice.lines[0][1] == "True" else [["gap"]]


def measure(engine, total, topic="kept.losses"):
    """Return what came of ``total`` numbers published on an engine that is running."""
    try:
        return _measure(engine, total, topic)
    finally:
        while Voice.processes:
            process = Voice.processes.pop()
            process.kill()
            process.wait(PATIENCE)


def _measure(engine, total, topic):
    began = time.monotonic()
    following = [Following(engine, topic), Following(engine, topic)]
    half = total // 2
    publishers = [Publisher(engine, topic, 0, half), Publisher(engine, topic, half, total - half)]

    def published(part):
        kinds.eventually(lambda: sum(len(publisher.said) for publisher in publishers) >= total * part, PATIENCE * 20)

    published(0.3)
    publishers[0].replace()
    published(0.5)
    following[1].replace()
    published(0.6)
    engine.service.restart()
    published(0.8)
    engine.crash()
    engine.service.start()
    accepted = [words for publisher in publishers for words in publisher.before + publisher.voice.finish()]
    numbers = {int(number) for number, _ in accepted}
    for one in following:
        wait_until_silent(one, numbers, engine.survives_crash)
        one.voice.kill()
    return Figures(
        published=len(numbers),
        refused=sum(int(attempts) - 1 for _, attempts in accepted),
        repeated=max(repeated(one.heard) for one in following),
        followers=[judged(one.heard, numbers) for one in following],
        seconds=time.monotonic() - began,
    )


def wait_until_silent(one, numbers, survives_crash):
    """Wait for what has to come at last, all numbers or word of a gap, and then until nothing has come for a while."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        heard = {words[-1] for words in one.heard}
        if numbers <= {int(word) for word in heard - {"gap"}} if survives_crash else "gap" in heard:
            break
        time.sleep(0.05)
    count, since = -1, time.monotonic()
    while time.monotonic() - since < 0.3:
        if len(one.voice.lines) != count:
            count, since = len(one.voice.lines), time.monotonic()
        time.sleep(0.05)


def repeated(heard):
    """Return how many numbers stand at two positions: their publisher did not learn that the first was accepted."""
    numbers = collections.Counter(number for number in {tuple(words) for words in heard if len(words) == 2})
    return len(numbers) - len({number for _, number in numbers})


def judged(heard, published):
    """Return what became of a follower."""
    messages = [words for words in heard if len(words) == 2]
    places = [position for position, _ in messages]
    numbers = [int(number) for _, number in messages]
    # Each publisher has its half of the numbers; one that was tried again may stand twice.
    halves = [[n for n in numbers if (n < len(published) / 2) is first] for first in (True, False)]
    return Follower(
        received=len(messages),
        lost=len(published - set(numbers)),
        twice=len(places) - len(set(places)),
        disordered=sum(after < before for half in halves for before, after in zip(half, half[1:])),
        gaps=len(heard) - len(messages),
    )
