"""Views with limits, each of which is soon reached."""

import asyncio

from django.urls import path

from pistoke.decorators import limits

from .views import echo, flood, journalled, reads, sleeps

# As many megabytes as no kernel holds back for a client that does not read.
LARGE = "x" * 2 ** 20


async def flood_in_megabytes(request):
    """Send more than anybody reads."""
    while True:
        await request.send(LARGE)


@journalled
async def reads_nothing(request):
    """Wait for something else than messages."""
    await asyncio.sleep(3600)


VIEWS = {
    "rate": limits(message_rate=(5, 3600))(echo),
    "rate-unread": limits(message_rate=(5, 3600))(reads_nothing),
    "idle": limits(idle_timeout=0.3)(reads),
    "idle-asleep": limits(idle_timeout=0.3)(sleeps),
    "slow": limits(send_timeout=0.5)(flood),
    "slow-in-megabytes": limits(send_timeout=0.5)(journalled(flood_in_megabytes)),
    "one": limits(max_sockets=1)(echo),
    "one-a-session": limits(max_sockets_per_session=1)(echo),
}

urlpatterns = [path("limited/{}/".format(name), view) for name, view in VIEWS.items()]
