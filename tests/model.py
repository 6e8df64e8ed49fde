"""What a socket is to look like from both of its ends: a second, much smaller implementation of the contract.

It knows no event loop, no task and no server. A view is a list of steps, a client a list of what happens when, and from the
two follows what the view reads and when it ends, what the client sees and what is logged. No two things that do not follow
from one another happen at the same moment, so there is one right answer.
"""
import collections
import json

#: What a run is made of. ``client``: events; ``view``: (step, argument); ``swallows``: how many times the view goes on where
#: it is told that its client has gone, or cancelled; ``helper``: what a task that the view starts does meanwhile, or None;
#: ``loss``: whether sends to a client that has left raise, or go nowhere.
Plan = collections.namedtuple("Plan", "protocol offered client view swallows helper loss")

#: Something that the client does, or that happens to it, at a time in seconds: "say" a message, be "slow" to read for so
#: many seconds, leave with a "close" code, "vanish", have its server "shut down"; or its server cancels the application.
Event = collections.namedtuple("Event", "time kind value")

#: What a view does, and what is seen of it.
Outcome = collections.namedtuple("Outcome", "journal ended said accepted refused code logs")

#: The codes that the view is told of a client that leaves without one.
LEAVING = {"close": None, "vanish": 1006, "shut down": 1012}

#: The settings in force, see ``pistoke.conf``. Sixteenths of a second, so that no grace ends when something else happens.
GRACE, SHUTDOWN_GRACE = 10.0625, 1.0625
INBOUND_MESSAGES = 4
MAX_MESSAGE_SIZE = 32

#: The protocols of the views: whether messages are JSON, and which subprotocols are supported.
PROTOCOLS = {
    "automatic": (False, ()),
    "class": (False, ()),
    "plain": (False, ()),
    "JSON": (True, ()),
    "JSON messages": (True, ()),
    "subprotocol": (False, ("a", "b")),
    "JSON subprotocol": (True, ("a", "b")),
}
#: Those that open the socket only when the view does something with it, or waits.
AUTOMATIC = ("automatic", "class", "JSON messages")


class Over(BaseException):
    """The view is told that there is nothing more to read, or nobody to send to; ``args`` has the code."""


class Cancelled(Over):
    """The view is cancelled."""


class Refused(Exception):
    """The two sides have no subprotocol in common."""


class End(Exception):
    """The view ends: ``args`` has the close code and how many lines are logged."""


