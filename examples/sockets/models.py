"""What was said in the chat: the one thing that a restart does not empty."""

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
    def say(cls, key, room, name, text):
        """Keep a message, and tell the room of it."""
        said, _ = cls.objects.get_or_create(
            key=key, room=room, name=name, defaults={"text": text[:1000]}
        )
        publish(topic_of(room), said.as_json())  # waits for the commit

    @classmethod
    def after(cls, room, pk):
        """Return what was said after the message with this number."""
        return [said.as_json() for said in cls.objects.filter(room=room, pk__gt=pk)]

    def as_json(self):
        names = ("pk", "key", "name", "text", "time")
        return {name: getattr(self, name) for name in names}


def topic_of(room):
    return "room." + room
