"""Settings of the demonstration: localhost, SQLite, nothing else."""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent


def secret_key():
    """Return this copy's own key, made at the first start: a key that is in version control is no secret."""
    path = BASE_DIR / ".secret-key"
    try:
        # Exclusive: of two processes that start at once, one makes the key and the other reads it.
        with open(str(path), "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(get_random_secret_key())
    except FileExistsError:
        pass
    return path.read_text().strip()


SECRET_KEY = os.environ.get("SECRET_KEY") or secret_key()

DEBUG = os.environ.get("DEBUG", "1").lower() not in ("", "0", "false", "no", "off")

# A comma-separated list in the environment shows the demonstration to a phone in the same network:
# ALLOWED_HOSTS=192.0.2.7 python examples/manage.py runserver 0.0.0.0:8000
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"] + [
    host for host in os.environ.get("ALLOWED_HOSTS", "").split(",") if host
]

INSTALLED_APPS = [
    "sockets",
    "pistoke.Pistoke",  # before staticfiles, whose runserver it extends
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "pistoke.middleware.WebsocketMiddleware",
]

ROOT_URLCONF = "demo.urls"
ASGI_APPLICATION = "demo.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "sockets.source.behind",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(BASE_DIR / "db.sqlite3"),
    },
}

DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Topics live in this process, which is all there is of the demonstration: several would need a broker that they share.
PISTOKE_PUBSUB = {
    "default": {
        "BACKEND": "pistoke.pubsub.memory.MemoryBroker",
        "HISTORY": {
            "room.*": {"size": 100, "ttl": 3600},
            "dashboard": {"size": 60, "ttl": 60},
        },
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
