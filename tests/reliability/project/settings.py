"""Settings of the project; those of its databases lie in a file beside its journal, written by the test."""

import json

from tests.servers.project.settings import *  # noqa: F403
from tests.servers.project.settings import DIRECTORY, INSTALLED_APPS, MIDDLEWARE, os

INSTALLED_APPS = [name for name in INSTALLED_APPS if name != "tests.servers.project"] + ["tests.reliability.project"]
# Without what takes each handshake through a thread: they are all taken by queries in one of the tests.
MIDDLEWARE = [path for path in MIDDLEWARE if not path.startswith("tests.")]
ROOT_URLCONF = "tests.reliability.project.urls"

with open(os.path.join(DIRECTORY, "databases.json")) as file:
    DATABASES = json.load(file)
