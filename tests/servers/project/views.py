"""Views, each of which does one thing that the contract speaks of.

A view marked ``@journalled`` notes how it began and how it ended, under the ``key`` of its query.
"""

import asyncio
import functools

from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.template.response import TemplateResponse
from django.views import View

from pistoke.decorators import origin_exempt
from pistoke.exceptions import WebsocketDisconnect
from pistoke.protocol import WebsocketJSONProtocol, WebsocketProtocol, WebsocketSubprotocol
from pistoke.pubsub import apublish
from pistoke.views import WebsocketView

from .journal import note


def journalled(view):
    """Note the beginning and the end of a view."""

    @functools.wraps(view)
    async def wrapper(request):
        key, outcome = request.GET.get("key"), "returned"
        note("began", key=key)
        try:
            return await view(request)
        except BaseException as exc:
            outcome = type(exc).__name__
            raise
        finally:
            note("ended", key=key, outcome=outcome)

    return wrapper


# HTTP


def sign_in(request):
    """Log the user of the tests in; answer with what a client of a socket needs."""
    login(request, get_user_model().objects.get(username="aino"))
    return JsonResponse({"csrf": get_token(request)})


def socket_address(request):
    """Answer with the address that pages are given."""
    return JsonResponse({"websocket": request.websocket})


def no_icon(request):
    """Answer a browser that asks for the icon of the site."""
    return HttpResponse(status=204)


# Messages


async def echo(request):
    """Answer every message with itself."""
    async for message in request:
        await request.send(message)


@WebsocketJSONProtocol
async def json_echo(request):
    """Answer every object with its type and itself."""
    async for message in request:
        await request.send({"type": type(message).__name__, "value": message})


@WebsocketJSONProtocol("json.example")
async def json_subprotocol(request):
    """Name the subprotocol."""
    await request.send({"subprotocol": request.subprotocol})


@WebsocketSubprotocol("alpha", "beta")
async def subprotocols(request):
    """Name the subprotocol."""
    await request.send(str(request.subprotocol))


@WebsocketProtocol
async def no_subprotocol(request):
    """Name the subprotocol that there is none of."""
    await request.send(str(request.subprotocol))


@journalled
async def collect(request):
    """Read slowly; note what was read."""
    messages = [await request.receive()]
    await request.send("started")
    await asyncio.sleep(0.3)
    async for message in request:
        messages.append(message)
    note("collected", key=request.GET["key"], messages=messages)


async def two_readers(request):
    """Read in two tasks at a time, and answer with all that they read."""

    async def reader():
        return [await request.receive() for _ in range(5)]

    first, second = await asyncio.gather(reader(), reader())
    await request.send(",".join(sorted(first + second)))


async def two_writers(request):
    """Send from two tasks at a time."""
    await request.receive()

    async def writer(letter):
        for number in range(100):
            await request.send("{}{}".format(letter, number))

    await asyncio.gather(writer("a"), writer("b"))


async def polls_at_once(request):
    """Read with time-outs that are shorter than the pauses of the client; answer with all that was read."""
    messages = []
    while len(messages) < 100:
        reading = asyncio.ensure_future(request.receive())
        await asyncio.wait([reading], timeout=0.001)
        reading.cancel()
        try:
            messages.append(await reading)
        except WebsocketDisconnect:
            raise
        except asyncio.CancelledError:
            # Nothing was there in time.
            pass
    await request.send(",".join(messages))


@WebsocketProtocol
async def polls(request):
    """Do the same on a socket that is open already."""
    await polls_at_once(request)


@journalled
async def sends_much(request):
    """Send 32 MiB, and note each."""
    for number in range(32):
        for _ in range(16):
            await request.send(b"%02d" % number + b"x" * (2 ** 16 - 2))
        note("sent", key=request.GET["key"], number=number)


#: What views wait for until another socket says so, by key.
gates = {}


@journalled
async def reads_later(request):
    """Be busy until told to read, then read all that there is."""
    gate = gates[request.GET["key"]] = asyncio.Event()
    await gate.wait()
    async for _ in request:
        pass


async def opens_gate(request):
    """Let a view read."""
    gates[request.GET["key"]].set()


@journalled
async def flood(request):
    """Send for as long as there is somebody to send to."""
    while True:
        await request.send("x" * 1000)


@journalled
async def flood_after_reading(request):
    """Send for as long as there is somebody to send to, having read something."""
    await request.receive()
    while True:
        await request.send("x" * 1000)


# What a view knows of its request


async def facts(request):
    """Send what the view sees."""
    user = await request.auser()
    await request.receive()
    await request.send(facts_as_text(request, user))


def facts_as_text(request, user):
    """Return the facts as JSON."""
    return JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "query": request.GET.dict(),
            "cookies": request.COOKIES,
            "header": request.headers.get("X-Test"),
            "address": request.META["REMOTE_ADDR"],
            "user": user.get_username(),
            "user_attribute": request.user.get_username(),
            "session": request.session.get("_auth_user_id"),
            "view_name": request.resolver_match.view_name,
            "host": request.get_host(),
            "uri": request.build_absolute_uri(),
            "secure": request.is_secure(),
        }
    ).content.decode()


async def undecoded(request, word="none"):
    """Send what became of input that is no UTF-8."""
    await request.send("{!a} {!a} {!a}".format(word, request.GET.get("q"), sorted(request.COOKIES.items())))


