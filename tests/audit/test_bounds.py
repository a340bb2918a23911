"""`--from` and `--to`: how they are written, and which offsets lie between them."""

import pytest

from consumer.audit.bounds import Bound, audited, parse_bound
from consumer.audit.model import Range

LOG = {0: Range(10, 50), 1: Range(0, 40), 2: Range(5, 5)}


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("5000", Bound(offset=5000)),
        ("0:5", Bound(offsets={0: 5})),
        ("0:5000,12:4800", Bound(offsets={0: 5000, 12: 4800})),
        ("2026-01-31T12:00:00+00:00", Bound(time_ms=1_769_860_800_000)),
        ("2026-01-31T13:00:00+01:00", Bound(time_ms=1_769_860_800_000)),
        ("2026-01-31 12:00", Bound(time_ms=1_769_860_800_000)),
    ],
)
def test_a_bound_is_a_time_an_offset_or_offsets(text: str, bound: Bound) -> None:
    """UTC where no zone is said."""
    assert bound == parse_bound(text)


@pytest.mark.parametrize("text", ["", "latest", "yesterday", "-5", "1:2,", "0:5;1:6", "٣"])
def test_anything_else_is_refused_with_the_way_to_write_it(text: str) -> None:
    """All three ways are named."""
    with pytest.raises(ValueError, match=r"2026-01-31T12.*5000.*0:5000,1:4800"):
        parse_bound(text)


def offsets_at(time_ms: int) -> dict[int, int]:
    """At time 7 these offsets."""
    assert time_ms == 7
    return {0: 20, 1: 40, 2: 5}


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (None, None, LOG),
        (Bound(offset=20), Bound(offset=30), {0: (20, 30), 1: (20, 30), 2: (5, 5)}),
        (Bound(offset=3), Bound(offset=99), {0: (10, 50), 1: (3, 40), 2: (5, 5)}),
        (Bound(time_ms=7), None, {0: (20, 50), 1: (40, 40), 2: (5, 5)}),
        (None, Bound(time_ms=7), {0: (10, 20), 1: (0, 40), 2: (5, 5)}),
        (Bound(offsets={1: 9}), None, {0: (10, 50), 1: (9, 40), 2: (5, 5)}),
        (Bound(offset=30), Bound(offset=20), {0: (30, 30), 1: (30, 30), 2: (5, 5)}),
        (Bound(offset=99), None, {0: (50, 50), 1: (40, 40), 2: (5, 5)}),
    ],
)
def test_what_lies_between_two_bounds_is_audited(
    begin: Bound | None, end: Bound | None, expected: dict[int, tuple[int, int]]
) -> None:
    """Within the log; a partition that is not named is not bounded; never less than nothing."""
    assert expected == audited(LOG, begin, end, offsets_at)
