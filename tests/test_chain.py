"""The project's middleware around the handshake of a socket."""
import asyncio
import logging
import threading

import django
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed, PermissionDenied
from django.http import Http404, HttpResponse
from django.test import override_settings
from django.urls import get_urlconf, path
from django.utils import timezone, translation
from django.utils.decorators import async_only_middleware, sync_and_async_middleware, sync_only_middleware
from django.utils.deprecation import MiddlewareMixin

from pistoke import chain
from pistoke._compat import ContextVar
from pistoke.chain import Chain, runs_inline
from pistoke.decoration import PlaceholderResponse
from pistoke.handler import WebsocketHandler
from pistoke.middleware import OriginMiddleware
from pistoke.protocol import WebsocketProtocol

from .asgi import Server, urls

HERE = __name__ + "."

#: What the middleware below notes; emptied before each test.
seen = []

variable = ContextVar("variable")

WITH_CONTEXTS = pytest.mark.skipif(not hasattr(variable, "reset"), reason="Python 3.6 has no context variables")


@pytest.fixture(autouse=True)
def nothing_seen():
    del seen[:]


@pytest.fixture
def hops(monkeypatch):
    """Return a list that grows by the executor of each thread hop."""
    hops = []
    run_in_executor = asyncio.BaseEventLoop.run_in_executor

    def counted(self, executor, function, *args):
        hops.append(executor)
        return run_in_executor(self, executor, function, *args)

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", counted)
    return hops


# A session store and a user without a database


class Store(SessionBase):
    """A session that is loaded from nowhere; it notes in which thread."""

    def load(self):
        seen.append(("load", on_loop()))
        return {"loaded": True}


class SessionStore(Store):
    """The name by which Django finds the store of an engine."""


class LazyUser(AuthenticationMiddleware):
    """Make the user from the session, lazily, as Django does from the database."""

    def process_request(self, request):
        from django.utils.functional import SimpleLazyObject

        def user():
            request._cached_user = AnonymousUser()
            request._cached_user.loaded = request.session["loaded"]
            return request._cached_user

        request.user = SimpleLazyObject(user)


def on_loop():
    """Return whether an event loop runs in this thread."""
    return asyncio._get_running_loop() is not None


# Middleware of all kinds


class OldStyle(MiddlewareMixin):
    def process_request(self, request):
        seen.append(("process_request", on_loop()))

    def process_view(self, request, view, args, kwargs):
        seen.append(("process_view", view, args, kwargs))

    def process_response(self, request, response):
        raise AssertionError("there is no response to process")


def new_style_function(get_response):
    def middleware(request):
        seen.append(("before", on_loop()))
        response = get_response(request)
        seen.append(("after", on_loop()))
        return response

    return middleware


class NewStyleClass:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        seen.append(("before", on_loop()))
        response = self.get_response(request)
        seen.append(("after", on_loop()))
        return response

    def process_view(self, request, view, args, kwargs):
        seen.append(("view", view.__name__))


@async_only_middleware
def async_only(get_response):
    async def middleware(request):
        seen.append(("before", on_loop()))
        response = await get_response(request)
        seen.append(("after", on_loop()))
        return response

    return middleware


class AsyncOnlyClass:
    sync_capable = False
    async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response

    async def __call__(self, request):
        seen.append(("before", on_loop()))
        return await self.get_response(request)

    async def process_view(self, request, view, args, kwargs):
        await asyncio.sleep(0)
        seen.append(("async view", view.__name__))


@sync_and_async_middleware
def both(get_response):
    if asyncio.iscoroutinefunction(get_response):
        return async_only(get_response)
    return new_style_function(get_response)


sync_only = sync_only_middleware(new_style_function)


def not_used(get_response):
    raise MiddlewareNotUsed("not today")


def not_used_silently(get_response):
    raise MiddlewareNotUsed


def forgets_to_return(get_response):
    pass


def neither(get_response):
    raise AssertionError("not called")


neither.sync_capable = neither.async_capable = False


async def view(request, **kwargs):
    seen.append("view")


