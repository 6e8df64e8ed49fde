"""Finnish names of :mod:`pistoke.pubsub`."""

from pistoke.exceptions import BrokerUnavailable as ValittajaEiVastaa
from pistoke.exceptions import PubSubError as Aihevirhe
from pistoke.exceptions import SlowMember as HidasLukija
from pistoke.pubsub import Message as Viesti
from pistoke.pubsub import Position as Sijainti
from pistoke.pubsub import adisconnect as akatkaise
from pistoke.pubsub import aposition as asijainti
from pistoke.pubsub import apublish as ajulkaise
from pistoke.pubsub import disconnect as katkaise
from pistoke.pubsub import gap_detected as aukko_havaittu
from pistoke.pubsub import position as sijainti
from pistoke.pubsub import present as paikalla
from pistoke.pubsub import present_sync as paikalla_synkronisesti
from pistoke.pubsub import publish as julkaise
from pistoke.pubsub import publish_failed as julkaisu_epaonnistui
from pistoke.pubsub import subscribe as tilaa

__all__ = [
    "Aihevirhe",
    "HidasLukija",
    "Sijainti",
    "ValittajaEiVastaa",
    "Viesti",
    "ajulkaise",
    "akatkaise",
    "asijainti",
    "aukko_havaittu",
    "julkaise",
    "julkaisu_epaonnistui",
    "katkaise",
    "paikalla",
    "paikalla_synkronisesti",
    "sijainti",
    "tilaa",
]
