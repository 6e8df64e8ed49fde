"""The projects that a stranger meets: views that look at all that it sends, under settings of several kinds."""
import functools
import importlib.util
import json

from django.contrib.auth.decorators import login_required
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path, re_path

from pistoke.decorators import csrf_handshake, json_messages
from pistoke.handler import WebsocketHandler
from pistoke.protocol import WebsocketJSONProtocol, WebsocketProtocol, WebsocketSubprotocol
from pistoke.views import WebsocketView

from .secret import SECRET


async def echo(request, **arguments):
    async for message in request:
        await request.send(message)


async def facts(request, **arguments):
    """Look at everything that a view may look at; send what can be sent."""
    user = await request.auser()
    for name in ("items", "keys", "values"):
        list(getattr(request.META, name)())
    found = {
        "arguments": repr(arguments),
        "query": dict(request.GET.lists()),
        "cookies": request.COOKIES,
        "headers": dict(request.headers),
        "path": [request.path, request.path_info, request.get_full_path(), request.get_full_path_info()],
        "host": [request.get_host(), request.get_port(), request.is_secure(), request.build_absolute_uri()],
        "user": [user.pk, request.user.is_authenticated, request.session.session_key is None, len(request.session.items())],
        "messages": [str(message) for message in get_messages(request)],
        "token": [request.check_csrf(value) for value in list(request.GET.values()) + list(request.COOKIES.values())],
        "signed": request.get_signed_cookie("sessionid", default=None),
        "language": getattr(request, "LANGUAGE_CODE", None),
    }
    await request.send(json.dumps(found))
    async for message in request:
        await request.send(str(request.check_csrf(message)))


async def kinds(request, **arguments):
    """Read objects; what is sent back is not theirs, which could be too deep to be encoded."""
    async for message in request:
        await request.send({"type": type(message).__name__})


async def greet(request, **arguments):
    await request.send("welcome")


async def silent(request, **arguments):
    pass


async def late(request, **arguments):
    """Answer once something was read."""
    await request.receive()
    return HttpResponse(status=404)


class Both(WebsocketView):
    def get(self, request):
        return HttpResponse("over HTTP")

    async def websocket(self, request):
        await facts(request)


def page(request):
    """Answer HTTP requests; no socket is ever opened here."""
    return HttpResponse("a page")


page = login_required(page)

def sockets_only(view):
    """Answer HTTP requests, which a function view gets too."""

    @functools.wraps(view)
    async def wrapper(request, **arguments):
        if request.method != "Websocket":
            return HttpResponse(status=426)
        return await view(request, **arguments)

    return wrapper


echo, facts, kinds, greet, silent, late = map(sockets_only, (echo, facts, kinds, greet, silent, late))

urlpatterns = [
    path("echo/", echo),
    path("facts/", facts),
    path("both/", Both.as_view()),
    path("json/", WebsocketJSONProtocol(kinds)),
    path("json-text/", json_messages(loads={"parse_int": str})(kinds)),
    path("token/", csrf_handshake(echo)),
    path("token-error/", csrf_handshake(error_key="error")(echo)),
    path("token-json/", WebsocketJSONProtocol(csrf_handshake(error_key="error")(kinds))),
    path("members/", login_required(WebsocketProtocol(greet))),
    path("guests/", WebsocketProtocol(login_required(greet))),
    path("subprotocols/", WebsocketSubprotocol("alpha", "beta")(echo)),
    path("json-subprotocols/", WebsocketJSONProtocol("beta")(kinds)),
    path("silent/", silent),
    path("late/", late),
    path("page/", page),
    path("number/<int:value>/", facts),
    path("text/<str:value>/", facts),
    path("slug/<slug:value>/", facts),
    path("uuid/<uuid:value>/", facts),
    path("rest/<path:value>", WebsocketProtocol(facts)),
    re_path(r"^digits/(?P<value>\d+)/$", facts),
]


def thread_middleware(get_response):
    """Look at the request where it is allowed to block, as most people's middleware does."""

    def middleware(request):
        request.COOKIES.get("a"), request.META.get("HTTP_X_TEST"), request.headers.get("x-test")
        return get_response(request)

    return middleware


PLAIN = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
COMMON = {
    "ROOT_URLCONF": __name__,
    "DEBUG": False,
    "SECRET_KEY": SECRET,
    "MIDDLEWARE": PLAIN,
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "PISTOKE_MAX_MESSAGE_SIZE": 2 ** 16,
    "LANGUAGES": [("en", "English"), ("fi", "suomi")],
}
SETTINGS = {
    "plain": {},
    "cookies": {
        "ALLOWED_HOSTS": ["*"],
        "CSRF_USE_SESSIONS": True,
        "MESSAGE_STORAGE": "django.contrib.messages.storage.cookie.CookieStorage",
        "MIDDLEWARE": PLAIN + ["django.middleware.locale.LocaleMiddleware"],
        "USE_X_FORWARDED_HOST": True,
        "USE_X_FORWARDED_PORT": True,
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
    },
    "strict": {
        "ALLOWED_HOSTS": [".example.com", "testserver", "[::1]"],
        "CSRF_TRUSTED_ORIGINS": ["https://*.example.com", "https://[::1]"],
        "SECURE_SSL_REDIRECT": True,
        "FORCE_SCRIPT_NAME": "/mounted",
    },
    "threads": {
        "SESSION_ENGINE": "django.contrib.sessions.backends.file",
        "MIDDLEWARE": PLAIN + [__name__ + ".thread_middleware"],
        "CSRF_COOKIE_NAME": "sessionid",
        "APPEND_SLASH": False,
    },
    "members": {"PREPEND_WWW": True},
}
if importlib.util.find_spec("django.contrib.auth.middleware") and hasattr(
    importlib.import_module("django.contrib.auth.middleware"), "LoginRequiredMiddleware"
):
    SETTINGS["members"]["MIDDLEWARE"] = PLAIN + ["django.contrib.auth.middleware.LoginRequiredMiddleware"]


class Handler(WebsocketHandler):
    """A handler whose synchronous code runs in one thread."""

    use_database_threads = False


class project(override_settings):
    """The settings of a project; ``handler`` is its handler while they are in force."""

    handlers = {}

    def __init__(self, name):
        self.name = name
        super().__init__(**dict(COMMON, **SETTINGS[name]))

    def __enter__(self):
        super().__enter__()
        if self.name not in self.handlers:
            self.handlers[self.name] = Handler()
        return self.handlers[self.name]
