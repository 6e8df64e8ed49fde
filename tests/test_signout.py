"""Sockets of users who sign out, in whichever way, are closed; all others are not."""
import asyncio
import datetime
import inspect
import os
import subprocess
import sys

import pytest
import pytest_django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from pistoke.exceptions import BrokerUnavailable
from pistoke.handler import WebsocketHandler
from pistoke.protocol import WebsocketProtocol
from pistoke.pubsub import adisconnect, disconnect, registry, signout, standing
from pistoke.pubsub.broker import brokers
from pistoke.pubsub.memory import MemoryBroker, MemoryLink
from pistoke.pubsub.standing import look

from .asgi import Server, urls
from .test_chain import until

#: With this nobody is told that tables are empty, which takes ten times as long as to empty them. It is new in 4.6.
QUICKLY = {"available_apps": settings.INSTALLED_APPS} if pytest_django.__version__ >= "4.6" else {}

pytestmark = pytest.mark.django_db(transaction=True, **QUICKLY)

#: How long nothing happens where nothing is to happen, in seconds.
SILENCE = 0.05

BACKENDS = "django.contrib.sessions.backends."
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


class Handler(WebsocketHandler):
    """Runs all synchronous code in one thread: the database in memory locks whole tables."""

    use_database_threads = False


# Views


async def view(request):
    async with request.follow(request.GET.get("topic", "lobby")):
        async for _ in request:
            pass


@WebsocketProtocol
async def logs_in(request):
    await request.receive()
    user = await sync_to_async(get_user_model().objects.get)(username="aino")
    await sync_to_async(login)(request, user, MODEL_BACKEND)
    await sync_to_async(request.session.save)()
    await request.send("welcome")
    async for _ in request:
        pass


def http(function):
    """Return a view that calls a function."""

    def http_view(request):
        function(request)
        return HttpResponse()

    return http_view


def change_password(request):
    request.user.set_password("another")
    request.user.save()
    update_session_auth_hash(request, request.user)


def forget_session(request):
    request.user.set_password("another")
    request.user.save()


def visit(request):
    request.session["visits"] = 1


def rename(request):
    request.user.first_name = "Aino"
    request.user.save()


def retire(request):
    request.user.is_active = False
    request.user.save()


def log_in_anew(request):
    login(request, get_user_model().objects.get(username=request.GET["name"]), MODEL_BACKEND)


VIEWS = {
    function.__name__: http(function)
    for function in (visit, logout, change_password, forget_session, rename, retire, log_in_anew)
}


# Sockets


class Sockets:
    """The sockets of a test."""

    def __init__(self):
        # Made late: a test may override settings first.
        self.handler = None
        self.tasks = []

    async def open(self, client=None, path="/view/", **scope):
        """Open a socket with the cookies of an HTTP client; return its server, None where it was refused."""
        self.handler = self.handler or Handler()
        cookies = "; ".join("{}={}".format(name, morsel.value) for name, morsel in client.cookies.items()) if client else ""
        server = Server(path, headers=[("cookie", cookies)] if cookies else (), **scope)
        self.tasks.append((server, server.start(self.handler)))
        await server.until(1)
        return server

    async def leave(self):
        """Let all clients leave, and wait until their views have ended."""
        for server, _ in self.tasks:
            server.leave()
        if self.tasks:
            await asyncio.wait([task for _, task in self.tasks], timeout=10)
        registry = signout.registry()
        assert len(registry) == 0
        registry._line.close()
        registry.broker.hub().close()
        await asyncio.wait_for(until(lambda: not (registry._looking or registry._closing)), 5)


def with_sockets(test):
    """Give a test its sockets and HTTP views; afterwards nothing is left."""

    async def wrapped(self, *args, **kwargs):
        sockets = Sockets()
        with urls(view=view, logs_in=logs_in, **VIEWS):
            try:
                await test(self, sockets, *args, **kwargs)
            finally:
                await sockets.leave()

    wrapped.__name__ = test.__name__
    parameters = [p for name, p in inspect.signature(test).parameters.items() if name != "sockets"]
    wrapped.__signature__ = inspect.Signature(parameters)
    return wrapped


