"""Layers of Channels that say at once that their engine is away: by themselves they try for seconds before they do."""
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def prompt(hosts):
    """Return what a layer is configured with to connect to these addresses once, or not at all."""
    return [{"address": address, "retry": Retry(NoBackoff(), 0)} for address in hosts]


class CoreLayer(RedisChannelLayer):
    """The one that keeps messages in lists."""

    def __init__(self, hosts, **config):
        super().__init__(hosts=prompt(hosts), **config)


class PubSubLayer(RedisPubSubChannelLayer):
    """The one on pub/sub."""

    def __init__(self, hosts, **config):
        super().__init__(hosts=prompt(hosts), **config)
