"""What is stored: documents that a browser edits, and what is said in a chat."""

from django.db import models
from synkroni.json import JSONKoodain, JSONLatain
from synkroni.mallit import SynkronoituvaMalli


class Document(SynkronoituvaMalli):
    """A JSON tree, its numbers decimal."""

    data = models.JSONField(encoder=JSONKoodain, decoder=JSONLatain)

    class Meta:
        app_label = "dependents"


class Remark(models.Model):
    """Something said by somebody."""

    text = models.TextField()

    class Meta:
        app_label = "dependents"