def thread(function):
    """Return a function that runs in the thread of the database, and is awaited."""
    return sync_to_async(function)


@thread
def make_user(name="aino", **fields):
    return get_user_model().objects.create_user(name, password="first", **fields)


@thread
def signed_in(user, backend=None):
    """Return an HTTP client of a user."""
    client = Client()
    client.force_login(user, backend)
    return client


async def two(sockets):
    """Return a user, a client and an open socket of two sessions."""
    user = await make_user()
    clients = [await signed_in(user), await signed_in(user)]
    return [user] + clients + [await sockets.open(client) for client in clients]


async def closed(*servers):
    """Wait until sockets are closed; return with which codes."""
    for server in servers:
        await asyncio.wait_for(until(lambda server=server: server.closed is not None), 5)
    return [server.closed for server in servers]


async def none_closed(*servers):
    """Return whether sockets stay open."""
    await asyncio.sleep(SILENCE)
    return [server.closed for server in servers] == [None] * len(servers)


async def get(client, path):
    """Let a client get a page."""
    response = await sync_to_async(client.get)(path)
    assert response.status_code == 200


class Shared(MemoryBroker):
    """A broker that counts as one of several processes. It is slow to subscribe while its ``gate`` is closed."""

    shared = True
    broken = False

    def __init__(self, *args):
        super().__init__(*args)
        self.gate = None
        self.published = []

    def _publish(self, topic, payload):
        if self.broken:
            raise BrokerUnavailable(self.alias, "it is broken")
        self.published.append((topic, payload))
        if self.gate is not None and not self.gate.done():
            # Nobody hears it.
            return None
        return super()._publish(topic, payload)

    def connect(self, hub):
        link = SharedLink(self, hub)
        self._links.add(link)
        return link


class SharedLink(MemoryLink):
    def subscribe(self, topic):
        future = asyncio.get_event_loop().create_future()
        if self._broker.broken:
            future.set_exception(BrokerUnavailable("default", "it is broken"))
        elif self._broker.gate is None:
            future.set_result(None)
        else:
            return self._broker.gate
        return future


SHARED = {"default": {"BACKEND": __name__ + ".Shared"}}


class TestLogout:
    @with_sockets
    async def test_sockets_of_the_session_are_closed(self, sockets):
        _, client, _, mine, others = await two(sockets)
        second = await sockets.open(client)
        await get(client, "/logout/")
        assert await closed(mine, second) == [4401, 4401]
        assert await none_closed(others)

    @with_sockets
    async def test_asynchronous_logout(self, sockets):
        user = await make_user()
        client = AsyncClient()
        await sync_to_async(client.force_login)(user)
        server = await sockets.open(client)
        await client.get("/logout/")
        assert await closed(server) == [4401]

    @with_sockets
    async def test_client_is_refused_where_it_comes_too_late(self, sockets):
        _, client, _, mine, _ = await two(sockets)
        await get(client, "/logout/")
        await closed(mine)
        server = await sockets.open(client)
        assert server.types == ["accept"]
        assert len(signout.registry()) == 1

    @with_sockets
    async def test_session_that_ends_after_it_was_told_is_looked_at_again(self, sockets, monkeypatch):
        monkeypatch.setattr(registry, "SECOND_LOOK", SILENCE)
        _, client, _, mine, others = await two(sockets)
        signout.tell(signout.make_news("close", session=key_of(client), again=True))
        await closed(mine)
        late = await sockets.open(client)
        await thread(client.session.flush)()
        assert await closed(late) == [4401]
        assert await none_closed(others)

    @with_sockets
    async def test_without_sign_out(self, sockets):
        with override_settings(PISTOKE_SIGN_OUT=False):
            _, client, _, mine, others = await two(sockets)
            await get(client, "/logout/")
            await thread(lambda: get_user_model().objects.all().delete())()
            assert await none_closed(mine, others)

    @with_sockets
    async def test_anonymous_sockets_cost_nothing(self, sockets):
        client = Client()
        await get(client, "/visit/")
        assert client.cookies["sessionid"].value
        await sockets.open(client)
        await sockets.open()
        assert len(signout.registry()) == 0
        assert signout.registry()._timer is None

    @pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file", "signed_cookies"])
    @with_sockets
    async def test_every_engine_of_sessions(self, sockets, engine, tmp_path):
        with override_settings(
            SESSION_ENGINE=BACKENDS + engine, SESSION_FILE_PATH=str(tmp_path), PISTOKE_SESSION_CHECK=SILENCE / 2
        ):
            user = await make_user()
            client, other = await signed_in(user), await signed_in(user)
            server, left = await sockets.open(client), await sockets.open(other)
            # It is looked up, and found to be alive.
            await asyncio.sleep(SILENCE)
            assert await none_closed(server, left)
            await get(client, "/logout/")
            assert await closed(server) == [4401]
            if engine != "signed_cookies":
                assert await none_closed(left)
                # Nobody tells of this.
                await thread(lambda: other.session.flush())()
            assert await closed(left) == [4401]

    @with_sockets
    async def test_reconnecting_is_possible_with_a_session_in_a_cookie(self, sockets):
        with override_settings(SESSION_ENGINE=BACKENDS + "signed_cookies"):
            user = await make_user()
            client, other = await signed_in(user), await signed_in(user)
            await sockets.open(other)
            await get(client, "/logout/")
            await asyncio.sleep(SILENCE)
            assert await none_closed(await sockets.open(other))


