"""Accounts, between which money is moved and never made."""

import time

from django.db import models
from django.db.backends.signals import connection_created


class Account(models.Model):
    """An account."""

    balance = models.IntegerField(default=0)

    class Meta:
        managed = False
        db_table = "account"


def teach_sqlite(connection, **kwargs):
    """Let SQLite know the function of PostgreSQL that takes its time."""
    if connection.vendor == "sqlite":
        connection.connection.create_function("pg_sleep", 1, time.sleep)


connection_created.connect(teach_sqlite, dispatch_uid="tests.reliability")
