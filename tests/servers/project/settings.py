"""Settings of the project behind the servers; where its files are is told by the environment."""

import os

DIRECTORY = os.environ.get("PISTOKE_TEST_DIRECTORY", "")

SECRET_KEY = "only for tests, and long enough for Django's own checks of its entropy 0123456789"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "tests.servers.project.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [
    "pistoke.Pistoke",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "tests.servers.project",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "tests.servers.project.middleware.doorkeeper",
    "pistoke.ohjain.WebsocketOhjain",
]
STATIC_URL = "/static/"
LOGIN_URL = "/login/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(DIRECTORY, "db.sqlite3"),
        "OPTIONS": {"timeout": 20},
    }
}
# Long enough to be told from «at once», short enough to be waited for.
PISTOKE_DISCONNECT_GRACE = 1
PISTOKE_MAX_MESSAGE_SIZE = 2 ** 20
PISTOKE_SESSION_CHECK = 0.4

# What Django logs is read by the tests; it goes to a file of its own, apart from the server's output.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"journal": {"class": "tests.servers.project.journal.JournalHandler"}},
    "loggers": {
        "django": {"handlers": ["journal"], "level": "WARNING", "propagate": False},
        "pistoke": {"handlers": ["journal"], "level": "WARNING", "propagate": False},
    },
}