def key_of(client):
    """Return the fingerprint of a client's session."""
    return standing.fingerprint(client.cookies["sessionid"].value)


class TestPassword:
    @pytest.mark.parametrize("asynchronous", [False, True])
    @with_sockets
    async def test_session_that_changes_it_goes_on(self, sockets, asynchronous):
        user, client, _, mine, others = await two(sockets)
        if asynchronous:
            by = AsyncClient()
            by.cookies = client.cookies
            await by.get("/change_password/")
        else:
            await get(client, "/change_password/")
        assert await closed(others) == [4401]
        assert await none_closed(mine)
        # It goes on under another key, which the sockets are known by from now on.
        await get(client, "/logout/")
        assert await closed(mine) == [4401]

    @with_sockets
    async def test_session_that_changes_it_is_found_alive(self, sockets):
        with override_settings(PISTOKE_SESSION_CHECK=SILENCE):
            _, client, _, mine, others = await two(sockets)
            await get(client, "/change_password/")
            assert await closed(others) == [4401]
            await asyncio.sleep(2 * SILENCE)
            assert await none_closed(mine)

    @with_sockets
    async def test_session_that_is_not_told_ends(self, sockets):
        _, client, _, mine, others = await two(sockets)
        await get(client, "/forget_session/")
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_somebody_else_changes_it(self, sockets):
        user, _, _, mine, others = await two(sockets)
        stranger = await sockets.open(await signed_in(await make_user("eino")))
        user.set_password("another")
        await thread(user.save)()
        assert await closed(mine, others) == [4401, 4401]
        assert await none_closed(stranger)

    @with_sockets
    async def test_other_changes_are_none(self, sockets):
        user, client, _, mine, others = await two(sockets)
        await get(client, "/rename/")
        await thread(user.save)()
        await thread(lambda: user.save(update_fields=["last_login"]))()
        assert await none_closed(mine, others)

    @with_sockets
    async def test_transaction_is_waited_for(self, sockets):
        user, _, _, mine, others = await two(sockets)
        user.set_password("another")

        def change(fails):
            with transaction.atomic():
                user.save()
                assert not fails

        with pytest.raises(AssertionError):
            await thread(change)(True)
        assert await none_closed(mine, others)
        await thread(change)(False)
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_user_of_whom_it_cannot_be_told_is_saved(self, sockets, monkeypatch, caplog):
        user, _, _, mine, _ = await two(sockets)
        monkeypatch.setattr("pistoke.pubsub.accounts.auth_of", lambda user: 1 / 0)
        await thread(user.save)()
        assert await none_closed(mine)
        assert "could not be found out" in caplog.text


