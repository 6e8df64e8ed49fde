"""What the project of docs/howto/monitoring.md is asked for; prints what it has seen and sent as JSON."""
import json
import logging

import sentry_sdk
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.test import Client
from opentelemetry import metrics, trace
from project.asgi import application

from tests.asgi import Server

call_command("migrate", verbosity=0)
user = get_user_model().objects.create_user("anna")
client = Client()
client.force_login(user)
COOKIE = [("cookie", "sessionid=" + client.cookies["sessionid"].value)]


async def visit(path, *messages, headers=()):
    server = Server(path, [*COOKIE, *headers])
    server.say(*messages)
    server.leave()
    return [event["type"] for event in await server.run(application)]


async def visits():
    await visit("/orders/", "tea", headers=[("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")])
    await visit("/fails/3/")
    await visit("/nowhere/")
    for name in ("pistoke", "pistoke.pubsub"):
        logging.getLogger(name).error("an error of %s", name)
        logging.getLogger(name).info("a word of %s", name)


async_to_sync(visits)()

# What is exported in the background.
trace.get_tracer_provider().force_flush()
metrics.get_meter_provider().force_flush()
sentry_sdk.flush(5)
print(
    json.dumps(
        {
            "mail": [(message.subject, message.body) for message in mail.outbox],
            "metrics": client.get("/metrics/").content.decode(),
        }
    )
)
