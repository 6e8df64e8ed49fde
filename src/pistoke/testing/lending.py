"""The connections of a test, lent to the thread that runs synchronous code beside an asynchronous one.

The runner of Django itself sees to it that a test and its views share a thread, and so a connection and a transaction. A
plugin of pytest that runs ``async def test_…`` in a loop in the test's own thread leaves it no time for that: asgiref takes
another thread, whose connections would see nothing of what the test has written, and keep what the view writes.
"""

import contextlib
from typing import Any, Dict, Iterator

from asgiref.sync import SyncToAsync
from django.db import connections


@contextlib.contextmanager
def lent_connections() -> "Iterator[None]":
    """Let asgiref's thread for synchronous code use the connections of this thread."""
    lent = {alias: connections[alias] for alias in connections}
    for connection in lent.values():
        connection.inc_thread_sharing()
    executor: Any = SyncToAsync.single_thread_executor
    own = executor.submit(exchange, lent).result()
    try:
        yield
    finally:
        executor.submit(exchange, own).result()
        for connection in lent.values():
            connection.dec_thread_sharing()


def exchange(taken: Dict[str, Any]) -> Dict[str, Any]:
    """Make the connections of this thread those that are ``taken``; return those that it had."""
    had = {alias: connections[alias] for alias in taken}
    for alias, connection in taken.items():
        connections[alias] = connection
    return had