class TestUser:
    @with_sockets
    async def test_deactivated(self, sockets):
        user, _, _, mine, others = await two(sockets)
        user.is_active = False
        await thread(lambda: user.save(update_fields=["is_active"]))()
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_deactivated_by_themselves(self, sockets):
        _, client, _, mine, others = await two(sockets)
        await get(client, "/retire/")
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_backend_may_let_the_inactive_in(self, sockets):
        lenient = "django.contrib.auth.backends.AllowAllUsersModelBackend"
        with override_settings(AUTHENTICATION_BACKENDS=[MODEL_BACKEND, lenient], PISTOKE_SESSION_CHECK=SILENCE):
            user = await make_user()
            strict = await sockets.open(await signed_in(user, MODEL_BACKEND))
            spared = await sockets.open(await signed_in(user, lenient))
            user.is_active = False
            await thread(user.save)()
            assert await closed(strict) == [4401]
            await asyncio.sleep(2 * SILENCE)
            assert await none_closed(spared)

    @with_sockets
    async def test_deleted(self, sockets):
        user, _, _, mine, others = await two(sockets)
        await thread(user.delete)()
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_same_user_logs_in_again(self, sockets):
        with override_settings(PISTOKE_SESSION_CHECK=SILENCE):
            _, client, _, mine, others = await two(sockets)
            await get(client, "/log_in_anew/?name=aino")
            await asyncio.sleep(2 * SILENCE)
            assert await none_closed(mine, others)
            await get(client, "/logout/")
            assert await closed(mine) == [4401]

    @with_sockets
    async def test_another_user_logs_in(self, sockets):
        _, client, _, mine, others = await two(sockets)
        await make_user("eino")
        await get(client, "/log_in_anew/?name=eino")
        assert await closed(mine) == [4401]
        assert await none_closed(others)

    @with_sockets
    async def test_view_logs_its_user_in(self, sockets):
        user = await make_user()
        server = await sockets.open(path="/logs_in/")
        server.say("hello")
        await server.until(2)
        await asyncio.wait_for(until(lambda: len(signout.registry()) == 1), 5)
        assert await none_closed(server)
        await thread(user.delete)()
        assert await closed(server) == [4401]


class TestDisconnect:
    @with_sockets
    async def test_user(self, sockets):
        user, _, _, mine, others = await two(sockets)
        stranger = await sockets.open(await signed_in(await make_user("eino")))
        await thread(disconnect)(user=user, code=4403, reason="why")
        assert await closed(mine, others) == [4403, 4403]
        assert mine.sent[-1]["reason"] == "why"
        assert await none_closed(stranger)

    @with_sockets
    async def test_primary_key(self, sockets):
        user, _, _, mine, others = await two(sockets)
        await adisconnect(user=user.pk)
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_session(self, sockets):
        _, client, other, mine, others = await two(sockets)
        await adisconnect(session=client.cookies["sessionid"].value)
        assert await closed(mine) == [4401]
        assert await none_closed(others)
        await adisconnect(session=await thread(lambda: other.session)())
        assert await closed(others) == [4401]

    @with_sockets
    async def test_topic(self, sockets):
        user, client, _, _, _ = await two(sockets)
        secret, lobby = await sockets.open(client, "/view/?topic=secret"), await sockets.open(client)
        stranger = await sockets.open(await signed_in(await make_user("eino")), "/view/?topic=secret")
        await asyncio.sleep(0)
        await adisconnect(user=user, topic="secret")
        assert await closed(secret) == [4401]
        assert await none_closed(lobby, stranger)

    @with_sockets
    async def test_commit_is_waited_for(self, sockets):
        user, _, _, mine, others = await two(sockets)

        def revoke(fails):
            with transaction.atomic():
                disconnect(user=user)
                assert not fails

        with pytest.raises(AssertionError):
            await thread(revoke)(True)
        assert await none_closed(mine, others)
        await thread(revoke)(False)
        assert await closed(mine, others) == [4401, 4401]

    @pytest.mark.parametrize("arguments, error", [
        ({}, TypeError),
        ({"user": 1, "session": "a"}, TypeError),
        ({"user": 1, "topic": "not a topic"}, ValueError),
        ({"user": 1, "topic": "pistoke:signout"}, ValueError),
        ({"user": 1, "code": 1005}, ValueError),
    ])
    def test_arguments_are_checked(self, arguments, error):
        with pytest.raises(error, match="expected"):
            disconnect(**arguments)

    async def test_blocking_in_a_coroutine_is_refused(self):
        with pytest.raises(RuntimeError, match="await adisconnect"):
            disconnect(user=1)

    @with_sockets
    async def test_a_thousand_sockets(self, sockets):
        user = await make_user()
        with override_settings(MIDDLEWARE=[__name__ + ".OneUser"]):
            OneUser.user = user
            servers = await asyncio.gather(*(sockets.open() for _ in range(1000)))
        assert len(signout.registry()) == 1000
        await adisconnect(user=user)
        assert set(await closed(*servers)) == {4401}


