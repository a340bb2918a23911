"""How long a demo lasts if nobody says."""

import pytest

from consumer.demo.options import BATCH_RUN_MS, LONGEST_RUN_MS, DemoOptions


@pytest.mark.parametrize(
    ("options", "watched", "expected_ms"),
    [
        (DemoOptions(), True, LONGEST_RUN_MS),
        (DemoOptions(), False, BATCH_RUN_MS),
        (DemoOptions(json=True), True, BATCH_RUN_MS),
        (DemoOptions(json=True, duration_ms=7), True, 7),
        (DemoOptions(duration_ms=7), False, 7),
    ],
)
def test_the_load_lasts(options: DemoOptions, watched: bool, expected_ms: int) -> None:  # noqa: FBT001
    """Without a duration the load lasts until somebody ends it, or 20 s where nobody can."""
    assert expected_ms == options.load_ms(watched=watched)
