"""The application."""

import os

from pistoke.asgi import get_asgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.reliability.project.settings"

application = get_asgi_application()