class TestIndex:
    def test_sockets_are_found_by_what_they_have_in_common(self):
        index = registry.Index()
        one, two = [object.__new__(registry.SignedIn) for _ in range(2)]
        index.put("a", one)
        index.put(None, one)
        assert (index.of("a"), index.of("b"), index.of(None)) == ([one], [], [])
        index.put("a", two)
        index.put("a", two)
        assert index.of("a") == [one, two]
        index.drop("a", one)
        index.drop("a", one)
        assert index.of("a") == [two]
        index.drop("b", one)
        index.drop(None, one)
        index.drop("a", two)
        assert index.of("a") == [] and not index._found

    def test_one_that_is_not_there_is_not_dropped(self):
        index = registry.Index()
        one, two = [object.__new__(registry.SignedIn) for _ in range(2)]
        index.put("a", one)
        index.drop("a", two)
        assert index.of("a") == [one]


class TestRaces:
    @with_sockets
    async def test_during_the_handshake(self, sockets, monkeypatch):
        """The session is loaded, and then ends before the socket is known."""
        user = await make_user()
        client = await signed_in(user)
        admit = signout.admit

        def late(request, since):
            signout.registry().told(signout.make_news("close", user=str(user.pk)))
            return admit(request, since)

        monkeypatch.setattr(signout, "admit", late)
        server = await sockets.open(client)
        assert server.status == 401
        assert len(signout.registry()) == 0

    @with_sockets
    async def test_more_is_told_during_the_handshake_than_is_remembered(self, sockets, monkeypatch):
        user = await make_user()
        client = await signed_in(user)
        admit = signout.admit

        def late(request, since):
            for _ in range(registry.REMEMBERED + 1):
                signout.registry().told(signout.make_news("close", user="0"))
            return admit(request, since)

        def find_all_gone(sockets):
            finding = standing.Finding()
            finding.gone.extend(sockets)
            return finding

        monkeypatch.setattr(signout, "admit", late)
        monkeypatch.setattr(registry, "look", find_all_gone)
        server = await sockets.open(client)
        assert await closed(server) == [4401]

    @with_sockets
    async def test_before_the_socket_is_open(self, sockets):
        """It is known, and its view has not opened it yet."""
        user = await make_user()
        client = await signed_in(user)
        gate = asyncio.Event()

        async def slow(request):
            await gate.wait()
            return await WebsocketProtocol(view)(request)

        slow.websocket_protocol = None
        with urls(view=slow):
            opening = asyncio.ensure_future(sockets.open(client))
            await asyncio.wait_for(until(lambda: len(signout.registry()) == 1), 5)
            await adisconnect(user=user)
            server = await opening
            gate.set()
        assert server.status in (None, 403)
        assert await closed(server) == [4401]

    @with_sockets
    async def test_while_the_view_ends(self, sockets):
        user = await make_user()
        client = await signed_in(user)
        servers = [await sockets.open(client) for _ in range(20)]
        for server in servers:
            server.leave()
        await adisconnect(user=user)
        await asyncio.wait([task for _, task in sockets.tasks], timeout=5)
        assert len(signout.registry()) == 0

    @with_sockets
    async def test_client_that_does_not_read_is_closed_without_waiting(self, sockets):
        user = await make_user()
        client = await signed_in(user)
        with override_settings(PISTOKE_SHUTDOWN_GRACE=SILENCE):
            server = await sockets.open(client)
            server.hold()
            await adisconnect(user=user)
            await asyncio.wait_for(until(lambda: len(signout.registry()) == 0), 5)
            await asyncio.sleep(2 * SILENCE)
            assert not signout.registry()._closing
            server.release()