def middleware_settings(*names, around=()):
    """Return the override of ``MIDDLEWARE``: names of this module, or dotted paths."""
    return override_settings(MIDDLEWARE=[name if "." in name else HERE + name for name in names])


async def handshake(*names, view=view, server=None, **settings):
    """Open a socket to ``view`` through middleware; return the server."""
    server = server or Server("/view/")
    with middleware_settings(*names), override_settings(**settings), urls(view=view):
        await server.run(WebsocketHandler())
    return server


async def until(condition):
    """Wait until something is true."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("waited in vain")


def with_session():
    return Server("/view/", [("cookie", "{}=a-key-of-eight-letters".format(settings.SESSION_COOKIE_NAME))])


SESSION = {"SESSION_ENGINE": __name__}
SEVEN = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


# The kinds


async def test_old_style_hooks_run_and_the_response_is_not_processed():
    server = await handshake("OldStyle")
    assert seen == [("process_request", False), ("process_view", view, (), {}), "view"]
    assert server.types == ["accept", "close"]


async def test_a_view_hook_gets_the_arguments_of_the_url():
    class Routes:
        urlpatterns = [path("view/<int:number>/", view)]

    with middleware_settings("OldStyle"), override_settings(ROOT_URLCONF=Routes):
        await Server("/view/7/").run(WebsocketHandler())
    assert ("process_view", view, (), {"number": 7}) in seen


@pytest.mark.parametrize("name", ["new_style_function", "sync_only"])
async def test_a_sync_function_is_done_before_the_view_begins(name):
    await handshake(name)
    assert seen == [("before", False), ("after", False), "view"]


async def test_a_sync_class_may_have_view_hooks():
    await handshake("NewStyleClass")
    assert seen == [("before", False), ("view", "view"), ("after", False), "view"]


@pytest.mark.parametrize("name", ["async_only", "both"])
async def test_what_can_be_async_runs_on_the_event_loop(name, hops):
    await handshake(name)
    assert seen == [("before", True), ("after", True), "view"]
    assert not hops


async def test_an_async_view_hook_is_awaited(hops):
    await handshake("AsyncOnlyClass")
    assert seen == [("before", True), ("async view", "view"), "view"]
    assert not hops


async def test_an_async_view_hook_is_awaited_from_a_thread_too():
    await handshake("new_style_function", "AsyncOnlyClass")
    assert seen == [("before", False), ("before", True), ("async view", "view"), ("after", False), "view"]


@pytest.mark.parametrize("names", [
    ("async_only", "new_style_function"),
    ("new_style_function", "async_only"),
    ("OldStyle", "async_only", "OldStyle"),
    ("async_only", "OldStyle", "async_only", "new_style_function", "both"),
])
async def test_sync_and_async_may_be_mixed_in_any_order(names):
    server = await handshake(*names)
    assert server.types == ["accept", "close"]
    assert seen[-1] == "view"
    assert len([item for item in seen if item[0] == "before"]) == len([name for name in names if name != "OldStyle"])
    assert not [item for item in seen if item == ("process_request", True)]


async def test_unused_middleware_is_left_out(caplog):
    caplog.set_level(logging.DEBUG, "pistoke")
    await handshake("not_used", "not_used_silently", "new_style_function")
    assert seen[-1] == "view"
    assert [record.getMessage() for record in caplog.records if record.name == "pistoke"] == [
        "middleware {}not_used_silently is not used".format(HERE),
        "middleware {}not_used is not used: not today".format(HERE),
    ]


def test_a_factory_that_returns_none_is_named():
    with middleware_settings("forgets_to_return"):
        with pytest.raises(ImproperlyConfigured, match=r"from the factory .*forgets_to_return, got None"):
            WebsocketHandler()


def test_a_middleware_that_is_neither_sync_nor_async_is_named():
    with middleware_settings("neither"), pytest.raises(RuntimeError, match=r"expected middleware .*neither to have"):
        WebsocketHandler()


def answers_none(get_response):
    return lambda request: None


async def test_a_middleware_that_answers_none_is_a_500_and_named(caplog):
    server = await handshake("answers_none")
    assert server.status == 500
    assert HERE + "answers_none" in caplog.text


def calls_get_response(get_response):
    class Middleware(MiddlewareMixin):
        def process_request(self, request):
            self.get_response(request)

    return Middleware(get_response)


class CallsGetResponse(MiddlewareMixin):
    def process_request(self, request):
        self.get_response(request)


async def test_an_old_style_hook_has_no_response_to_get(caplog):
    server = await handshake("CallsGetResponse")
    assert server.status == 500
    assert "leave get_response alone" in caplog.text


async def test_old_style_made_by_a_function_is_called_as_a_whole():
    await handshake("calls_get_response")
    assert seen == ["view"]


class WithCall(MiddlewareMixin):
    sync_capable = True
    async_capable = False

    def __call__(self, request):
        seen.append("called")
        return super().__call__(request)


async def test_old_style_with_a_call_of_its_own_is_called():
    await handshake("WithCall")
    assert seen == ["called", "view"]


# Hops


async def test_an_anonymous_socket_opens_without_a_thread(hops):
    server = await handshake(*SEVEN)
    assert server.types == ["accept", "close"]
    assert not hops


async def test_a_locale_middleware_costs_no_thread_either(hops):
    await handshake("django.middleware.locale.LocaleMiddleware", *SEVEN)
    assert not hops


async def test_a_logged_in_socket_takes_one_hop(hops):
    async def view(request):
        seen.append(request.session["loaded"])

    names = SEVEN[:4] + ["LazyUser"] + SEVEN[5:]
    await handshake(*names, view=view, server=with_session(), **SESSION)
    assert seen == [("load", False), True]
    assert len(hops) == 1


async def test_a_session_alone_takes_one_hop(hops):
    await handshake(SEVEN[1], server=with_session(), **SESSION)
    assert seen == [("load", False), "view"]
    assert len(hops) == 1


async def test_the_user_is_loaded_in_that_hop():
    async def view(request):
        seen.append(request.user.loaded)
        assert request._acached_user is request._cached_user

    await handshake(SEVEN[1], "LazyUser", view=view, server=with_session(), **SESSION)
    assert seen == [("load", False), True]


@pytest.mark.parametrize("kind", ["async_only", "both"])
async def test_a_session_takes_one_hop_among_async_middleware(kind, hops):
    await handshake(SEVEN[1], kind, server=with_session(), **SESSION)
    assert seen == [("before", True), ("load", False), ("after", True), "view"]
    assert len(hops) == 1


async def test_a_cookie_means_nothing_without_sessions(hops):
    await handshake(SEVEN[0], server=with_session())
    assert not hops


@pytest.mark.parametrize("names", [
    ["OldStyle"],
    ["new_style_function"],
    ["new_style_function", "OldStyle", "NewStyleClass"],
    [*SEVEN, "OldStyle", "sync_only"],
    ["async_only", "new_style_function", "OldStyle"],
])
async def test_all_sync_middleware_shares_one_hop(names, hops):
    await handshake(*names)
    assert seen[-1] == "view"
    assert len(hops) == 1


async def test_middleware_with_nothing_before_the_view_takes_no_hop(hops):
    await handshake("OnlyResponse")
    assert not hops


class OnlyResponse(MiddlewareMixin):
    def process_response(self, request, response):
        raise AssertionError("there is no response to process")


class SessionSubclass(SessionMiddleware):
    def process_request(self, request):
        super().process_request(request)
        seen.append(("subclass", on_loop()))


class SessionSubclassWithoutHooks(SessionMiddleware):
    pass


async def test_a_subclass_of_djangos_own_runs_in_a_thread(hops):
    await handshake("SessionSubclass")
    assert seen == [("subclass", False), "view"]
    assert len(hops) == 1


async def test_a_subclass_of_djangos_sessions_has_sessions():
    await handshake("SessionSubclass", server=with_session(), **SESSION)
    assert seen == [("subclass", False), ("load", False), "view"]


async def test_djangos_own_with_a_replaced_hook_runs_in_a_thread(monkeypatch, hops):
    original = SessionMiddleware.process_request

    def patched(self, request):
        seen.append(("patched", on_loop()))
        return original(self, request)

    monkeypatch.setattr(SessionMiddleware, "process_request", patched)
    await handshake(SEVEN[1])
    assert seen == [("patched", False), "view"]
    assert len(hops) == 1


@pytest.mark.parametrize(("middleware", "inline"), [
    (SEVEN[0], True),
    (SEVEN[1], True),
    ("pistoke.middleware.OriginMiddleware", True),
    (OriginMiddleware, True),
    (SessionSubclass, False),
    (SessionSubclassWithoutHooks, False),
    (OldStyle, False),
    (new_style_function, False),
    (SEVEN[3], False),
])
def test_only_what_is_known_exactly_runs_inline(middleware, inline):
    assert runs_inline(middleware) is inline


# What is in force in the view


def sets_everything(request):
    variable.set("middleware")
    translation.activate("fi")
    timezone.activate(timezone.get_fixed_timezone(330))
    request.urlconf = OtherRoutes


async def notes_everything(request):
    seen.append((translation.get_language(), str(timezone.get_current_timezone()), get_urlconf(), variable.get(None)))


class OtherRoutes:
    urlpatterns = [path("view/", notes_everything)]


class HookSets(MiddlewareMixin):
    def process_request(self, request):
        sets_everything(request)


class ViewHookSets(MiddlewareMixin):
    def process_request(self, request):
        request.urlconf = OtherRoutes

    def process_view(self, request, *args):
        sets_everything(request)


def sync_sets(get_response):
    def middleware(request):
        sets_everything(request)
        response = get_response(request)
        variable.set("after")
        return response

    return middleware


@async_only_middleware
def async_sets(get_response):
    async def middleware(request):
        sets_everything(request)
        response = await get_response(request)
        variable.set("after")
        return response

    return middleware


KINDS = pytest.mark.parametrize("names", [
    ["HookSets"],
    ["ViewHookSets"],
    ["sync_sets"],
    ["async_sets"],
    ["async_only", "HookSets"],
    ["HookSets", "async_only"],
    ["async_sets", "new_style_function"],
    ["sync_sets", "async_only"],
    ["new_style_function", "async_sets", "OldStyle"],
], ids="+".join)


@KINDS
async def test_language_time_zone_and_urls_of_middleware_are_in_force_in_the_view(names):
    await handshake(*names)
    language, zone, urlconf, _ = seen[-1]
    assert (language, urlconf) == ("fi", OtherRoutes)
    assert "0530" in zone or "05:30" in zone


@WITH_CONTEXTS
@KINDS
async def test_context_variables_of_middleware_are_in_force_in_the_view(names):
    await handshake(*names)
    assert seen[-1][-1] == "middleware"


def sync_overrides(get_response):
    def middleware(request):
        with translation.override("fi"), timezone.override(timezone.get_fixed_timezone(330)):
            return get_response(request)

    return middleware


@async_only_middleware
def async_overrides(get_response):
    async def middleware(request):
        with translation.override("fi"), timezone.override(timezone.get_fixed_timezone(330)):
            return await get_response(request)

    return middleware


@async_only_middleware
def async_deactivates(get_response):
    async def middleware(request):
        with translation.override(None):
            return await get_response(request)

    return middleware


@pytest.mark.parametrize("names", [
    ["sync_overrides"],
    ["async_overrides"],
    ["sync_overrides", "async_only"],
    ["async_overrides", "new_style_function"],
    ["new_style_function", "async_overrides"],
], ids="+".join)
async def test_an_override_around_get_response_is_in_force_in_the_view(names):
    await handshake(*names, view=notes_everything)
    assert seen[-1][0] == "fi"
    assert "0530" in seen[-1][1] or "05:30" in seen[-1][1]


async def test_no_language_at_all_is_in_force_in_the_view_too():
    await handshake("async_deactivates", view=notes_everything)
    assert seen[-1][0] is None


@pytest.mark.parametrize("name", ["sync_overrides", "async_overrides"])
async def test_an_override_is_still_in_force_when_the_view_has_waited(name):
    async def view(request):
        await asyncio.sleep(0)
        await sync_to_async(seen.append)("hop")
        seen.append(await sync_to_async(translation.get_language)())
        await notes_everything(request)

    await handshake(name, view=view)
    assert seen[1] == "fi" and seen[2][0] == "fi"


async def test_nothing_of_it_is_in_force_in_the_next_socket():
    await handshake("HookSets")
    await handshake(view=notes_everything)
    assert seen[1][0] == "en-us" and seen[1][2] in (None, settings.ROOT_URLCONF)


async def test_no_thread_is_taken_while_the_socket_is_open():
    threads = []

    async def view(request):
        threads.extend(thread for thread in threading.enumerate() if "get_response" in str(thread))
        seen.append(await sync_to_async(on_loop)())

    await handshake("new_style_function", view=view)
    assert seen[-1] is False


# The placeholder


def uses_the_response(get_response):
    def middleware(request):
        response = get_response(request)
        assert response.status_code == 200 and not response.streaming
        response["X-Header"] = "value"
        assert response["x-header"] == "value" and response.has_header("X-Header")
        assert "text/html" in response["Content-Type"]
        del response["X-Header"]
        response.set_cookie("name", "value")
        assert response.cookies["name"].value == "value"
        response.delete_cookie("other")
        response.content = b"content"
        assert response.content == b"content" and len(list(response)) == 1
        response.write("!")
        assert response.getvalue() == b"content!"
        response.status_code = 201
        assert response.reason_phrase == "Created" and response.charset == "utf-8"
        assert isinstance(response, HttpResponse) and not response.closed
        assert not hasattr(response, "render") and not hasattr(response, "template_name")
        seen.append("used")
        return response

    return middleware


async def test_the_placeholder_is_treated_like_any_other_response():
    server = await handshake("uses_the_response")
    assert seen == ["used", "view"]
    assert server.types == ["accept", "close"]


def test_what_was_set_on_a_placeholder_first_stays():
    response = PlaceholderResponse()
    response.status_code = 404
    response.mine = 1
    response["X"] = "y"
    assert (response.status_code, response.mine, response["X"]) == (404, 1, "y")


async def test_the_placeholder_of_one_socket_is_not_that_of_another():
    placeholders = []

    class Kept(NewStyleClass):
        def __call__(self, request):
            placeholders.append(self.get_response(request))
            return placeholders[-1]

    globals()["Kept"] = Kept
    try:
        await handshake("Kept")
        await handshake("Kept")
    finally:
        del globals()["Kept"]
    assert placeholders[0] is not placeholders[1]


# Refusals


class HookRefuses(MiddlewareMixin):
    def process_request(self, request):
        return HttpResponse("no", status=418)


class ViewHookRefuses(MiddlewareMixin):
    def process_view(self, request, *args):
        return HttpResponse("no", status=418)


class HookRaises(MiddlewareMixin):
    def process_request(self, request):
        raise PermissionDenied("no")


class ViewHookRaises(MiddlewareMixin):
    def process_view(self, request, *args):
        raise KeyError("oops")


def sync_refuses(get_response):
    return lambda request: HttpResponse("no", status=418)


def sync_refuses_after(get_response):
    def middleware(request):
        get_response(request)
        return HttpResponse("no", status=418)

    return middleware


def sync_raises(get_response):
    def middleware(request):
        raise Http404("no")

    return middleware


@async_only_middleware
def async_refuses(get_response):
    async def middleware(request):
        return HttpResponse("no", status=418)

    return middleware


@async_only_middleware
def async_raises(get_response):
    async def middleware(request):
        raise KeyError("oops")

    return middleware


class AsyncViewHookRefuses(AsyncOnlyClass):
    async def process_view(self, request, *args):
        return HttpResponse("no", status=418)


class AsyncViewHookRaises(AsyncOnlyClass):
    async def process_view(self, request, *args):
        raise PermissionDenied


REFUSALS = [
    ("HookRefuses", 418),
    ("ViewHookRefuses", 418),
    ("HookRaises", 403),
    ("ViewHookRaises", 500),
    ("sync_refuses", 418),
    ("sync_refuses_after", 418),
    ("sync_raises", 404),
    ("async_refuses", 418),
    ("async_raises", 500),
    ("AsyncViewHookRefuses", 418),
    ("AsyncViewHookRaises", 403),
]


@pytest.mark.parametrize(("name", "status"), REFUSALS)
@pytest.mark.parametrize("around", [(), ("new_style_function",), ("async_only",), ("OldStyle", "both")], ids=repr)
async def test_what_is_no_placeholder_refuses_and_the_log_names_the_middleware(name, status, around, caplog):
    caplog.set_level(logging.INFO)
    server = await handshake(*around, name)
    assert "view" not in seen
    assert server.status == status
    assert "/view/ (refused by middleware {}{})".format(HERE, name) in caplog.text
    assert "refused by middleware" in caplog.text and caplog.text.count("refused by middleware") == 1


async def test_what_is_inside_of_a_refusing_hook_is_not_asked():
    await handshake("HookRefuses", "OldStyle", "async_only")
    assert not seen


@pytest.mark.parametrize("around", [(), ("new_style_function",), ("async_only",)], ids=repr)
async def test_an_unknown_path_is_not_blamed_on_middleware(around, caplog):
    caplog.set_level(logging.INFO)
    server = await handshake(*around, server=Server("/nowhere/"))
    assert server.status == 404
    assert "Not Found: /nowhere/" in caplog.text
    assert "refused by middleware" not in caplog.text


async def test_an_exception_reaches_middleware_as_a_response():
    await handshake("sync_notes_status", "HookRaises")
    await handshake("async_notes_status", "HookRaises")
    assert seen == [403, 403]


def sync_notes_status(get_response):
    def middleware(request):
        response = get_response(request)
        seen.append(response.status_code)
        return response

    return middleware


@async_only_middleware
def async_notes_status(get_response):
    async def middleware(request):
        response = await get_response(request)
        seen.append(response.status_code)
        return response

    return middleware


@async_only_middleware
def never_done(get_response):
    async def middleware(request):
        seen.append("waiting")
        await asyncio.Event().wait()

    return middleware


@pytest.mark.parametrize("around", [(), ("async_only",)], ids=repr)
async def test_a_cancelled_handshake_is_no_response(around):
    server = Server("/view/")
    with middleware_settings(*around, "never_done"), urls(view=view):
        task = server.start(WebsocketHandler())
        await until(lambda: "waiting" in seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert server.types == ["close"]


# Exceptions of the view


class SeesExceptions(MiddlewareMixin):
    def process_exception(self, request, exc):
        seen.append(("sees", type(exc)))


class AnswersExceptions(MiddlewareMixin):
    def process_exception(self, request, exc):
        seen.append(("answers", on_loop()))
        return HttpResponse(status=418)


class FailsOnExceptions(MiddlewareMixin):
    def process_exception(self, request, exc):
        raise LookupError("in the hook")


class AsyncExceptions(AsyncOnlyClass):
    async def process_exception(self, request, exc):
        await asyncio.sleep(0)
        seen.append("async")
        return HttpResponse(status=418)


async def raises(request):
    await request.send("x")
    raise KeyError("oops")


async def test_an_exception_of_the_view_is_seen_from_the_inside_out():
    server = await handshake("AnswersExceptions", "SeesExceptions", view=raises)
    assert seen == [("sees", KeyError), ("answers", False)]
    assert server.closed == 4418


async def test_an_exception_that_nobody_answers_closes_1011(caplog):
    server = await handshake("SeesExceptions", view=raises)
    assert server.closed == 1011
    assert "KeyError" in caplog.text


async def test_an_async_exception_hook_is_awaited():
    server = await handshake("AsyncExceptions", view=raises)
    assert server.closed == 4418
    assert "async" in seen


async def test_an_exception_of_an_exception_hook_is_reported_as_for_http(caplog):
    server = await handshake("FailsOnExceptions", view=raises)
    assert server.closed == 1011
    assert "in the hook" in caplog.text


async def test_an_answer_to_an_exception_outside_of_a_protocol_is_an_http_response():
    def outside(view):
        async def wrapper(request):
            raise KeyError("oops")

        wrapper.websocket_protocol = view.websocket_protocol
        return wrapper

    server = await handshake("AnswersExceptions", view=outside(WebsocketProtocol(view)))
    assert server.status == 418


# Skipped middleware


async def test_middleware_for_pages_is_skipped():
    with override_settings(MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "pistoke.middleware.WebsocketMiddleware",
        "pistoke.ohjain.WebsocketOhjain",
        "pistoke.ohjain.OriginVaatimus",
        "pistoke.ohjain.CsrfOhjain",
    ]):
        chain = Chain(OriginMiddleware)
    assert isinstance(chain.outermost, type(chain.outermost)) and not chain.blocks and not chain.wraps
    assert len(chain.view_hooks) == 1


async def test_a_setting_skips_more():
    await handshake("HookRefuses", "sync_refuses", PISTOKE_SKIP_MIDDLEWARE=[HERE + "HookRefuses", HERE + "sync_refuses"])
    assert seen == ["view"]


async def test_middleware_is_skipped_by_the_name_it_was_defined_with():
    globals()["Alias"] = HookRefuses
    try:
        await handshake("Alias", PISTOKE_SKIP_MIDDLEWARE=[HERE + "HookRefuses"])
    finally:
        del globals()["Alias"]
    assert seen == ["view"]


def test_the_table_names_what_exists():
    from django.utils.module_loading import import_string

    for name in chain.SKIPPED_MIDDLEWARE | chain.INLINE_MIDDLEWARE:
        newer = ("csp" in name and django.VERSION < (6, 0)) or ("LoginRequired" in name and django.VERSION < (5, 1))
        uninstalled = "flatpages" in name or "redirects" in name
        if name.startswith(("django.", "pistoke.")) and not (newer or uninstalled):
            assert import_string(name).__name__ in name


# Middleware of Django's


@pytest.mark.skipif(django.VERSION < (5, 1), reason="LoginRequiredMiddleware is newer")
@pytest.mark.parametrize("exempt", [True, False])
async def test_login_required_middleware_refuses_the_anonymous(exempt, hops):
    def page(view):
        async def wrapper(request):
            return await view(request)

        wrapper.login_required = not exempt
        return wrapper

    names = [SEVEN[1], SEVEN[4], "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    with override_settings(LOGIN_URL="/login/"):
        server = await handshake(*names, view=page(view))
    assert server.types == (["accept", "close"] if exempt else ["close"])


async def test_locale_middleware_sets_the_language_of_the_view():
    server = Server("/view/", [("accept-language", "fi")])
    await handshake("django.middleware.locale.LocaleMiddleware", view=notes_everything, server=server)
    assert seen[0][0] == "fi"


@pytest.mark.parametrize("append", [True, False])
async def test_a_missing_slash_is_refused_and_not_redirected(append):
    server = await handshake("django.middleware.common.CommonMiddleware", server=Server("/view"), APPEND_SLASH=append)
    assert server.types[0] in ("close", "http.response.start") and server.status in (None, 404)


async def test_a_disallowed_user_agent_is_refused():
    import re

    server = Server("/view/", [("user-agent", "robot")])
    await handshake(SEVEN[2], server=server, DISALLOWED_USER_AGENTS=[re.compile("robot")])
    assert server.types == ["close"] or server.status == 403


@pytest.mark.parametrize(("scheme", "opens"), [("ws", False), ("wss", True)])
async def test_ssl_redirect_refuses_ws_and_lets_wss_through(scheme, opens):
    await handshake(SEVEN[0], server=Server("/view/", scheme=scheme), SECURE_SSL_REDIRECT=True)
    assert seen == (["view"] if opens else [])


async def test_a_bad_host_is_refused():
    server = Server("/view/", headers=())
    server.scope["headers"] = [(b"host", b"evil.example")]
    await handshake(*SEVEN, server=server)
    assert server.status == 400


async def test_a_view_behind_a_sync_middleware_can_call_a_thread_where_there_is_one_for_all():
    class Handler(WebsocketHandler):
        use_database_threads = False

    async def calls(request):
        await request.send(await sync_to_async(str)(1))

    server = Server("/view/")
    with middleware_settings("new_style_function"), urls(view=calls):
        await server.run(Handler())
    assert (server.messages, server.closed) == (["1"], 1000)
