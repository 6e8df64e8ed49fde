"""Settings of the project. The directory of its database is given in the environment."""

import os

from celery import Celery

SECRET_KEY = "not a secret"
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ["DEPENDENTS_DIRECTORY"], "db.sqlite3"),
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "pistoke.Pistoke",
    "django.contrib.staticfiles",
    "synkroni.Synkroni",
    "xterm",
    "ilmoitus.sovellus.Ilmoitus",
    "tests.dependents",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "pistoke.ohjain.WebsocketOhjain",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
ROOT_URLCONF = "tests.dependents.urls"
STATIC_URL = "/static/"
LANGUAGE_CODE = "fi"
USE_TZ = True
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
# Short, because the tests look at what becomes of a view whose client has left.
PISTOKE_DISCONNECT_GRACE = 1
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"levels": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "levels"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

# The broker of the notifications: the memory of this one process.
celery = Celery("dependents", broker="memory://", set_as_current=True)
