"""Percentiles by nearest rank."""

import pytest

from consumer.demo.percentiles import Percentiles


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, None, None)),
        ([7], (7, 7, 7)),
        ([2, 1], (1, 2, 2)),
        ([3, 1, 2], (2, 3, 3)),
        (range(1, 101), (50, 95, 99)),
        (range(1, 102), (51, 96, 100)),
        (reversed(range(1, 1001)), (500, 950, 990)),
        ([1.26, 1.26], (1.3, 1.3, 1.3)),
        ([-4.0, 10.0], (-4.0, 10.0, 10.0)),
    ],
)
def test_nearest_rank(values: "list[float]", expected: tuple[float | None, ...]) -> None:
    """A percentile is the smallest value seen that so many percent of all do not exceed."""
    assert expected == Percentiles.of(values)