@WebsocketJSONProtocol
async def extensions(request):
    """Send what the server says that it can do beyond the minimum."""
    await request.send(sorted(request.scope.get("extensions") or {}))


@WebsocketJSONProtocol
async def csrf(request):
    """Check tokens."""
    async for token in request:
        await request.send(request.check_csrf(token))


# Refusals: what is outside of the protocol answers before the socket is open


def answering(response):
    """Return a decorator that answers in place of the view."""
    return lambda view: functools.wraps(view)(lambda request: response(request))


def raising(exception):
    """Return a decorator that raises in place of the view."""

    def response(request):
        raise exception

    return answering(response)


def unauthorized(request):
    """Return a refusal with headers and a body."""
    response = HttpResponse("who are you?", status=401, content_type="text/plain")
    response["WWW-Authenticate"] = "Bearer"
    response.set_cookie("asked", "yes")
    return response


def with_two_cookies(request):
    """Return a refusal that has a header name twice."""
    response = unauthorized(request)
    response.set_cookie("told", "no")
    return response


@WebsocketProtocol
async def protected(request):
    """Greet; access to this is for others to control."""
    await request.send("welcome")


refusals = {
    "unauthorized": answering(unauthorized)(protected),
    "two-cookies": answering(with_two_cookies)(protected),
    "gone": answering(lambda request: HttpResponse("long ago", status=410))(protected),
    "redirected": answering(lambda request: HttpResponseRedirect("/elsewhere/"))(protected),
    "rendered": answering(lambda request: TemplateResponse(request, "refused.html", status=403))(protected),
    "forbidden": raising(PermissionDenied("no"))(protected),
    "missing": raising(Http404("no"))(protected),
    "suspicious": raising(SuspiciousOperation("no"))(protected),
    "broken": raising(ValueError("broken before the socket"))(protected),
    "members": login_required(protected),
}


class OnlyHttp(View):
    """A view that answers GET, and no sockets."""

    def get(self, request):
        """Answer."""
        return HttpResponse("over HTTP")


class Both(WebsocketView):
    """A class-based view without a protocol of its own, that answers both."""

    def get(self, request):
        """Answer over HTTP."""
        return HttpResponse("over HTTP")

    async def websocket(self, request):
        """Answer over a socket."""
        await request.send("over a socket")


# Ends


async def returns_at_once(request):
    """Do nothing."""


@WebsocketProtocol
async def returns_after_sending(request):
    """Send something and be done."""
    await request.send("bye")


@WebsocketProtocol
async def raises_in_protocol(request):
    """Fail at once, with the socket open."""
    raise ValueError("broken at once")


async def raises_after_message(request):
    """Fail once something was read."""
    await request.receive()
    raise ValueError("broken after a message")


async def raises_before_anything(request):
    """Fail before the automatic protocol has opened the socket."""
    raise ValueError("broken before anything")


async def denies_after_message(request):
    """Refuse once something was read."""
    await request.receive()
    raise PermissionDenied


async def answers(request):
    """Return a response of the status asked for, once something was read or (``now``) at once."""
    if "now" not in request.GET:
        await request.receive()
    response = HttpResponse("too late", status=int(request.GET["status"]))
    if response.status_code == 302:
        response["Location"] = "/elsewhere/"
    return response


async def sends_number(request):
    """Send what is no message."""
    await request.receive()
    await request.send(4711)


@journalled
async def sends_after_close(request):
    """Close, then try to send."""
    await request.close(4001, "done")
    try:
        await request.send("too late")
    except WebsocketDisconnect as exc:
        note("refused", key=request.GET["key"], kind=type(exc).__name__, code=exc.code)


async def closes(request):
    """Close with the code and reason of the query."""
    await request.receive()
    await request.close(int(request.GET["code"]), request.GET.get("reason", ""))


@journalled
async def reads(request):
    """Wait for messages, and note why there are no more."""
    try:
        while True:
            await request.receive()
    except WebsocketDisconnect as exc:
        note("left", key=request.GET["key"], code=exc.code, reason=exc.reason)
        raise


async def insists(request):
    """Go on, although the client has gone; note what that gives."""
    told = {"receiving": [], "sending": []}
    await request.receive()
    for _ in range(3):
        try:
            await request.receive()
        except WebsocketDisconnect as exc:
            told["receiving"].append(type(exc).__name__)
        try:
            await request.send("is anybody there")
        except WebsocketDisconnect as exc:
            told["sending"].append(type(exc).__name__)
    note("told", key=request.GET["key"], **told)


@journalled
async def sleeps(request):
    """Neither read nor send."""
    await asyncio.sleep(3600)


@journalled
async def sleeps_after_reading(request):
    """Read once, then sleep."""
    await request.receive()
    await asyncio.sleep(3600)


@WebsocketProtocol
@journalled
async def sleeps_in_protocol(request):
    """Neither read nor send, with a protocol of its own."""
    await asyncio.sleep(3600)


@WebsocketProtocol
async def room(request):
    """Say whether messages of others are sent at once; pass what arrives to everybody."""
    async with request.follow("room"):
        await request.send(str(request._socket.is_plain))
        async for message in request:
            await apublish("room", message)


@origin_exempt
async def for_everyone(request):
    """Greet pages of other sites too."""
    await request.send("welcome")
