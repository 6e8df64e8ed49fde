"""Settings of the project that real servers serve to strangers: sessions are in a database, and threads are used."""
from tests.servers.project.settings import *  # noqa: F403
from tests.servers.project.settings import MIDDLEWARE as THEIRS

from .secret import SECRET

SECRET_KEY = SECRET
ROOT_URLCONF = "tests.fuzz.project"
# A host of any name: the addresses of the servers have ports, and the cases name hosts of their own.
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
INSTALLED_APPS = [
    "pistoke.Pistoke",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
]
MIDDLEWARE = THEIRS + ["django.contrib.messages.middleware.MessageMiddleware"]
PISTOKE_MAX_MESSAGE_SIZE = 2 ** 16
