"""What the group says of its members' partitions, in the bytes of Kafka's consumer protocol.

That somebody looks and mends is shown with real processes, in `tests/integration`.
"""

import pytest

from consumer.adapters.kafka.orphans import assigned

SEEN = (
    b"\x00\x00"  # version
    b"\x00\x00\x00\x01"  # topics
    b"\x00\x01t"
    b"\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02"  # partitions
    b"\x00\x00\x00\x00"  # the assignor's own
)
"""As Kafka 4.2 gave it for a member with three partitions."""


def test_the_partitions_of_a_member_are_read() -> None:
    """Topic and partition of each."""
    assert [("t", 0), ("t", 1), ("t", 2)] == list(assigned(SEEN))


def test_a_member_may_have_partitions_of_several_topics() -> None:
    """A group should read gift-sent alone, but nothing keeps others out of it."""
    two = b"\x00\x03\x00\x00\x00\x02" + b"\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x07"
    two += b"\x00\x02bc\x00\x00\x00\x01\x00\x00\x00\x08" + b"\xff\xff\xff\xff"

    assert [("a", 7), ("bc", 8)] == list(assigned(two))


@pytest.mark.parametrize("assignment", [b"", b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"])
def test_a_member_may_have_nothing(assignment: bytes) -> None:
    """Not yet synchronised, or more members than partitions."""
    assert [] == list(assigned(assignment))
