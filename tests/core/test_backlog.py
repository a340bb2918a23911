"""A backlog is read before it is asked about (design §6)."""

from consumer.core.backlog import BACKLOG_RECORDS, CAUGHT_UP_RECORDS, PAUSE_MS, WAIT_MS, Backlog


def test_a_few_unread_records_are_no_backlog() -> None:
    """Nobody waits, and nobody has waited."""
    backlog = Backlog()
    assert (False, -1) == (backlog.read(BACKLOG_RECORDS - 1, 0), backlog.over_ms)


def test_windows_wait_while_batches_keep_coming() -> None:
    """Each says so for a little longer; the last one ends it."""
    backlog = Backlog()
    for unread_count, now_ms in ((BACKLOG_RECORDS, 0), (500, 100), (CAUGHT_UP_RECORDS, 350)):
        assert not backlog.read(unread_count, now_ms)
        assert now_ms + PAUSE_MS == backlog.over_ms
    assert (True, -1) == (backlog.read(CAUGHT_UP_RECORDS - 1, 360), backlog.over_ms)
    assert not backlog.read(0, 370)


def test_they_do_not_wait_longer_than_the_bound_until_it_is_caught_up_with() -> None:
    """An endless backlog is read and asked about side by side; the next one is another."""
    backlog = Backlog()
    for now_ms in range(0, 10_000, 100):
        backlog.read(1_000_000, now_ms)
        assert backlog.over_ms <= WAIT_MS
    assert not backlog.read(0, 10_000)
    backlog.read(BACKLOG_RECORDS, 20_000)
    assert backlog.over_ms == 20_000 + PAUSE_MS
