"""The ASGI module that real servers serve to strangers."""
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.fuzz.settings"

from pistoke.asgi import get_asgi_application

application = get_asgi_application()
