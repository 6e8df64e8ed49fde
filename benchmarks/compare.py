"""What has become slower since the last recorded run."""

from . import figures
from .report import PEER_ROWS

#: More than this is a regression: less is what the same program differs by from one run to the next.
TOLERANCE = 0.10
#: Milliseconds, and not a share: what is left after a subtraction varies with all of that was subtracted.
STARTUP_TOLERANCE = 10


def compare(recorded, now):
    """Return rows (title, recorded, now, change, whether it is a regression) of the ratios of ours to bare ASGI."""
    rows = []
    for row in PEER_ROWS:
        before, after = (row.ratio(run["studies"], "ours") for run in (recorded, now))
        if before and after:
            change = after.median / before.median - 1
            rows.append((row.title, f"{before.median:.2f}", f"{after.median:.2f}", f"{change:+.0%}", change > TOLERANCE))
    return rows + compare_startup(recorded, now)


def compare_startup(recorded, now):
    """Return the row for what is added to Django's start."""
    rounds = [run["studies"].get("startup", []) for run in (recorded, now)]
    before, after = (figures.difference(each, "ours", "startup") for each in rounds)
    if not (before and after):
        return []
    change = after.median - before.median
    texts = f"{before.median:.0f} ms", f"{after.median:.0f} ms", f"{change:+.0f} ms"
    return [("added to Django's start", *texts, change > STARTUP_TOLERANCE)]


def tell(rows, recorded, say=print):
    """Print a comparison; return the number of regressions."""
    say(f"\nours, as a multiple of bare ASGI, and in the run recorded {recorded['recorded']}:\n")
    for title, before, after, change, worse in rows:
        say(f"{title:<58} {before:>8} → {after:>8} {change:>7}{'  REGRESSION' if worse else ''}")
    worse = sum(row[-1] for row in rows)
    say(f"\n{worse} regression(s). Run it again before you believe one." if worse else "\nno regression")
    return worse
