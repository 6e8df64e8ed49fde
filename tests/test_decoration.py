"""Decorated views: who awaits what, what a placeholder stands for, and what runs without a thread."""
import asyncio
import functools
import threading

import pytest
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from pistoke._compat import iscoroutinefunction
from pistoke.decoration import (
    DecoratedView,
    PlaceholderResponse,
    SocketResponse,
    ViewDecorator,
    begin,
    call_view,
    find_request,
    is_plain_dispatch,
    returns_at_once,
)
from pistoke.decorators import json_messages
from pistoke.protocol import WebsocketProtocol
from pistoke.request import WebsocketRequest
from pistoke.socket import Socket
from pistoke.views import WebsocketView

from .asgi import Server
from .faults import turns


async def view(request):
    return "seen"


def websocket():
    """Return the request of a socket."""
    server = Server()
    return WebsocketRequest(server.scope, Socket(server.receive, server.send))


class noted(ViewDecorator):
    """Notes what it is around of."""

    def __init__(self, note="bare"):
        self.note = note

    async def session(self, view, request, args, kwargs):
        request.notes = getattr(request, "notes", []) + [self.note]
        return await call_view(view, *args, **kwargs)


# Placeholders


def test_a_placeholder_is_made_of_nothing_until_it_is_looked_at():
    assert vars(PlaceholderResponse()) == {}
    assert PlaceholderResponse().status_code == 200


def test_a_placeholder_takes_headers_and_cookies():
    response = PlaceholderResponse()
    response["X-Header"] = "value"
    response.set_cookie("name", "value")
    assert response["x-header"] == "value" and response.has_header("X-Header")
    assert response.cookies["name"].value == "value"
    del response["X-Header"]
    assert not response.has_header("X-Header")


def test_a_placeholder_takes_content():
    response = PlaceholderResponse()
    response.content = b"abc"
    response.write(b"d")
    assert response.content == b"abcd"


def test_a_placeholder_keeps_what_was_set_before_it_was_looked_at():
    response = PlaceholderResponse()
    response.status_code = 403
    response.mine = "kept"
    assert response.reason_phrase == "Forbidden" and response.mine == "kept"
    assert not response.closed and response.status_code == 403


def test_a_placeholder_has_no_other_attributes():
    response = PlaceholderResponse()
    with pytest.raises(AttributeError, match="^'PlaceholderResponse' object has no attribute 'nothing'$"):
        response.nothing
    with pytest.raises(AttributeError):
        PlaceholderResponse().__nothing__
    assert not hasattr(PlaceholderResponse(), "render")


def test_a_placeholder_is_a_response():
    assert isinstance(PlaceholderResponse(), HttpResponse)
    assert b"".join(PlaceholderResponse()) == b"" and repr(PlaceholderResponse())


# Decorated views


async def test_a_decorated_view_answers_a_socket_with_an_awaitable_response():
    response = noted(view)(websocket())
    assert isinstance(response, SocketResponse) and isinstance(response, HttpResponse)
    response["X-Header"] = "value"
    assert await response == "seen"


async def test_a_response_comes_to_itself_where_the_view_answers_nothing():
    async def silent(request):
        pass

    response = noted(silent)(websocket())
    assert await response is response


async def test_the_call_of_a_socket_can_be_begun_without_its_end():
    running = await noted(view)(websocket()).begin()
    assert await running == "seen"


async def test_an_http_request_passes_through():
    request = RequestFactory().get("/")
    assert await noted(view)(request) == "seen"
    assert not hasattr(request, "notes")


def test_a_plain_view_answers_http_plainly():
    decorated = noted(lambda request: HttpResponse("page"))
    assert decorated(RequestFactory().get("/")).content == b"page"


async def test_the_base_decorator_does_nothing():
    assert await ViewDecorator()(view)(websocket()) == "seen"


@pytest.mark.parametrize(("decorated", "note"), [(noted(view), "bare"), (noted()(view), "bare"), (noted("x")(view), "x")])
async def test_a_decorator_works_bare_and_called(decorated, note):
    request = websocket()
    await decorated(request)
    assert request.notes == [note]


async def test_decorators_are_run_from_the_outside():
    request = websocket()
    await noted("outer")(noted("inner")(view))(request)
    assert request.notes == ["outer", "inner"]


def test_a_decorated_view_looks_like_its_view():
    decorated = noted(view)
    assert (decorated.__name__, decorated.__wrapped__, decorated.__module__) == ("view", view, __name__)
    assert repr(decorated) == "<DecoratedView of {!r}>".format(view)


def test_attributes_of_the_view_are_kept():
    def other(request):
        pass

    other.csrf_exempt = True
    assert noted(other).csrf_exempt


@pytest.mark.parametrize(("function", "is_async"), [(view, True), (lambda request: None, False), (noted(view), True)])
def test_a_decorated_view_is_as_async_as_its_view(function, is_async):
    assert iscoroutinefunction(noted(function)) is is_async


def test_a_wrapper_around_a_decorated_view_is_not_taken_for_async():
    decorated = noted(view)
    wrapper = functools.wraps(decorated)(lambda request: decorated(request))
    assert not iscoroutinefunction(wrapper)


async def test_a_decorated_view_is_a_method():
    class View:
        @noted
        async def websocket(self, request):
            return self, request

    one, request = View(), websocket()
    assert isinstance(View.websocket, DecoratedView)
    assert await one.websocket(request) == (one, request)


