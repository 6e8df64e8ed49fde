"""The system checks: silent where nothing is wrong, and each said once where something is."""

import functools
import http.cookies
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, registry, run_checks
from django.core.handlers.asgi import ASGIHandler
from django.test import override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.utils.deprecation import MiddlewareMixin
from django.views import View
from django.views.generic import TemplateView

from pistoke import checks
from pistoke.asgi import get_asgi_application
from pistoke.bridge import asgi_view
from pistoke.checks import deployment, messages
from pistoke.middleware import WebsocketMiddleware
from pistoke.protocol import WebsocketProtocol, WebsocketSubprotocol
from pistoke.views import WebsocketView

from .asgi import urls

# What `django-admin startproject` of each supported Django writes.
DEFAULT_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
OURS = "pistoke.ohjain.WebsocketOhjain"


def said(messages):
    """Return the ids of messages, without the name of the package."""
    return [message.id.rpartition(".")[2] for message in messages]


# The constants -------------------------------------------------------------------------------------------------------


def constants():
    """Return the messages of the module by name."""
    return {name: value for name, value in vars(checks).items() if isinstance(value, CheckMessage)}


def test_each_id_is_the_name_of_its_constant():
    assert constants()
    assert all(message.id == "pistoke." + name for name, message in constants().items())


def test_each_message_is_in_the_table_of_the_module():
    assert set(constants()) == {line.split()[0] for line in checks.__doc__.splitlines() if line[1:4].isdigit()}


@pytest.mark.parametrize("name", sorted(constants()))
def test_each_message_says_what_to_do(name):
    # Those about settings are made for the setting in question.
    todo, _, where = constants()[name].hint.rpartition("See ")
    assert todo or name in ("E004", "W004")
    assert where == "docs/reference/checks.md#pistoke-{}.".format(name.lower())


def test_page_of_the_checks_has_a_section_for_each():
    page = Path(__file__).resolve().parent.parent / messages.PAGE
    sections = re.findall(r"^### pistoke\.(\w+)$", page.read_text(encoding="utf-8"), re.M)
    assert sorted(sections) == sorted(constants())


def test_saying_something_about_an_object_leaves_the_constant_alone():
    assert checks.about(checks.E001, "somewhere").obj == "somewhere"
    assert checks.E001.obj is None
    other = checks.about(checks.W004, "somewhere", hint="Expected another.")
    assert other.hint == "Expected another. See docs/reference/checks.md#pistoke-w004."


def test_checks_are_registered():
    registered = registry.registry.get_checks(include_deployment_checks=True)
    names = {check.__name__ for check in registered if check.__module__.startswith("pistoke.checks.")}
    assert names == {name for name in vars(checks) if name.startswith("check_") and "view" not in name} - {
        "check_setting"
    } | {"check_views"}


# A default project ---------------------------------------------------------------------------------------------------


ADDITIONS = """
INSTALLED_APPS.insert(0, "pistoke.Pistoke")
MIDDLEWARE.append("pistoke.ohjain.WebsocketOhjain")
ALLOWED_HOSTS = ["example.com"]
SILENCED_SYSTEM_CHECKS = ["pistoke.W008"]  # not the project's fault
"""