class TestLookingUp:
    """What nobody tells."""

    @pytest.fixture(autouse=True)
    def often(self):
        with override_settings(PISTOKE_SESSION_CHECK=SILENCE):
            yield

    @with_sockets
    async def test_update_of_many(self, sockets):
        user, _, _, mine, others = await two(sockets)
        stranger = await sockets.open(await signed_in(await make_user("eino")))
        await thread(lambda: get_user_model().objects.filter(pk=user.pk).update(is_active=False))()
        assert await closed(mine, others) == [4401, 4401]
        assert await none_closed(stranger)

    @with_sockets
    async def test_password_that_was_set_behind_its_back(self, sockets):
        user, _, _, mine, others = await two(sockets)
        await thread(lambda: get_user_model().objects.update(password="!"))()
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_session_that_was_told_of_a_password_goes_on(self, sockets):
        user, client, _, mine, others = await two(sockets)

        def change():
            user.set_password("another")
            get_user_model().objects.update(password=user.password)
            session = client.session
            session["_auth_user_hash"] = user.get_session_auth_hash()
            session.save()

        await thread(change)()
        assert await closed(others) == [4401]
        await asyncio.sleep(2 * SILENCE)
        assert await none_closed(mine)

    @with_sockets
    async def test_session_that_was_deleted(self, sockets):
        _, client, _, mine, others = await two(sockets)
        key = client.cookies["sessionid"].value
        await thread(lambda: Session.objects.filter(pk=key).delete())()
        assert await closed(mine) == [4401]
        assert await none_closed(others)

    @with_sockets
    async def test_session_that_expires(self, sockets):
        with override_settings(PISTOKE_SESSION_CHECK=2):
            _, client, other, mine, others = await two(sockets)

            def shorten():
                expiry = timezone.now() + datetime.timedelta(seconds=0.5)
                Session.objects.filter(pk=client.cookies["sessionid"].value).update(expire_date=expiry)
                return expiry

            expiry = await thread(shorten)()
            # Its expiry is known from the first look on.
            signout.registry()._doubt(list(signout.registry()._all))
            assert await closed(mine) == [4401]
            assert timezone.now() - expiry < datetime.timedelta(seconds=1)
            assert await none_closed(others)

    @with_sockets
    async def test_session_of_a_moment(self, sockets):
        with override_settings(SESSION_COOKIE_AGE=1, PISTOKE_SESSION_CHECK=30):
            user = await make_user()
            server = await sockets.open(await signed_in(user))
            assert await closed(server) == [4401]

    @with_sockets
    async def test_moved_session_ends_where_it_was_to_expire(self, sockets):
        with override_settings(PISTOKE_SESSION_CHECK=30):
            _, client, _, mine, others = await two(sockets)
            with override_settings(SESSION_COOKIE_AGE=1):
                await get(client, "/change_password/")
            assert await closed(others, mine) == [4401, 4401]

    @with_sockets
    async def test_never(self, sockets):
        with override_settings(PISTOKE_SESSION_CHECK=None):
            user, _, _, mine, others = await two(sockets)
            assert signout.registry()._timer is None
            await thread(lambda: get_user_model().objects.update(is_active=False))()
            assert await none_closed(mine, others)

    @with_sockets
    async def test_database_that_is_away_signs_nobody_out(self, sockets, monkeypatch, caplog):
        user, _, _, mine, others = await two(sockets)
        monkeypatch.setattr(registry, "look", lambda sockets: 1 / 0)
        await asyncio.sleep(2 * SILENCE)
        assert await none_closed(mine, others)
        assert "could not be looked up" in caplog.text
        monkeypatch.undo()
        await thread(lambda: get_user_model().objects.update(is_active=False))()
        with override_settings(PISTOKE_SESSION_CHECK=SILENCE):
            assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_timer_ends_with_the_last_socket(self, sockets):
        _, _, _, mine, others = await two(sockets)
        assert signout.registry()._timer is not None
        for server, task in sockets.tasks:
            server.leave()
            await task
        assert signout.registry()._timer is None

    @with_sockets
    async def test_two_queries_for_many(self, sockets, django_assert_num_queries):
        clients = [await signed_in(await make_user("user{}".format(number))) for number in range(20)]
        for client in clients + clients:
            await sockets.open(client)

        noted = list(signout.registry()._all)

        def count():
            with django_assert_num_queries(2, connection=connection):
                finding = look(noted)
            return finding.gone, len(finding.expiries)

        assert await thread(count)() == ([], 40)


