"""The same in one call."""

import os

from pistoke.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.servers.project.settings")

application = get_asgi_application()
