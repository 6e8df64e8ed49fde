"""HTTP and WebSockets in one ASGI application."""

import os

from pistoke.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")

application = get_asgi_application()
