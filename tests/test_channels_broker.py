"""What only a layer of Channels has: groups that others use too, memberships that end, and errors of any kind."""
import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pistoke.pubsub import BrokerUnavailable, apublish, publish, subscribe
from pistoke.pubsub.broker import brokers
from pistoke.pubsub.message import decode

from . import brokers as kinds
from .test_brokers import elsewhere, soon, take, take_data, tidy


@pytest.fixture
def engine():
    """Return the layer in memory, named by the settings."""
    found = kinds.MemoryLayer()
    with override_settings(**found.settings()):
        yield found


def layer():
    """Return the layer behind the broker."""
    from channels.layers import get_channel_layer

    return get_channel_layer("other")


class TestSettings:
    @pytest.mark.parametrize(
        "config, problem",
        [
            ({"LOCATION": "nowhere"}, "expected the name of one of CHANNEL_LAYERS as LOCATION, got 'nowhere'"),
            ({"LOCATION": None}, "expected the name of one of CHANNEL_LAYERS as LOCATION, got 'default'"),
            ({"HISTORY": {"*": {"size": 3}}}, "expected no HISTORY"),
            ({"OPTIONS": {"capacity": 3}}, "expected no OPTIONS but 'prefix', got 'capacity'"),
        ],
    )
    def test_mistakes_are_named(self, engine, config, problem):
        settings = dict(engine.pubsub()["default"], **config)
        with override_settings(PISTOKE_PUBSUB={"default": settings}), pytest.raises(ImproperlyConfigured, match=problem):
            brokers["default"]

    @tidy
    async def test_consumers_of_channels_share_a_group(self, engine):
        settings = dict(engine.pubsub()["default"], OPTIONS={"prefix": ""})
        with override_settings(PISTOKE_PUBSUB={"default": settings}):
            await layer().group_add("room", "consumer!1")
            async with subscribe("room") as messages:
                await apublish("room", {"a": 1})
                event = await layer().receive("consumer!1")
                # What is not ours is passed over.
                await layer().group_send("room", {"type": "chat.message", "text": "hello"})
                await apublish("room", 2)
                assert await take(messages, 2) == [{"a": 1}, 2]
            await layer().flush()
            await brokers["default"].aclose()
        assert (event["type"], event["topic"], decode(event["payload"])) == ("pistoke.message", "room", {"a": 1})

    def test_names_that_fit_are_kept(self, engine):
        group = brokers["default"].group
        assert group("room.1") == "pistoke.room.1"
        others = {group("room:1"), group("x" * 99), group("x" * 98)}
        assert len(others) == 3
        assert all(name.startswith("pistoke.h.") and len(name) < 99 for name in others)


class TestMembership:
    @tidy
    async def test_layer_that_forgets_is_noticed(self, engine, monkeypatch):
        monkeypatch.setattr("pistoke.pubsub.channels.link.BEAT_EVERY", 0.1)
        async with subscribe("t", gaps=True) as messages:
            await apublish("t", 1)
            layer().groups.clear()
            assert await take(messages, 2) == [1, "gap"]
            await apublish("t", 2)
            assert await take_data(messages, 1) == [2]

    @tidy
    async def test_it_is_renewed_before_it_ends(self, engine, monkeypatch):
        monkeypatch.setattr(layer(), "group_expiry", 0.3)
        async with subscribe("t") as messages:
            joined = dict(layer().groups["pistoke.t"])
            await soon(lambda: layer().groups["pistoke.t"] != joined)
            await apublish("t", 1)
            assert await take(messages, 1) == [1]

    @tidy
    async def test_all_are_left_at_the_end(self, engine):
        async with subscribe("t", "u"):
            async with subscribe("v"):
                assert "pistoke.v" in layer().groups
            await soon(lambda: "pistoke.v" not in layer().groups)
        await brokers["default"].aclose()
        assert not layer().groups


class TestErrors:
    @tidy
    async def test_whatever_a_layer_raises(self, engine, monkeypatch):
        async def fail(*args):
            raise LookupError

        monkeypatch.setattr(layer(), "group_send", fail)
        for attempt in (apublish("t", 1), elsewhere(publish, "t", 1), subscribe("t").__aenter__()):
            with pytest.raises(BrokerUnavailable, match="LookupError"):
                await attempt

    @tidy
    async def test_layer_that_does_not_answer(self, engine, monkeypatch):
        async def hang(*args):
            await asyncio.sleep(1000)

        monkeypatch.setattr("pistoke.pubsub.channels.PATIENCE", 0.1)
        monkeypatch.setattr(layer(), "group_send", hang)
        with pytest.raises(BrokerUnavailable, match="no answer"):
            await elsewhere(publish, "t", 1)

    @tidy
    async def test_group_that_cannot_be_joined(self, engine, monkeypatch):
        add = layer().group_add

        async def fail(group, channel):
            if group == "pistoke.bad":
                raise LookupError("not this one")
            await add(group, channel)

        async with subscribe("good", gaps=True) as messages:
            monkeypatch.setattr(layer(), "group_add", fail)
            with pytest.raises(BrokerUnavailable, match="not this one"):
                await subscribe("bad").__aenter__()
            await apublish("good", 1)
            assert await take_data(messages, 1) == [1]
