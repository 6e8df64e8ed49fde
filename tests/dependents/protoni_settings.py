"""The settings of a django-protoni project in which only what it can read is installed.

django-protoni 0.5.6 appends the value of each entry point of ``django.sovellus`` to ``INSTALLED_APPS``, and the one of
django-celery-ilmoitus 0.4 ("module:Class") cannot stand there: the two published packages do not go together.
"""

import importlib.metadata

published = importlib.metadata.entry_points


def readable(group):
    """Return the entry points of a group that can be listed as an application."""
    return [entry for entry in published(group=group) if group != "django.sovellus" or ":" not in entry.value]


importlib.metadata.entry_points = readable
try:
    from protoni.tyoasema import *  # noqa: F403
finally:
    importlib.metadata.entry_points = published
