"""Count what is lost and what comes twice when processes and the engine of topics die in the middle of a stream.

    make losses ARGS="--messages 100000 --engine redis --engine postgresql"

What happens is described in ``tests/losses.py``; the table goes into ``docs/pubsub.md``.
"""
import argparse

from tests import brokers as kinds
from tests.losses import measure

HEAD = [
    "engine", "messages", "refused", "published twice", "member", "received", "lost", "twice", "out of order", "gaps told",
    "seconds",
]


def rows(kind, messages):
    """Yield the rows of an engine: one for the member that lives, one for the member that is killed and comes back."""
    engine = kind()
    try:
        figures = measure(engine.start(), messages)
    finally:
        engine.remove()
    for member, follower in zip(("lives", "is killed"), figures.followers):
        yield [
            engine.name, figures.published, figures.refused, figures.repeated, member, follower.received, follower.lost,
            follower.twice, follower.disordered, follower.gaps, round(figures.seconds),
        ]


def main():
    """Print a table."""
    found = {kind.name: kind for kind in kinds.engines("history", "kind")}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100000)
    parser.add_argument("--engine", action="append", choices=sorted(found))
    options = parser.parse_args()
    print("| {} |".format(" | ".join(HEAD)))
    print("|{}|".format("|".join("---" for _ in HEAD)))
    for name in options.engine or found:
        for row in rows(found[name], options.messages):
            print("| {} |".format(" | ".join(map(str, row))), flush=True)


if __name__ == "__main__":
    main()
