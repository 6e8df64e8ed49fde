"""What a socket can be told to do with a database; ``using`` is its alias."""

import asyncio
import itertools
import sys
import threading
import time

from asgiref.sync import sync_to_async
from django.db import Error, connections, transaction
from django.db.models import F

from .models import Account

#: How long a query takes, in seconds.
PAUSE = 0.01


class Changed(Exception):
    """Somebody has changed his mind in the middle of a transaction."""


async def count(using):
    """Return the number of accounts."""
    return await sync_to_async(Account.objects.using(using).count)()


async def balances(using):
    """Return the balance of each account, by the asynchronous ORM."""
    return [account.balance async for account in Account.objects.using(using).order_by("pk")]


async def deposit(using, account, amount):
    """Change a balance and return it, by the asynchronous ORM."""
    accounts = Account.objects.using(using)
    await accounts.filter(pk=account).aupdate(balance=F("balance") + amount)
    return (await accounts.aget(pk=account)).balance


def pause(using):
    """Make a query that takes its time."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [PAUSE])


async def pauses(using, times):
    """Make queries that take their time, one after the other; return how long they took, in seconds."""
    began = time.perf_counter()
    for _ in range(times):
        await sync_to_async(pause)(using)
    return time.perf_counter() - began


async def transfer(using, source, target, changes=False):
    """Move one unit of money, in a transaction of several calls; return which transactions the database saw.

    ``changes`` takes it all back at the end.
    """
    atomic, seen = transaction.atomic(using), []
    await sync_to_async(atomic.__enter__)()
    try:
        # In one order, lest two transfers wait for each other.
        for account, amount in sorted([(source, -1), (target, 1)]):
            seen.append(await sync_to_async(move)(using, account, amount))
            await asyncio.sleep(0)
        if changes:
            raise Changed
    except Changed:
        await sync_to_async(atomic.__exit__)(*sys.exc_info())
    except BaseException:
        await sync_to_async(atomic.__exit__)(*sys.exc_info())
        raise
    else:
        await sync_to_async(atomic.__exit__)(None, None, None)
    return seen


def move(using, account, amount):
    """Change a balance; return what tells this connection and transaction from others."""
    Account.objects.using(using).filter(pk=account).update(balance=F("balance") + amount)
    connection = connections[using]
    if connection.vendor == "sqlite":
        return [threading.get_ident(), id(connection.connection)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), txid_current()")
        return list(cursor.fetchone())


async def leave_open(using, account):
    """Begin a transaction and change a balance, and leave it at that."""
    await sync_to_async(transaction.atomic(using).__enter__)()
    return await sync_to_async(move)(using, account, 1000)


async def iterate(using):
    """Read all accounts by a cursor on the server, some at a time; return how many there were."""
    iterator, total = Account.objects.using(using).iterator(chunk_size=10), 0
    while True:
        chunk = await sync_to_async(lambda: list(itertools.islice(iterator, 10)))()
        if not chunk:
            return total
        total += len(chunk)


async def persist(using, seconds, transfers):
    """Make queries for a while, and ``transfers``; return how many were done, and when those were begun that failed."""
    done, failed = 0, []
    until = time.time() + seconds
    while time.time() < until:
        began = time.time()
        try:
            await (transfer(using, done % 2 + 1, 3) if transfers and done % 5 == 0 else count(using))
            done += 1
        except Error as exc:
            failed.append([began, str(exc)])
            await asyncio.sleep(PAUSE)
    return [done, failed]


async def pool(using):
    """Return how many connections Django's pool has, and how many of them nobody has."""
    figures = connections[using].pool.get_stats()
    return [figures["pool_size"], figures["pool_available"]]


ORDERS = {
    function.__name__: function
    for function in [count, balances, deposit, pauses, transfer, leave_open, iterate, persist, pool]
}
