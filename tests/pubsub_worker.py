"""A process that publishes or subscribes, for tests of several: its settings are in ``PISTOKE_TEST_SETTINGS``.

publish TOPIC FIRST COUNT    publish numbers, one sync call for each; say the number after each
apublish TOPIC FIRST COUNT   the same from a coroutine
insist TOPIC FIRST COUNT     the same; each again until it was accepted; say «number attempts»
fork TOPIC                   publish, fork, and publish in both: 1 and 2 before, 3 and 4 in the child, 5 and 6 after
follow TOPIC SINCE           say «ready RECOVERED», then «position number» for each message, «gap» for a gap
"""
import asyncio
import json
import os
import sys
import time


def say(*words):
    """Print words at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def publish(topic, first, count):
    """Publish numbers from synchronous code."""
    from pistoke import pubsub

    for number in range(int(first), int(first) + int(count)):
        pubsub.publish(topic, number)
        say(number)


def insist(topic, first, count):
    """Publish numbers, whatever happens to the engine."""
    from pistoke import pubsub

    for number in range(int(first), int(first) + int(count)):
        attempts = 0
        while True:
            attempts += 1
            try:
                pubsub.publish(topic, number)
                break
            except pubsub.BrokerUnavailable:
                time.sleep(0.01)
        say(number, attempts)


async def apublish(topic, first, count):
    """Publish numbers from a coroutine."""
    from pistoke import pubsub

    for number in range(int(first), int(first) + int(count)):
        await pubsub.apublish(topic, number)
        say(number)


def fork(topic):
    """Publish before and after a fork, from synchronous code and from coroutines."""
    from pistoke import pubsub

    def both(number):
        pubsub.publish(topic, number)
        run(pubsub.apublish(topic, number + 1))

    both(1)
    child = os.fork()
    if not child:
        both(3)
        os._exit(0)
    os.waitpid(child, 0)
    both(5)
    say("done")


async def follow(topic, since):
    """Say what is published."""
    from pistoke import pubsub

    async with pubsub.subscribe(topic, since=since, gaps=True, buffer=100000) as messages:
        say("ready", messages.recovered)
        async for message in messages:
            say("gap" if message.gap else "{} {}".format(message.position, message.data))


COMMANDS = {"publish": publish, "insist": insist, "apublish": apublish, "fork": fork, "follow": follow}


def run(coroutine):
    """Run a coroutine in an event loop of its own, and close the broker there."""
    from pistoke.pubsub.broker import brokers

    async def whole():
        try:
            await coroutine
        finally:
            await brokers["default"].aclose()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(whole())
    finally:
        loop.close()


def main():
    """Do what the words say."""
    import django
    from django.conf import settings

    more = json.loads(os.environ["PISTOKE_TEST_SETTINGS"])
    settings.configure(INSTALLED_APPS=["pistoke.Pistoke"], USE_TZ=True, **more)
    django.setup()
    doing = COMMANDS[sys.argv[1]](*sys.argv[2:])
    if doing is not None:
        run(doing)


if __name__ == "__main__":
    main()