def test_new_project_hears_nothing(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    django = [sys.executable, "-m", "django"]
    subprocess.check_call(django + ["startproject", "brandnew", "."], cwd=str(tmp_path), env=environment, timeout=60)
    with open(str(tmp_path / "brandnew" / "settings.py"), "a") as settings:
        settings.write(ADDITIONS)
    said = subprocess.check_output(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "CRITICAL"],
        cwd=str(tmp_path),
        env=environment,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    assert b"System check identified" in said and b"pistoke" not in said, said.decode()


# Applications --------------------------------------------------------------------------------------------------------


class Application(AppConfig):
    """An application at a place of our choice."""

    def __init__(self, name, directory):
        self.path = str(directory)
        super().__init__(name, types.ModuleType(name))


@pytest.fixture
def installed(monkeypatch):
    """Return a function that makes these the installed applications, as far as the checks can see."""

    def install(*configs):
        monkeypatch.setattr(apps, "get_app_configs", lambda: iter(configs))

    return install


@pytest.fixture
def rival(tmp_path):
    """An application that has a ``runserver``, which must not be imported."""
    commands = tmp_path / "rival" / "management" / "commands"
    commands.mkdir(parents=True)
    (commands / "runserver.py").write_text("raise AssertionError('imported')")
    return Application("rival", tmp_path / "rival")


@pytest.fixture
def ours(tmp_path):
    """This application, without a directory."""
    return Application("pistoke", tmp_path / "ours")


def test_runserver_of_an_application_before_ours_is_named(installed, rival, ours):
    installed(rival, ours)
    message, = checks.check_runserver(None)
    assert (message.id, message.obj) == ("pistoke.W001", "rival")


def test_runserver_of_an_application_after_ours_is_what_ours_builds_on(installed, rival, ours):
    installed(ours, rival)
    assert checks.check_runserver(None) == []


def test_application_without_runserver_may_come_before_ours(installed, tmp_path, ours):
    installed(Application("other", tmp_path / "other"), ours)
    assert checks.check_runserver(None) == []


def test_runserver_that_builds_on_the_next_one_may_come_before_ours(installed, rival, ours):
    rival.name = "whitenoise.runserver_nostatic"
    installed(rival, ours)
    assert checks.check_runserver(None) == []


def test_nothing_is_said_where_this_application_is_not_installed(installed, rival):
    installed(rival)
    assert checks.check_runserver(None) == []


def test_staticfiles_before_ours_is_named():
    with override_settings(INSTALLED_APPS=["django.contrib.staticfiles", "pistoke"]):
        message, = checks.check_runserver(None)
    assert message.obj == "django.contrib.staticfiles"


# Middleware ----------------------------------------------------------------------------------------------------------


class Derived(WebsocketMiddleware):
    """A project's own."""


class Blocking(MiddlewareMixin):
    """Middleware that may do anything in its hook."""

    async_capable = False

    def process_request(self, request):
        """Do nothing."""


def test_missing_websocket_middleware():
    with override_settings(MIDDLEWARE=DEFAULT_MIDDLEWARE):
        assert said(checks.check_websocket_middleware(None)) == ["W002"]


@pytest.mark.parametrize("path", [OURS, "pistoke.middleware.WebsocketMiddleware", __name__ + ".Derived"])
def test_websocket_middleware_under_any_name(path):
    with override_settings(MIDDLEWARE=[path]):
        assert checks.check_websocket_middleware(None) == []


def test_blocking_middleware_is_named():
    path = __name__ + ".Blocking"
    with override_settings(MIDDLEWARE=DEFAULT_MIDDLEWARE + [path]):
        message, = checks.check_blocking_middleware(None)
    assert (message.id, message.obj, message.is_serious()) == ("pistoke.I001", path, False)


class Async:
    """Middleware that waits without blocking."""

    async_capable, sync_capable = True, False

    def __init__(self, get_response):
        pass


class Closing(MiddlewareMixin):
    """Middleware that only looks at responses, which a socket does not have."""

    def process_response(self, request, response):
        """Do nothing."""


def sync_factory(get_response):
    """Return a middleware as Django's documentation writes it."""


@pytest.mark.parametrize("name, expected", [("Async", []), ("Closing", []), ("sync_factory", ["I001"])])
def test_what_blocks_is_what_a_socket_would_have_to_wait_for_in_a_thread(name, expected):
    with override_settings(MIDDLEWARE=["{}.{}".format(__name__, name)]):
        assert said(checks.check_blocking_middleware(None)) == expected


def test_skipped_middleware_does_not_block():
    path = __name__ + ".Blocking"
    with override_settings(MIDDLEWARE=[path], PISTOKE_SKIP_MIDDLEWARE=[path]):
        assert checks.check_blocking_middleware(None) == []


@pytest.mark.parametrize("path", ["no.such.Middleware", "nodots", __name__ + ".NoSuch"])
def test_middleware_that_cannot_be_imported_is_left_to_django(path):
    with override_settings(MIDDLEWARE=[OURS, path]):
        assert checks.check_websocket_middleware(None) == []
        assert checks.check_blocking_middleware(None) == []


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value", sorted(checks.DEFAULTS.items(), key=str))
def test_every_default_is_of_the_right_type(name, value):
    assert checks.check_setting(name, value) == []


@pytest.mark.parametrize(
    "name, value",
    [
        ("PISTOKE_DISCONNECT_GRACE", 0),
        ("PISTOKE_DISCONNECT_GRACE", 2.5),
        ("PISTOKE_MAX_MESSAGE_SIZE", None),
        ("PISTOKE_SKIP_MIDDLEWARE", ["a.b"]),
        ("PISTOKE_MESSAGE_RATE", (60, 0.5)),
        ("PISTOKE_MESSAGE_RATE", [60, 10]),
        ("PISTOKE_IDLE_TIMEOUT", 0.5),
        ("PISTOKE_SEND_TIMEOUT", 30),
        ("PISTOKE_MAX_SOCKETS", 1),
    ],
)
def test_values_that_are_fine(name, value):
    with override_settings(**{name: value}):
        assert checks.check_settings(None) == []


@pytest.mark.parametrize(
    "name, value",
    [
        ("PISTOKE_DISCONNECT_GRACE", "10"),
        ("PISTOKE_DISCONNECT_GRACE", -1),
        ("PISTOKE_DISCONNECT_GRACE", True),
        ("PISTOKE_SHUTDOWN_GRACE", None),
        ("PISTOKE_DATABASE_THREADS", 0),
        ("PISTOKE_DATABASE_THREADS", 2.0),
        ("PISTOKE_MAX_MESSAGE_SIZE", "1M"),
        ("PISTOKE_SKIP_MIDDLEWARE", "a.b"),
        ("PISTOKE_SKIP_MIDDLEWARE", [Blocking]),
        ("PISTOKE_INBOUND_MESSAGES", None),
        ("PISTOKE_MESSAGE_RATE", "60/s"),
        ("PISTOKE_MESSAGE_RATE", 60),
        ("PISTOKE_MESSAGE_RATE", (0, 1)),
        ("PISTOKE_MESSAGE_RATE", (60, -1)),
        ("PISTOKE_IDLE_TIMEOUT", 0),
        ("PISTOKE_SEND_TIMEOUT", "30"),
        ("PISTOKE_MAX_SOCKETS", -1),
        ("PISTOKE_MAX_SOCKETS_PER_SESSION", 0),
    ],
)
def test_values_of_a_wrong_type(name, value):
    with override_settings(**{name: value}):
        message, = checks.check_settings(None)
    assert (message.id, message.obj) == ("pistoke.E004", name)
    assert message.msg.startswith("Expected a") and "got {!r}".format(value) in message.msg


@pytest.mark.parametrize("default, good, bad", [(True, False, 1), ("redis://", "memory://", None)])
def test_other_settings_are_of_the_type_of_their_default(monkeypatch, default, good, bad):
    monkeypatch.setitem(checks.DEFAULTS, "PISTOKE_FUTURE", default)
    assert checks.check_setting("PISTOKE_FUTURE", good) == []
    assert said(checks.check_setting("PISTOKE_FUTURE", bad)) == ["E004"]


def test_unknown_setting_is_named_and_the_known_ones_listed():
    with override_settings(PISTOKE_DISCONNECT_GRACES=1):
        message, = checks.check_settings(None)
    assert (message.id, message.obj) == ("pistoke.W004", "PISTOKE_DISCONNECT_GRACES")
    assert "PISTOKE_DISCONNECT_GRACE," in message.hint


def test_brokers_are_a_known_setting():
    with override_settings(PISTOKE_PUBSUB={"default": {"HISTORY": {"room.*": {"size": 10}}}}):
        assert checks.check_settings(None) == []


@pytest.mark.parametrize("hosts, expected", [(["*"], ["W005"]), (["a", "*"], ["W005"]), (["a"], []), ([], [])])
def test_any_origin(hosts, expected):
    with override_settings(ALLOWED_HOSTS=hosts):
        assert said(checks.check_origins(None)) == expected


@pytest.mark.parametrize(
    "application, view, expected",
    [
        ("django", "socket", ["W007"]),
        ("django", "page", []),
        ("ours", "socket", []),
        # Whoever runs a server learns of that.
        ("broken", "socket", []),
        ("missing", "socket", []),
    ],
)
def test_application_that_answers_no_sockets(monkeypatch, settings, application, view, expected):
    class Views(types.ModuleType):
        urlpatterns = [path("", {"socket": WebsocketProtocol(plain_async), "page": page}[view])]

    class Module(types.ModuleType):
        django = ASGIHandler()
        ours = staticmethod(get_asgi_application())

        @property
        def broken(self):
            raise ValueError

    for name, kind in (("some_project.urls", Views), ("some_project.asgi", Module)):
        monkeypatch.setitem(sys.modules, name, kind(name))
    settings.ROOT_URLCONF = "some_project.urls"
    settings.ASGI_APPLICATION = "some_project.asgi." + application
    found = checks.check_application(None)
    assert said(found) == expected
    assert [message.obj for message in found] == [settings.ASGI_APPLICATION] * len(expected)


def test_application_is_looked_for_where_startproject_has_made_it(settings):
    settings.ROOT_URLCONF = "some_project.urls"
    assert deployment.application_path() == "some_project.asgi.application"


@pytest.mark.parametrize(
    "version, corrected, expected", [((3, 13), False, []), ((3, 11), True, []), ((3, 11), False, ["W008"])]
)
def test_python_that_reads_cookies_slowly(monkeypatch, version, corrected, expected):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(http.cookies, "_unquote_replace", None, raising=False)
    if not corrected:
        monkeypatch.delattr(http.cookies, "_unquote_replace")
    assert said(checks.check_python(None)) == expected


def test_any_origin_is_a_question_of_deployment():
    with override_settings(ALLOWED_HOSTS=["*"]):
        assert "pistoke.W005" not in [message.id for message in run_checks(tags=["security"])]
        deployed = run_checks(tags=["security"], include_deployment_checks=True)
    assert "pistoke.W005" in [message.id for message in deployed]


# Brokers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("brokers, expected, obj", [
    ({"default": {}}, [], None),
    ({"default": {}, "other": {"OPTIONS": {}}}, [], None),
    ({"other": {}}, ["E005"], "default"),
    ({"default": {}, "other": {"BACKEND": "no.such.Broker"}}, ["E005"], "other"),
    ({"default": {"BACKEN": "?"}}, ["E005"], "default"),
    ("memory", [], None),
])
def test_brokers_that_cannot_be_made(brokers, expected, obj):
    with override_settings(PISTOKE_PUBSUB=brokers):
        messages = checks.check_brokers(None)
    assert said(messages) == expected
    assert [message.obj for message in messages] == ([obj] if obj else [])


