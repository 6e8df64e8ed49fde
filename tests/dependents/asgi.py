"""The project as an ASGI application, as README.fi.md writes it."""

import os

from django.core.asgi import get_asgi_application

from pistoke.kasittelija import WebsocketKasittelija

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.dependents.settings")

kasittelija = {
    "http": get_asgi_application(),
    "websocket": WebsocketKasittelija(),
}


async def application(scope, receive, send):
    """Pass each scope on to its handler."""
    return await kasittelija.get(scope["type"])(scope, receive, send)
