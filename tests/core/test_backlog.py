"""A backlog is read before it is asked about (design §6)."""

from consumer.core.backlog import BACKLOG_RECORDS, PAUSE_MS, WAIT_MS, Backlog


def test_a_few_unread_records_are_no_backlog() -> None:
    """Nobody waits, and nobody has waited."""
    backlog = Backlog()
    assert (False, -1) == (backlog.read(10, BACKLOG_RECORDS - 1, 0), backlog.over_ms)


def test_windows_wait_while_batches_keep_coming() -> None:
    """Each says so for a little longer, until all that was unread at first has been read."""
    backlog = Backlog()
    end = 10 + BACKLOG_RECORDS
    for next_offset, now_ms in ((10, 0), (end - 500, 100), (end - 1, 350)):
        assert not backlog.read(next_offset, end - next_offset + 100, now_ms)
        assert now_ms + PAUSE_MS == backlog.over_ms
    assert (True, -1) == (backlog.read(end + 100, 0, 360), backlog.over_ms)
    assert not backlog.read(end + 200, 0, 370)


def test_what_comes_while_it_is_read_is_part_of_it_only_if_it_is_much() -> None:
    """A busy partition always has something unread; a backlog that grows goes on."""
    backlog = Backlog()
    backlog.read(0, BACKLOG_RECORDS, 0)
    assert not backlog.read(BACKLOG_RECORDS, BACKLOG_RECORDS, 100)
    assert backlog.over_ms == 100 + PAUSE_MS
    assert backlog.read(2 * BACKLOG_RECORDS, BACKLOG_RECORDS - 1, 200)


def test_where_the_first_check_is_the_only_one_any_unread_record_is_a_backlog() -> None:
    """Once: after the first batches a room has its permits."""
    backlog = Backlog(one_permit=True)
    assert not backlog.read(10, 1, 0)
    assert backlog.over_ms == PAUSE_MS
    assert (True, -1) == (backlog.read(11, 5, 10), backlog.over_ms)
    assert (False, -1) == (backlog.read(12, 5, 20), backlog.over_ms)


def test_a_first_batch_that_leaves_nothing_unread_is_asked_about_at_once() -> None:
    """And what is unread later is no backlog, unless it is much."""
    backlog = Backlog(one_permit=True)
    assert (False, -1) == (backlog.read(10, 0, 0), backlog.over_ms)
    assert (False, -1) == (backlog.read(20, 5, 10), backlog.over_ms)


def test_they_do_not_wait_longer_than_the_bound_until_it_is_caught_up_with() -> None:
    """An endless backlog is read and asked about side by side; the next one is another."""
    backlog = Backlog()
    for now_ms in range(0, 10_000, 100):
        backlog.read(now_ms, 1_000_000, now_ms)
        assert backlog.over_ms <= WAIT_MS
    assert not backlog.read(1_000_000, 0, 10_000)
    backlog.read(1_000_001, BACKLOG_RECORDS, 20_000)
    assert backlog.over_ms == 20_000 + PAUSE_MS