def page(request):
    """A view that has nothing to do with sockets."""


async def plain_async(request):
    """A view of a socket."""


@pytest.mark.parametrize("view, expected", [
    (page, []),
    (WebsocketProtocol(plain_async), ["W006"]),
    (type("Class", (WebsocketView,), {"websocket": plain_async}).as_view(), ["W006"]),
])
def test_project_with_sockets(view, expected):
    with urls(view=view):
        assert said(checks.check_sign_out(None)) == expected


@pytest.mark.parametrize("settings, expected", [
    ({}, ["W006"]),
    ({"PISTOKE_SIGN_OUT": False}, []),
    ({"PISTOKE_PUBSUB": {"default": {"BACKEND": "tests.test_signout.Shared"}}}, []),
    # Another check says what is wrong.
    ({"PISTOKE_PUBSUB": {}}, []),
])
def test_one_process_or_several(settings, expected):
    with urls(view=WebsocketProtocol(plain_async)), override_settings(**settings):
        assert said(checks.check_sign_out(None)) == expected


@pytest.mark.parametrize("value, expected", [(30, []), (0.5, []), (None, []), (0, ["E004"]), ("30", ["E004"])])
def test_how_often_sessions_are_looked_up(value, expected):
    with override_settings(PISTOKE_SESSION_CHECK=value):
        assert said(checks.check_settings(None)) == expected


