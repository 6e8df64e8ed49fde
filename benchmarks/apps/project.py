"""The Django project that the peers share, as ``startproject`` makes it: its applications, its seven middleware."""

import os

import django
from django.conf import settings

STARTPROJECT_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
#: What a project adds of its own: nobody can know whether it blocks.
OWN_MIDDLEWARE = "benchmarks.apps.middleware.OwnMiddleware"
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379")


def middleware(count):
    """Return so many middleware: Django's first, then the project's own."""
    return (STARTPROJECT_MIDDLEWARE + [OWN_MIDDLEWARE] * count)[:count]


def setup(urlconf=None, *installed):
    """Set Django up with the URLs of the module given, and with applications besides Django's own."""
    settings.configure(
        DEBUG=False,
        SECRET_KEY="benchmarks are no place for secrets, but sessions have to be signed with something",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=urlconf,
        INSTALLED_APPS=[
            *installed,
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
        ],
        MIDDLEWARE=middleware(int(os.environ.get("BENCH_MIDDLEWARE", len(STARTPROJECT_MIDDLEWARE)))),
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("BENCH_DATABASE", ":memory:")}
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        CHANNEL_LAYERS={
            "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
            "redis": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS]}},
        },
        PISTOKE_PUBSUB={
            "default": {},
            "redis": {"BACKEND": "pistoke.pubsub.redis.RedisBroker", "LOCATION": REDIS},
        },
        USE_TZ=True,
    )
    django.setup()
