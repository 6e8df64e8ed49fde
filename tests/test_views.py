"""View classes that answer sockets."""
import asyncio

import django
import pytest
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory
from django.views.generic import TemplateView, View

from pistoke.handler import WebsocketHandler
from pistoke.nakyma import WebsocketNakyma
from pistoke.protocol import WebsocketProtocol
from pistoke.views import WebsocketView

from .asgi import Server, urls


class Page(WebsocketView):
    def get(self, request):
        return HttpResponse("page")

    async def websocket(self, request, **kwargs):
        await request.send("x")


async def run(view, path="/view/"):
    server = Server(path)
    with urls(view=view):
        await server.run(WebsocketHandler())
    return server


async def test_a_socket_is_answered_by_its_method():
    assert (await run(Page.as_view())).messages == ["x"]


def test_a_page_is_answered_as_before():
    assert Page.as_view()(RequestFactory().get("/")).content == b"page"


def test_the_method_is_allowed_for_the_class_and_no_other():
    assert "websocket" in Page.http_method_names
    assert "websocket" not in View.http_method_names
    assert "websocket" not in TemplateView.http_method_names


@pytest.mark.parametrize("bases", [(WebsocketView, TemplateView), (TemplateView, WebsocketView)], ids=["before", "after"])
async def test_it_is_mixed_with_other_classes_in_any_order(bases):
    class Mixed(*bases):
        async def websocket(self, request):
            await request.send("x")

    assert (await run(Mixed.as_view())).messages == ["x"]


def test_allowed_methods_may_be_listed():
    class Listed(WebsocketView):
        http_method_names = ["get"]

    assert Listed.http_method_names == ["get", "websocket"]


def test_a_list_that_has_it_is_left_as_it_is():
    class Listed(WebsocketView):
        http_method_names = ["websocket"]

    class Inherited(Listed):
        pass

    assert Inherited.http_method_names is Listed.http_method_names == ["websocket"]


@pytest.mark.parametrize("view_class", [WebsocketView, WebsocketNakyma])
def test_the_class_itself_is_no_view(view_class):
    with pytest.raises(TypeError, match="expected a subclass of WebsocketView with a method 'websocket'"):
        view_class.as_view()


async def test_a_class_without_the_method_says_so(caplog):
    class Without(WebsocketView):
        pass

    server = await run(Without.as_view())
    assert server.closed == 1011
    assert "expected" in caplog.text and "Without to have an 'async def websocket'" in caplog.text


async def test_arguments_of_the_view_are_attributes():
    class Named(Page):
        name = None

        async def websocket(self, request):
            await request.send(self.name)

    assert (await run(Named.as_view(name="given"))).messages == ["given"]


async def test_the_request_is_an_attribute():
    class Kept(WebsocketView):
        async def websocket(self, request):
            assert self.request is request and self.args == () and self.kwargs == {}

    assert (await run(Kept.as_view())).closed == 1000


async def test_options_name_the_method():
    response = Page.as_view()(RequestFactory().options("/"))
    assert "WEBSOCKET" in response.headers["Allow"] if django.VERSION >= (3, 2) else response["Allow"]


# Sync and async


class AsyncPage(WebsocketView):
    async def get(self, request):
        return HttpResponse("page")

    async def post(self, request):
        return HttpResponse("posted")


class MixedPage(WebsocketView):
    def get(self, request):
        return HttpResponse("page")

    async def post(self, request):
        return HttpResponse("posted")


class OnlySocket(WebsocketView):
    async def websocket(self, request):
        pass


@pytest.mark.parametrize(("view_class", "is_async"), [(Page, False), (AsyncPage, True), (OnlySocket, False)])
def test_the_socket_does_not_make_a_page_async(view_class, is_async):
    assert view_class.view_is_async is is_async


def test_pages_are_all_sync_or_all_async():
    with pytest.raises(ImproperlyConfigured, match="expected the HTTP methods of MixedPage to be all sync or all async"):
        assert MixedPage.view_is_async


@pytest.mark.skipif(django.VERSION < (4, 1), reason="asynchronous view classes are newer")
async def test_an_async_page_is_awaited():
    assert (await AsyncPage.as_view()(RequestFactory().get("/"))).content == b"page"


async def test_a_socket_beside_async_methods_is_answered():
    class Both(AsyncPage):
        async def websocket(self, request):
            await request.send("x")

    assert (await run(Both.as_view())).messages == ["x"]


# What is around the method


async def test_login_required_around_the_automatic_protocol_opens_and_closes_4403():
    class Protected(LoginRequiredMixin, Page):
        pass

    server = await run(Protected.as_view())
    assert server.types == ["accept", "close"] and server.closed == 4403


async def test_login_required_around_an_explicit_protocol_is_403():
    class Protected(LoginRequiredMixin, WebsocketView):
        @WebsocketProtocol
        async def websocket(self, request):
            await request.send("x")

    assert (await run(Protected.as_view())).types == ["close"]


async def test_a_dispatch_of_its_own_runs_in_a_thread():
    loops = []

    class Dispatching(Page):
        def dispatch(self, request, *args, **kwargs):
            loops.append(asyncio._get_running_loop())
            return super().dispatch(request, *args, **kwargs)

    assert (await run(Dispatching.as_view())).messages == ["x"]
    assert loops == [None]