# View classes --------------------------------------------------------------------------------------------------------


def plain(function):
    """Decorate as so many do: a plain ``def`` that hands on what the view returns."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Right(WebsocketView):
    async def websocket(self, request):
        """Do nothing."""


@method_decorator(WebsocketProtocol, name="websocket")
class RightAndDecorated(Right):
    pass


@method_decorator(plain, name="websocket")
@method_decorator(plain, name="dispatch")
class RightAndDecoratedTwice(RightAndDecorated):
    pass


class RightForSockets(Right):
    http_method_names = ["get", "websocket"]


class RightByHand(View):
    http_method_names = View.http_method_names + ["websocket"]

    async def websocket(self, request):
        """Do nothing."""


class InAThread(WebsocketView):
    @sync_to_async
    def websocket(self, request):
        """Do nothing."""


class Callable(WebsocketView):
    class Socket:
        async def __call__(self, request):
            """Do nothing."""

    websocket = Socket()


class Unrelated(View):
    def websocket(self):
        """Return the address of a socket, say."""


class UnrelatedAttribute(TemplateView):
    websocket = "wss://example.com"


class Plain(WebsocketView):
    def websocket(self, request):
        """Do nothing."""


@method_decorator(WebsocketProtocol(), name="websocket")
class PlainAndDecorated(WebsocketView):
    def websocket(self, request):
        """Do nothing."""


class NotAllowed(View):
    async def websocket(self, request):
        """Do nothing."""


class Missing(WebsocketView):
    pass


@pytest.mark.parametrize(
    "view_class, expected",
    [
        (Right, []),
        (RightAndDecorated, []),
        (RightAndDecoratedTwice, []),
        (RightByHand, []),
        (RightForSockets, []),
        (InAThread, []),
        (Callable, []),
        (View, []),
        (TemplateView, []),
        (Unrelated, []),
        (UnrelatedAttribute, []),
        (Plain, ["E001"]),
        (PlainAndDecorated, ["E001"]),
        (NotAllowed, ["E002"]),
        (Missing, ["W003"]),
    ],
)
def test_view_classes(view_class, expected):
    messages = checks.check_view_class(view_class, {})
    assert said(messages) == expected
    assert all(message.obj == "{}.{}".format(__name__, view_class.__qualname__) for message in messages)


def test_methods_given_to_as_view_count():
    assert said(checks.check_view(Right.as_view(http_method_names=["get"]))) == ["E002"]
    assert checks.check_view(NotAllowed.as_view(http_method_names=["get", "websocket"])) == []


@pytest.mark.parametrize(
    "decorated",
    [
        Missing.as_view(),
        plain(plain(Missing.as_view())),
        functools.partial(plain(Missing.as_view()), page=1),
        plain(functools.partial(Missing.as_view(), page=1)),
        WebsocketProtocol(Missing.as_view()),
    ],
    ids=["bare", "decorated", "partial", "decorated partial", "protocol"],
)
def test_view_class_is_found_under_any_decorator(decorated):
    assert said(checks.check_view(decorated)) == ["W003"]


# Function views ------------------------------------------------------------------------------------------------------


async def socket_view(request):
    """Do nothing."""


def page_view(request):
    """Do nothing."""


def wrapped_in_itself(request):
    """Do nothing."""


wrapped_in_itself.__wrapped__ = wrapped_in_itself


class AnythingGoes:
    """An object that has any attribute, and none."""

    def __getattr__(self, name):
        return self

    def __call__(self, request):
        """Do nothing."""


@pytest.mark.parametrize(
    "view",
    [
        socket_view,
        page_view,
        plain(page_view),
        WebsocketProtocol(socket_view),
        plain(WebsocketSubprotocol("a")(plain(socket_view))),
        functools.partial(WebsocketProtocol(socket_view), page=1),
        wrapped_in_itself,
        AnythingGoes(),
    ],
)
def test_function_views_that_are_fine(view):
    assert checks.check_view(view) == []


@pytest.mark.parametrize(
    "view",
    [
        WebsocketProtocol(page_view),
        plain(WebsocketProtocol(page_view)),
        WebsocketSubprotocol("a")(plain(page_view)),
        functools.partial(WebsocketProtocol(page_view), page=1),
    ],
)
def test_protocol_on_a_plain_def(view):
    message, = checks.check_view(view)
    assert (message.id, message.obj) == ("pistoke.E003", __name__ + ".page_view")


# The URLconf ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def urlconf(settings):
    """Return a function that makes these the patterns of the project."""
    module = types.ModuleType("tests.urlconf_of_test_checks")
    sys.modules[module.__name__] = module
    settings.ROOT_URLCONF = module.__name__

    def install(*patterns):
        module.urlpatterns = list(patterns)
        return module

    yield install
    del sys.modules[module.__name__]


def test_views_of_the_urlconf_are_checked(urlconf):
    urlconf(path("a", Right.as_view()), path("b", Missing.as_view()), path("c", NotAllowed.as_view()))
    assert said(checks.check_views(None)) == ["W003", "E002"]


def test_view_that_is_routed_twice_is_named_once(urlconf):
    urlconf(path("a", Missing.as_view()), path("b", plain(Missing.as_view())))
    assert said(checks.check_views(None)) == ["W003"]


def test_included_and_namespaced_urlconfs_are_walked(urlconf):
    inner = [path("a", Missing.as_view())]
    urlconf(path("inner/", include(([path("deeper/", include((inner, "app"), namespace="x"))], "app"))))
    assert said(checks.check_views(None)) == ["W003"]


def test_urlconf_that_includes_itself_is_walked_once(urlconf):
    module = urlconf(path("a", Missing.as_view()))
    module.urlpatterns.append(path("again/", include(module)))
    assert said(checks.check_views(None)) == ["W003"]


@pytest.mark.parametrize("name", ["no.such.module", None, ""])
def test_missing_urlconf_is_left_to_django(settings, name):
    settings.ROOT_URLCONF = name
    assert checks.check_views(None) == []


@pytest.mark.parametrize("patterns", [None, 1, ["a string"], [("a", "tuple")]])
def test_broken_urlconf_is_left_to_django(urlconf, patterns):
    urlconf().urlpatterns = patterns
    assert checks.check_views(None) == []


def test_views_beside_a_broken_include_are_checked(urlconf):
    broken = types.ModuleType("broken")
    urlconf(path("a", include(broken)), path("b", Missing.as_view()))
    assert said(checks.check_views(None)) == ["W003"]


# Consumers of Channels ------------------------------------------------------------------------------------------------


class Consumer:
    @classmethod
    def as_asgi(cls):
        """As in Channels 3 and 4."""

        async def application(scope, receive, send):
            raise AssertionError("not called")

        application.consumer_class = cls
        return functools.update_wrapper(application, cls, updated=())


def test_consumer_is_no_view():
    decorated = functools.wraps(Consumer.as_asgi())(lambda request: None)
    assert said(checks.check_view(Consumer.as_asgi())) == ["E006"]
    assert said(checks.check_view(decorated)) == ["E006"]
    assert said(checks.check_view(Consumer)) == ["E006"]
    assert checks.check_view(asgi_view(Consumer.as_asgi())) == []
