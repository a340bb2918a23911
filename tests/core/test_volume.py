"""How much metadata is written (design §4)."""

from consumer.core.volume import BYTES_PER_S, CUT_BYTES_MAX, Volume


def test_a_cut_with_little_metadata_puts_nothing_off() -> None:
    """The configured interval alone counts."""
    assert Volume().interval_ms(999) == 0


def test_cuts_move_apart_so_that_a_second_has_no_more_than_its_share() -> None:
    """A full transaction takes half a second."""
    volume = Volume()
    volume.note(BYTES_PER_S)
    assert (50, 524) == (volume.interval_ms(50_000), volume.interval_ms(CUT_BYTES_MAX))


def test_a_round_of_all_partitions_never_takes_longer_than_their_leases_allow() -> None:
    """With four times too much, a quarter of it goes every quarter of a second."""
    volume = Volume()
    volume.note(4 * BYTES_PER_S)
    assert (250, 4.0) == (volume.interval_ms(BYTES_PER_S), volume.level)