@pytest.mark.parametrize("arguments", [(0,), (object(), 0), (object(), 0, 1)])
def test_the_request_is_found_among_the_arguments(arguments):
    request = RequestFactory().get("/")
    assert find_request([request if argument == 0 else argument for argument in arguments]) is request


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2), (1, 2, HttpRequest())])
def test_there_may_be_no_request(arguments):
    assert find_request(arguments) is None


# Calling


def in_a_thread(function):
    """Return whether a view is called in a thread."""
    threads = []

    @functools.wraps(function)
    def called(request):
        threads.append(threading.current_thread())
        return function(request)

    called.threads = threads
    return called


async def test_a_plain_wrapper_is_called_in_a_thread():
    wrapper = in_a_thread(view)
    assert await call_view(wrapper, websocket()) == "seen"
    assert wrapper.threads != [threading.current_thread()]


async def test_an_async_view_is_called_here():
    coroutine = await begin(view, websocket())
    assert asyncio.iscoroutine(coroutine)
    assert await coroutine == "seen"


async def test_a_response_need_not_be_awaited():
    response = HttpResponse()
    assert await call_view(lambda request: response, websocket()) is response


@pytest.mark.parametrize("answer", [None, 1, "text"])
async def test_a_plain_view_is_named(answer):
    def plain(request):
        return answer

    with pytest.raises(TypeError, match="^expected an 'async def' as the view of a socket, got .*plain.*returned"):
        await begin(plain, websocket())


async def test_an_exception_in_the_thread_is_passed_on():
    def fail(request):
        raise KeyError("x")

    with pytest.raises(KeyError):
        await begin(fail, websocket())


async def test_a_call_that_nobody_waits_for_leaves_no_coroutine():
    begun, going, made = threading.Event(), threading.Event(), []

    def slow(request):
        begun.set()
        going.wait(10)
        made.append(view(request))
        return made[0]

    task = asyncio.ensure_future(begin(slow, websocket()))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    await turns(3)
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(1000):
        if made and made[0].cr_frame is None:
            break
        await asyncio.sleep(0.001)
    assert made[0].cr_frame is None


# What needs no thread


class Plain(WebsocketView):
    async def websocket(self, request):
        pass


class Page(WebsocketView, TemplateView):
    async def websocket(self, request):
        pass


class Guarded(LoginRequiredMixin, Plain):
    pass


@method_decorator(WebsocketProtocol(), name="websocket")
class Decorated(Plain):
    async def websocket(self, request):
        pass


@method_decorator(WebsocketProtocol, name="dispatch")
class DecoratedDispatch(Plain):
    pass


@method_decorator([WebsocketProtocol(), json_messages], name="websocket")
class DecoratedTwice(Plain):
    async def websocket(self, request):
        pass


class OwnDispatch(Plain):
    def dispatch(self, request):
        return super().dispatch(request)


class OwnSetup(Plain):
    def setup(self, request):
        super().setup(request)


class OwnInit(Plain):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)


class Permitted(PermissionRequiredMixin, Plain):
    pass


@method_decorator(login_required, name="dispatch")
class LoginDispatch(Plain):
    pass


@method_decorator(never_cache, name="websocket")
class OtherDecorator(Plain):
    async def websocket(self, request):
        pass


class Sync(WebsocketView):
    def websocket(self, request):
        pass


AT_ONCE = [Plain, Page, Guarded, Decorated, DecoratedDispatch, DecoratedTwice]
MAY_BLOCK = [OwnDispatch, OwnSetup, OwnInit, Permitted, LoginDispatch, OtherDecorator, Sync]


@pytest.mark.parametrize("view_class", AT_ONCE, ids=lambda item: item.__name__)
def test_a_view_class_of_known_parts_needs_no_thread(view_class):
    assert returns_at_once(view_class.as_view())


@pytest.mark.parametrize("view_class", MAY_BLOCK, ids=lambda item: item.__name__)
def test_a_view_class_with_parts_of_its_own_does(view_class):
    assert not returns_at_once(view_class.as_view())


@pytest.mark.parametrize(
    "function", [view, noted(view), functools.partial(view), functools.partial(noted(view)), Plain().websocket]
)
def test_what_makes_a_coroutine_needs_no_thread(function):
    assert returns_at_once(function)


@pytest.mark.parametrize(
    "function",
    [
        lambda request: None,
        functools.wraps(view)(lambda request: view(request)),
        login_required(lambda request: None),
        print,
    ],
    ids=["plain", "wrapper", "login_required", "builtin"],
)
def test_what_may_do_anything_does(function):
    assert not returns_at_once(function)


@pytest.mark.parametrize(
    ("view_class", "at_once"), [(Plain, True), (Guarded, True), (OwnDispatch, False), (OwnSetup, False)]
)
def test_the_dispatch_of_a_view_is_looked_at_with_its_class(view_class, at_once):
    assert returns_at_once(view_class().dispatch) is at_once


def test_a_dispatch_that_took_the_place_of_djangos_is_not_taken_for_it():
    def dispatch(self, request):
        pass

    dispatch.__qualname__ = "View.dispatch"
    assert not is_plain_dispatch(dispatch)
    assert not is_plain_dispatch(print)