class TestProcesses:
    """Several processes, and the engine between them."""

    @pytest.fixture(autouse=True)
    def shared(self, monkeypatch):
        # What is told comes over the engine only.
        monkeypatch.setattr(signout, "tell_here", lambda news: None)
        with override_settings(PISTOKE_PUBSUB=SHARED):
            yield

    async def heard(self):
        await asyncio.wait_for(until(lambda: signout.registry()._line.heard), 5)

    @with_sockets
    async def test_news_comes_over_the_engine(self, sockets):
        _, client, _, mine, others = await two(sockets)
        await self.heard()
        await get(client, "/logout/")
        assert await closed(mine) == [4401]
        assert await none_closed(others)

    @with_sockets
    async def test_keys_of_sessions_do_not_travel(self, sockets):
        user, client, _, mine, others = await two(sockets)
        await self.heard()
        keys = [client.cookies["sessionid"].value]
        await get(client, "/change_password/")
        keys.append(client.cookies["sessionid"].value)
        await get(client, "/logout/")
        await closed(mine, others)
        travelled = repr(brokers["default"].published)
        assert keys[0] != keys[1]
        assert not any(key in travelled for key in keys)
        assert user.password not in travelled and user.get_session_auth_hash() not in travelled

    @with_sockets
    async def test_what_was_not_heard_is_looked_up(self, sockets):
        """The first socket of a process is known before its process hears the others."""
        brokers["default"].gate = gate = asyncio.get_event_loop().create_future()
        user, _, _, mine, others = await two(sockets)
        await thread(user.delete)()
        assert await none_closed(mine, others)
        gate.set_result(None)
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_what_is_not_heard_while_the_engine_is_away_is_looked_up(self, sockets):
        user, _, _, mine, others = await two(sockets)
        await self.heard()
        links, brokers["default"]._links = brokers["default"]._links, set()
        await thread(user.delete)()
        assert await none_closed(mine, others)
        brokers["default"]._links = links
        await brokers["default"].hub().restored()
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_no_socket_is_open_no_line_is_held(self, sockets, monkeypatch):
        monkeypatch.setattr("pistoke.pubsub.line.LINGER", SILENCE)
        await two(sockets)
        await self.heard()
        assert registry.TOPIC in brokers["default"].hub().topics
        for server, task in sockets.tasks:
            server.leave()
            await task
        await asyncio.wait_for(until(lambda: not brokers["default"].hub().topics), 5)

    @with_sockets
    async def test_nonsense_is_not_understood(self, sockets, caplog):
        _, client, _, mine, _ = await two(sockets)
        await self.heard()
        brokers["default"].hub().arrived(signout_message("snonsense"))
        assert "could not be understood" in caplog.text
        await get(client, "/logout/")
        assert await closed(mine) == [4401]


def signout_message(payload):
    from pistoke.pubsub.message import Message

    return Message(registry.TOPIC, payload)


