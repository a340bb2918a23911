"""How many ids a check may carry, as far as is known (design §7)."""

from consumer.core.batch import BatchLimit


def test_what_was_refused_whole_and_good_in_halves_was_too_large() -> None:
    """Half of it is the maximum; what was sent before that was known tells nothing new."""
    batch = BatchLimit(100)
    batch.too_large(50, 0)
    batch.too_large(50, 10)
    batch.too_large(100, 20)
    assert (25, 25) == (batch.learned, batch.size(20))


def test_the_maximum_has_a_floor() -> None:
    """Also a check that is refused in spite of it does not lower it."""
    batch = BatchLimit(100)
    for count in (14, 10, 4):
        batch.too_large(count, 0)
    assert batch.learned == 10
    small = BatchLimit(4)
    small.too_large(4, 0)
    assert small.learned == 4


def test_it_grows_by_a_tenth_in_a_minute_by_one_trial() -> None:
    """Only a trial that is good counts; one that is refused is not halved, but tried again."""
    batch = BatchLimit(100)
    batch.too_large(80, 0)
    assert [40, 44] == [batch.size(59_999), batch.size(60_000)]
    batch.decided(40, 60_000)
    assert batch.size(60_000) == 44
    batch.decided(44, 60_000)
    assert [40, 44] == [batch.size(60_001), batch.size(120_000)]
    batch.too_large(44, 60_500)
    assert batch.learned == 40
    batch.good(44)
    assert (44, 48) == (batch.learned, batch.size(120_000))


def test_it_never_grows_beyond_what_is_configured() -> None:
    """And from there on there are no trials."""
    batch = BatchLimit(42)
    batch.too_large(40, 0)
    now_ms = 0
    while batch.learned < 42:
        now_ms += 60_000
        batch.decided(batch.size(now_ms), now_ms)
        batch.good(batch.size(now_ms + 60_000))
    assert 600_000 >= now_ms
    batch.good(10**6)
    assert batch.size(0) == 42
