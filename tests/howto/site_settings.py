from pathlib import Path

# What `startproject` writes, as far as a test needs it; what the page says of the settings comes after it.
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "how-to"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "pistoke.Pistoke",
    "django.contrib.staticfiles",
] + [path.parent.name for path in sorted(BASE_DIR.glob("*/__init__.py")) if path.parent.name not in ("project", "checks")]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "pistoke.middleware.WebsocketMiddleware",
]
ROOT_URLCONF = "project.urls" if (BASE_DIR / "project" / "urls.py").exists() else "checks.tests"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# A quick one, for tests.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
MEDIA_ROOT = BASE_DIR / "media"
USE_TZ = True
AT_FIRST = {"INSTALLED_APPS": INSTALLED_APPS, "MIDDLEWARE": MIDDLEWARE}

# THE PAGE

# An ellipsis is everything else that was there.
for name, items in AT_FIRST.items():
    said = globals()[name]
    if ... in said:
        place = said.index(...)
        globals()[name] = said[:place] + [item for item in items if item not in said] + said[place + 1:]
