"""Finnish names of :mod:`pistoke.protocol`, and of the exceptions that a protocol raises."""

from pistoke.exceptions import HandshakeError as Kattelyvirhe
from pistoke.exceptions import WebsocketDisconnect as YhteysKatkaistiin
from pistoke.protocol import RawWebsocketProtocol as TyhjaWebsocketProtokolla
from pistoke.protocol import WebsocketJSONProtocol as WebsocketJSONProtokolla
from pistoke.protocol import WebsocketProtocol as WebsocketProtokolla
from pistoke.protocol import WebsocketSubprotocol as WebsocketAliProtokolla
from pistoke.protocol import WebsocketSubprotocol as WebsocketAliprotokolla

__all__ = [
    "Kattelyvirhe",
    "TyhjaWebsocketProtokolla",
    "WebsocketAliProtokolla",
    "WebsocketAliprotokolla",
    "WebsocketJSONProtokolla",
    "WebsocketProtokolla",
    "YhteysKatkaistiin",
]
