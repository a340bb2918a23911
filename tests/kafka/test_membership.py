"""Partitions are ours as long as we are the member that got them; the client is scripted."""

from collections.abc import Sequence
from typing import cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer.adapters.kafka import KafkaConfig
from consumer.adapters.kafka.assignment import Assignment
from consumer.errors import RestartNeeded
from tests.kafka.fake_producer import SettableClock

CONFIG = KafkaConfig(bootstrap_servers="nowhere", group_id="g", instance="a")


class Member:
    """A consumer whose id a test sets."""

    def __init__(self) -> None:
        self.member_id = "first"

    def memberid(self) -> str:
        return self.member_id

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Whatever they are."""

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        """The same."""


@pytest.fixture
def member() -> Member:
    """A member."""
    return Member()


@pytest.fixture
def assignment(member: Member) -> Assignment:
    """It got partitions 0 and 1."""
    assignment = Assignment(cast("Consumer", member), CONFIG, SettableClock())
    assignment.add([0, 1])
    return assignment


def test_it_is_a_member_while_the_group_knows_its_id(
    member: Member, assignment: Assignment
) -> None:
    """Without an id it is none: it is joining, and what it owns may be lost."""
    assert assignment.is_member()
    member.member_id = ""
    assert not assignment.is_member()


def test_another_id_is_another_member_and_only_a_restart_helps(
    member: Member, assignment: Assignment
) -> None:
    """Others may have its partitions, whatever the client believes (librdkafka 2.16)."""
    member.member_id = "second"
    with pytest.raises(RestartNeeded, match='"first" and knows it no more; now it is "second"'):
        assignment.is_member()
    with pytest.raises(RestartNeeded):
        assignment.add([2])


def test_after_a_loss_that_was_told_it_may_be_another(
    member: Member, assignment: Assignment
) -> None:
    """It has nothing, and what it gets next is given to the new member."""
    assignment.remove([0, 1], lost=True)
    member.member_id = "second"
    assert assignment.is_member()
    assignment.add([1])
    assert assignment.is_member()
