"""What processes and engines that die cost: nothing where a history was kept, and a word of it where not."""
import pytest

from . import brokers as kinds
from .losses import measure

ENGINES = kinds.engines("history", "kind", "restarts")


@pytest.mark.parametrize("kind", ENGINES, ids=[kind.name for kind in ENGINES])
def test_nothing_is_lost_in_silence(kind):
    engine = kind()
    try:
        figures = measure(engine.start(), 2000)
    finally:
        engine.remove()
    assert figures.published == 2000
    # What was in flight when a publisher was killed, or the engine, is published again.
    assert figures.repeated <= figures.refused + 1
    for follower in figures.followers:
        assert follower.twice == follower.disordered == 0
        if engine.survives_crash:
            assert (follower.lost, follower.gaps) == (0, 0)
        else:
            assert follower.gaps == 1
