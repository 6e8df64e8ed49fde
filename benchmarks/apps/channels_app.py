"""The site with Channels, with its check of origins, its authentication stack and its channel layer in memory."""

from .project import setup

setup(__name__)

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

LINE = "x" * 32
urlpatterns = []


class Echo(AsyncWebsocketConsumer):
    """Send back what arrives."""

    async def receive(self, text_data=None, bytes_data=None):
        """Send it back."""
        await self.send(text_data=text_data, bytes_data=bytes_data)


class User(Echo):
    """Send back what arrives, to somebody who is logged in."""

    async def connect(self):
        """Look at the user."""
        assert self.scope["user"].username == "someone"
        await self.accept()


class Ingest(AsyncWebsocketConsumer):
    """Count what arrives; tell when asked."""

    count = 0

    async def receive(self, text_data=None, bytes_data=None):
        """Count it."""
        if text_data == "end":
            await self.send(text_data=str(self.count))
        self.count += 1


class Push(AsyncWebsocketConsumer):
    """Send as many messages as asked."""

    async def receive(self, text_data=None, bytes_data=None):
        """Send them."""
        for _ in range(int(text_data)):
            await self.send(text_data=LINE)


class Bye(AsyncWebsocketConsumer):
    """Close at once."""

    async def connect(self):
        """Open, and close."""
        await self.accept()
        await self.close()


class Room(AsyncWebsocketConsumer):
    """Pass what arrives to everybody."""

    groups = ["room"]

    async def receive(self, text_data=None, bytes_data=None):
        """Publish it."""
        await self.channel_layer.group_send("room", {"type": "room.message", "text": text_data})

    async def room_message(self, event):
        """Pass it to this member."""
        await self.send(text_data=event["text"])


class RoomRedis(Room):
    """The same through Redis."""

    channel_layer_alias = "redis"


CONSUMERS = (Echo, User, Ingest, Push, Bye, Room)
ROUTES = [path("{}/".format(consumer.__name__.lower()), consumer.as_asgi()) for consumer in CONSUMERS]
ROUTES.append(path("room-redis/", RoomRedis.as_asgi()))
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(ROUTES))),
    }
)
