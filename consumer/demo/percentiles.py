"""Percentiles by nearest rank: always a value that was really seen, also of very few values."""

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple, Self


class Percentiles(NamedTuple):
    """The values that 50, 95 and 99 % of all do not exceed; None where there are no values."""

    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The percentiles of these values, in any order, rounded to a tenth."""
        ordered = sorted(values)
        if not ordered:
            return cls(None, None, None)
        return cls(*(round(_nearest_rank(ordered, percent), 1) for percent in (50, 95, 99)))


def _nearest_rank(ordered: list[float], percent: int) -> float:
    """The smallest value that at least `percent` of all do not exceed."""
    return ordered[ceil(len(ordered) * percent / 100) - 1]
