"""What was said in the chat: the one thing that a restart does not empty."""

from django.core.exceptions import SuspiciousOperation
from django.db import models, transaction

from pistoke.pubsub import publish


class Message(models.Model):
    key = models.CharField(max_length=32, unique=True)  # the page's: kept once
    room = models.CharField(max_length=40, db_index=True)
    name = models.CharField(max_length=30)
    text = models.CharField(max_length=1000)
    time = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    @classmethod
    @transaction.atomic
    def say(cls, said, room, name):
        """Keep a message, and tell the room of it."""
        try:
            key, text = str(said["key"])[:32], str(said["text"])[:1000]
        except (KeyError, TypeError):
            raise SuspiciousOperation("expected key and text") from None  # closes with 4400
        said, _ = cls.objects.get_or_create(
            key=key, room=room, name=name, defaults={"text": text}
        )
        publish(topic_of(room), said.as_json())  # waits for the commit

    @classmethod
    def after(cls, room, pk):
        """Return what was said after the message with this number."""
        known = int(pk) if str(pk).isdigit() else 0
        return [said.as_json() for said in cls.objects.filter(room=room, pk__gt=known)]

    def as_json(self):
        names = ("pk", "key", "name", "text", "time")
        return {name: getattr(self, name) for name in names}


def topic_of(room):
    return "room." + room
