"""Medians, ratios and their spread, from the rounds that a study has recorded."""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Summary:
    """A median, and the middle half of the values around it."""

    median: float
    low: float
    high: float


def summary(values):
    """Return the Summary of values, None if there are none."""
    if not values:
        return None
    if len(values) == 1:
        return Summary(values[0], values[0], values[0])
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(statistics.median(values), low, high)


def value(each_round, variant, probe, figure):
    """Return a figure of one round, None if it was not measured."""
    return each_round.get(variant, {}).get(probe, {}).get(figure)


def absolute(rounds, variant, probe, figure="cpu"):
    """Return the Summary of a figure."""
    found = (value(each, variant, probe, figure) for each in rounds)
    return summary([one for one in found if one is not None])


def pairs(rounds, variant, base, probe, figure):
    """Return what a variant and another came to in the same round."""
    found = ((value(each, variant, probe, figure), value(each, base, probe, figure)) for each in rounds)
    return [(one, other) for one, other in found if one is not None and other]


def ratio(rounds, variant, probe, figure="cpu", base="bare"):
    """Return the Summary of a figure as a multiple of another variant's, taken within each round."""
    return summary([one / other for one, other in pairs(rounds, variant, base, probe, figure)])


def difference(rounds, variant, probe, figure="cpu", base="plain"):
    """Return the Summary of what a variant adds to another."""
    return summary([one - other for one, other in pairs(rounds, variant, base, probe, figure)])
