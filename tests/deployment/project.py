"""A small project with the settings of the page."""

import subprocess
import sys

from . import page

MANAGE = """
import os, sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""

#: What `startproject` would have written, as far as it is needed, before what the page adds.
SETTINGS = """
INSTALLED_APPS = [
    "pistoke.Pistoke",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "project",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "pistoke.middleware.WebsocketMiddleware",
]
ROOT_URLCONF = "project.urls"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""

URLS = """
import os

from django.core.exceptions import PermissionDenied
from django.http import JsonResponse
from django.shortcuts import render
from django.urls import path
from pistoke.protocol import WebsocketJSONProtocol, WebsocketProtocol
from pistoke.pubsub import apublish


def what_is_seen(request):
    return {
        "pid": os.getpid(),
        "client": request.META.get("REMOTE_ADDR"),
        "secure": request.is_secure(),
        "address": request.build_absolute_uri(),
    }


def about(request):
    return JsonResponse(dict(what_is_seen(request), websocket=request.websocket))


@WebsocketJSONProtocol
async def seen(request):
    async for message in request:
        await request.send(dict(what_is_seen(request), message=message))


async def lasting(request):
    if request.method != "Websocket":
        return render(request, "page.html")
    await request.send(str(os.getpid()))
    async for message in request:
        pass


async def room(request):
    async with request.follow("room"):
        await request.send(str(os.getpid()))
        async for message in request:
            await apublish("room", message)


async def members(request):
    raise PermissionDenied


async def soon(request):
    await request.close(1012)


urlpatterns = [
    path("", about),
    path("seen/", seen),
    path("lasting/", lasting),
    path("room/", room),
    path("members/", WebsocketProtocol(members)),
    path("soon/", soon),
]
"""

ASGI = """
import os

from pistoke.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = get_asgi_application()
"""


def write(directory):
    """Write the project into ``project`` below a directory; return where it is."""
    root = directory / "project"
    files = {
        "manage.py": MANAGE,
        "project/__init__.py": "",
        "project/settings.py": SETTINGS + page.block("project/settings.py", directory),
        "project/urls.py": URLS,
        "project/asgi.py": ASGI,
        "project/static/lasting.js": page.block("project/static/lasting.js", directory),
        "project/templates/page.html": page.block("project/templates/page.html", directory),
        "requirements.txt": page.blocks()["text"],
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def run(root, environment, *words):
    """Run Python in the project, and return what it said; fail with that if it fails."""
    done = subprocess.run(
        [sys.executable] + list(words),
        cwd=str(root),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