class Model:
    """One run of a plan, step by step."""

    def __init__(self, plan):
        self.plan = plan
        self.now = 0.0
        self.is_json, supported = PROTOCOLS[plan.protocol]
        self.subprotocol = next((name for name in plan.offered if name in supported), None)
        self.mismatch = self.subprotocol is None and bool(plan.offered or supported)
        self.inbox = [event for event in plan.client if event.kind == "say" or event.kind in LEAVING]
        self.leaves = self.inbox[-1].time
        self.slow = [(event.time, event.time + event.value) for event in plan.client if event.kind == "slow"]
        self.server_cancels = min([event.time for event in plan.client if event.kind == "cancel"] + [float("inf")])
        # How many events have been read by the view, and how many by anybody.
        self.position = self.taken = 0
        self.accepted = self.refused = self.seen_refusal = self.has_read = False
        # Whether the view was told that there is nobody to send to: what it has not read yet it may answer until then.
        self.told = False
        # The code that the socket is over with, as far as is known here; and when it was closed from here.
        self.over, self.closed = None, float("inf")
        # The moments at which the view will be cancelled, and logged.
        self.cancellations, self.warned = [], float("inf")
        self.began_to_wait = None
        # Whether something happens of which the contract does not say how it ends.
        self.vague = False
        self.journal, self.said, self.seen_code, self.logs = [], [], None, 0

    def run(self):
        """Return the outcome."""
        code = 1000
        entered = self.plan.protocol in AUTOMATIC or self.open()
        if entered:
            try:
                self.view()
            except End as end:
                code, logs = end.args
                self.logs += logs
            except Refused:
                self.logs += 1
            except Cancelled as exc:
                code = 1012 if exc.args == ("server",) else None
            except Over:
                # Whoever cannot send has noticed what the server may not have told yet.
                code = 1011
        else:
            self.logs += 1
        ended = self.now
        self.logs += self.warned < ended
        if self.over is None and code is not None and not self.refused:
            self.close(code)
        ticks = self.ticks(ended) if entered else 0
        accepted = self.accepted and (self.subprotocol,)
        ended = ended if entered else None
        return Outcome(self.journal, ended, (self.said, ticks), accepted, self.seen_refusal, self.seen_code, self.logs)

    def view(self):
        """Run the view, and whatever it has started."""
        try:
            self.take_steps()
        finally:
            if self.plan.helper == "reader":
                self.vague = self.vague or self.says_between(self.closed, self.now)
            if self.plan.helper:
                # It is ended, and waited for.
                self.begin_to_wait()

    def take_steps(self):
        swallows = self.plan.swallows
        for step, argument in self.plan.view:
            try:
                getattr(self, step)(argument)
            except Over as exc:
                code = None if isinstance(exc, Cancelled) or step == "poll" else exc.args[0]
                self.note("interrupted", code)
                if not swallows:
                    raise
                swallows -= 1

    def says_between(self, began, ended):
        """Return whether there is anything to read that was said by a time, once another has come."""
        return began <= ended and any(event.time <= ended for event in self.inbox[self.position:])

    def note(self, kind, value=None):
        self.journal.append((self.now, kind, value))

    # The socket

    def open(self):
        """Open the socket where it is not; return whether it is open."""
        if not self.accepted and not self.refused:
            self.refused, self.accepted = self.mismatch, not self.mismatch
            self.seen_refusal = self.refused and self.now < self.leaves
        return self.accepted

    @property
    def is_slow(self):
        return any(began <= self.now < ended for began, ended in self.slow)

    def transmit(self):
        """Wait until there is room for more."""
        if self.is_slow:
            self.wait(next(ended for _, ended in self.slow if ended > self.now))

    def close(self, code):
        """Close the socket."""
        self.open()
        self.over, self.closed, self.told = code, min(self.closed, self.now), True
        self.cancel_later(self.now)
        if self.now < self.leaves:
            self.seen_code = code if self.accepted else None
            self.transmit()

    def view_closes(self, code):
        """Close the socket, while the view goes on."""
        # Whether a grace begins before or after a close that a slow client holds up is not said.
        self.vague = self.vague or self.is_slow
        self.close(code)

    def learn(self, event):
        """Learn that the client has left."""
        if self.over is None:
            self.over = event.value if event.kind == "close" else LEAVING[event.kind]
            self.cancel_later(max(self.now, event.time), at_once=not self.has_read)

    def cancel_later(self, now, at_once=False):
        """A view that reads has a grace; one that swallows its cancellation has another."""
        if not self.cancellations:
            grace = SHUTDOWN_GRACE if self.over == 1012 else GRACE
            first = now if at_once else now + grace
            self.cancellations = [first, first + grace]
            self.warned = first + 2 * grace

    # Waiting

    def begin_to_wait(self):
        """A view that waits for something else has its socket opened, if it can be."""
        if self.began_to_wait is None:
            self.began_to_wait = self.now
        if not (self.plan.offered or self.mismatch):
            self.open()

    def wait(self, until):
        """Wait for something else than a message."""
        self.begin_to_wait()
        self.take(min(until, self.server_cancels))
        self.pass_time(until)

    def pass_time(self, until):
        """Let time pass; raise where the view is cancelled meanwhile."""
        if self.cancellations and self.cancellations[0] <= min(until, self.server_cancels):
            self.now = max(self.now, self.cancellations[0])
            self.cancellations[0:1] = []
            self.cancellations = self.cancellations or [float("inf")]
            raise Cancelled(None)
        if self.server_cancels <= until:
            self.now, self.server_cancels = self.server_cancels, float("inf")
            raise Cancelled("server")
        self.now = until

    def take(self, until):
        """Somebody reads meanwhile, as much as there is room for: so its leaving is noticed."""
        while self.over is None and self.taken < len(self.inbox) and self.inbox[self.taken].time <= until:
            if self.plan.helper == "reader":
                self.helper_reads()
                continue
            if self.taken - self.position >= INBOUND_MESSAGES:
                return
            self.taken += 1
            if self.inbox[self.taken - 1].kind != "say":
                self.learn(self.inbox[self.taken - 1])

    # The steps of a view

    def read(self, argument=None):
        """Receive a message."""
        self.must_open()
        self.has_read = True
        # Whether a view that has closed the socket reads what the client says all the same is not said either.
        self.vague = self.vague or self.says_between(self.closed, self.now)
        if self.over is None and self.position == self.taken:
            self.begin_to_wait()
            self.pass_time(max(self.now, self.inbox[self.position].time))
        elif self.position == self.taken or self.inbox[self.position].kind != "say":
            self.told = True
            raise Over(self.over)
        event = self.inbox[self.position]
        self.position += 1
        self.taken = max(self.taken, self.position)
        if event.kind != "say":
            self.learn(event)
            self.told = True
            raise Over(self.over)
        self.note("read", self.decoded(event.value))

    def poll(self, seconds):
        """Receive a message, if there is one within so many seconds."""
        self.must_open()
        nothing = self.over is None and self.position == self.taken
        if nothing and self.inbox[self.position].time > self.now + seconds:
            self.has_read = True
            self.begin_to_wait()
            self.pass_time(self.now + seconds)
        else:
            self.read()
            # Until Python 3.12 a time-out is a turn of the event loop, in which somebody else can read on.
            self.vague = self.vague or (self.taken < len(self.inbox) and self.inbox[self.taken].time <= self.now)

    def drain(self, argument=None):
        """Receive until there is nothing more."""
        try:
            while True:
                self.read()
        except Cancelled:
            raise
        except Over:
            self.note("drained")

    def decoded(self, message):
        """Return what the view reads of a message; close the socket where that is nothing."""
        size = len(message if isinstance(message, bytes) else message.encode())
        if size > MAX_MESSAGE_SIZE:
            self.reject(1009)
        try:
            return json.loads(message) if self.is_json else message
        except ValueError:
            return self.reject(1007)

    def reject(self, code):
        if self.over is None:
            self.view_closes(code)
        raise Over(code)

    def must_open(self):
        if not self.accepted and self.over is None and not self.open():
            raise Refused

    def send(self, message):
        """Send a message."""
        self.must_open()
        if self.told or not self.accepted:
            raise Over(1006 if self.over is None else self.over)
        if self.now < self.leaves:
            self.said.append(message)
            self.transmit()
        elif self.plan.loss == "raises":
            self.told = True
            raise Over(1006 if self.over is None else self.over)

    def sleep(self, seconds):
        """Wait for nothing."""
        self.wait(self.now + seconds)

    def shut(self, code):
        """Close the socket."""
        if self.over is None:
            self.view_closes(code)
            if self.plan.loss == "raises" and self.now > self.leaves:
                raise Over(code)

    def answer(self, status):
        raise End(1000 if status < 300 else 4403 if status < 400 else 4000 + status, int(status >= 400))

    def deny(self, argument):
        raise End(4403, 1)

    def fail(self, argument):
        raise End(1011, 1)

    # What a task does that the view has started

    def helper_reads(self):
        """Another task reads everything as it comes."""
        now, self.now = self.now, max(self.now, self.inbox[self.taken].time)
        self.has_read = True
        try:
            self.read()
        except Over:
            pass
        self.now = now

    def ticks(self, ended):
        """Return how many messages the helper sends, one a second, the first after half of one."""
        if self.plan.helper != "ticker" or self.began_to_wait is None:
            return 0
        end = min(ended, self.leaves, self.closed)
        return sum(self.began_to_wait + 0.5 + number < end for number in range(int(end) + 1))


def readable(plan):
    """Return what a view can read of what the client says, and the codes with which the rest is rejected."""
    model, messages, codes = Model(plan), [], set()
    # Nothing is closed, only looked at.
    model.over = 1000
    for event in plan.client:
        if event.kind == "say":
            try:
                messages.append(model.decoded(event.value))
            except Over as exc:
                codes.update(exc.args)
    return messages, codes


def codes(plan):
    """Return the codes with which a run may end, whoever is faster."""
    found = {None, 1000}
    for step, argument in plan.view:
        if step == "shut":
            found.add(argument)
        elif step in ("answer", "deny", "fail"):
            try:
                getattr(Model(plan), step)(argument)
            except End as end:
                found.add(end.args[0])
    return found.union({1012} if any(event.kind == "cancel" for event in plan.client) else ())
