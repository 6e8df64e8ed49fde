"""What templates know of topics."""

from django import template

from ..pubsub import position as position_of
from ..pubsub.broker import DEFAULT

register: template.Library = template.Library()


@register.simple_tag
def position(topic: str, using: str = DEFAULT) -> str:
    """Return the position of a topic at this moment, empty where it keeps no history.

    A page that shows what was published so far, and follows the topic from here on, misses nothing:
    ``{% load pistoke %}<body data-since="{% position "room.lobby" %}">``.
    """
    return str(position_of(topic, using=using) or "")