class TestEngineIsDown:
    @pytest.fixture(autouse=True)
    def broken(self, monkeypatch):
        monkeypatch.setattr(Shared, "broken", True)
        monkeypatch.setattr("pistoke.pubsub.line.FIRST_DELAY", SILENCE)
        with override_settings(PISTOKE_PUBSUB=SHARED):
            yield

    @pytest.fixture(autouse=True)
    def views_follow_nothing(self, monkeypatch):
        async def reads(request):
            async for _ in request:
                pass

        monkeypatch.setitem(globals(), "view", WebsocketProtocol(reads))

    @with_sockets
    async def test_sockets_of_this_process_are_closed(self, sockets, caplog):
        _, client, _, mine, others = await two(sockets)
        await get(client, "/logout/")
        assert await closed(mine) == [4401]
        assert "could not be told" in caplog.text
        assert "cannot be heard" in caplog.text

    @with_sockets
    async def test_who_disconnects_is_told(self, sockets):
        user, _, _, mine, others = await two(sockets)
        with pytest.raises(BrokerUnavailable):
            await adisconnect(user=user)
        assert await closed(mine, others) == [4401, 4401]

    @with_sockets
    async def test_the_engine_comes_up(self, sockets, monkeypatch):
        user, _, _, mine, others = await two(sockets)
        await thread(lambda: get_user_model().objects.update(is_active=False))()
        assert await none_closed(mine, others)
        monkeypatch.setattr(Shared, "broken", False)
        assert await closed(mine, others) == [4401, 4401]


class TestUserWithoutSession:
    """A middleware of the project's own has let a user in."""

    @pytest.fixture(autouse=True)
    def tokens(self):
        middleware = __name__ + ".TokenMiddleware"
        with override_settings(MIDDLEWARE=[middleware], PISTOKE_SESSION_CHECK=SILENCE):
            yield

    @with_sockets
    async def test_password_means_nothing(self, sockets):
        user = await make_user()
        server = await sockets.open(path="/view/?user=aino")
        assert len(signout.registry()) == 1
        user.set_password("another")
        await thread(user.save)()
        await asyncio.sleep(2 * SILENCE)
        assert await none_closed(server)

    @pytest.mark.parametrize("how", ["save", "update", "delete", "disconnect"])
    @with_sockets
    async def test_user_who_is_no_more(self, sockets, how):
        user = await make_user()
        server = await sockets.open(path="/view/?user=aino")
        user.is_active = False
        await thread({
            "save": user.save,
            "update": lambda: get_user_model().objects.update(is_active=False),
            "delete": user.delete,
            "disconnect": lambda: disconnect(user=user),
        }[how])()
        assert await closed(server) == [4401]


class OneUser(MiddlewareMixin):
    """Everybody is the same."""

    user = None

    def process_request(self, request):
        request.user = self.user


class TokenMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "user" in request.GET:
            request.user = get_user_model().objects.get(username=request.GET["user"])
        return self.get_response(request)


WITHOUT_USERS = """
import asyncio
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["pistoke.Pistoke"], MIDDLEWARE=["pistoke.middleware.WebsocketMiddleware"], ALLOWED_HOSTS=["*"],
    SECRET_KEY="x", ROOT_URLCONF=__name__,
)
django.setup()
from django.core.management import call_command
from django.urls import path
from pistoke.handler import WebsocketHandler
from pistoke.pubsub import signout
from tests.asgi import Server
async def view(request):
    async with request.present("room") as here:
        await request.send(here.key)
urlpatterns = [path("view/", view)]
call_command("check", deploy=True, fail_level="CRITICAL")
async def main():
    server = Server("/view/")
    await server.run(WebsocketHandler())
    assert server.messages[0].startswith("socket-") and server.closed == 1000, server.sent
asyncio.get_event_loop().run_until_complete(main())
assert not signout.available and not signout._registries
"""


def test_project_without_users():
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path), PYTHONWARNINGS="ignore")
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    subprocess.run([sys.executable, "-c", WITHOUT_USERS], env=environment, check=True, timeout=60)
