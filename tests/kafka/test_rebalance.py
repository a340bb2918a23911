"""Partitions change hands while records come in, against a real Kafka."""

import threading
import time

import pytest

from consumer.core.messages import CutAborted, PartitionAssigned, PartitionRevoked
from consumer.core.metadata import decode_metadata
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.fake_host import WAIT_S, FakeHost, config_for, running, started
from tests.kafka.topics import (
    TopicNames,
    committed_offset,
    committed_records,
    committed_values,
    create,
    produce,
)

pytestmark = pytest.mark.kafka

HAND_OVER_S = 3.0
"""A static member that only closes its client is missed after its session of 10 s here."""


def test_a_graceful_stop_hands_the_partitions_over_at_once(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """The group does not wait for a session to run out, though the member is static."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics, partitions=4)
    leaver, stayer = FakeHost("leaver"), FakeHost("stayer")
    leaving = config_for(servers, topics, "leaver", session_timeout_ms=10_000)
    staying = config_for(servers, topics, "stayer", session_timeout_ms=10_000)
    with running(staying, stayer):
        stayer.wait_for(lambda: len(stayer.partitions) == 4, "all partitions")
        with running(leaving, leaver):
            leaver.wait_for(lambda: len(leaver.partitions) == 2, "half of the partitions")
            stayer.wait_for(lambda: len(stayer.partitions) == 2, "the other half")
            leaver.wait_for(lambda: leaver.all_committed, "their first commit")
            began = time.monotonic()
        stayer.wait_for(lambda: len(stayer.partitions) == 4, "all partitions again")

    assert time.monotonic() - began < HAND_OVER_S
    taken_over = [event.metadata for event in stayer.of(PartitionAssigned)[4:]]
    assert [(one.instance, one.drained) for one in taken_over if one] == [("leaver", True)] * 2


def test_nothing_is_lost_or_repeated_while_members_come_and_go(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Records keep coming; a second member joins and leaves twice; each has one result."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics, partitions=2)
    stayer = FakeHost("stayer", keep_pending=lambda _partition, offset: offset % 7 == 3)
    stop = threading.Event()
    sent: list[bytes] = []

    def send() -> None:
        while not stop.is_set():
            number = len(sent)
            produce(servers, topics.gift_sent, [b"%d" % number], partition=number % 2)
            sent.append(b"%d" % number)

    sender = threading.Thread(target=send)
    with running(config_for(servers, topics, "stayer"), stayer):
        stayer.wait_for(lambda: len(stayer.partitions) == 2, "both partitions")
        sender.start()
        for round_number in range(2):
            guest = FakeHost("guest", keep_pending=lambda _partition, offset: offset % 5 == 1)
            with running(config_for(servers, topics, "guest"), guest):
                guest.wait_for_a_record()
            revoked = round_number + 1
            stayer.wait_for(lambda: len(stayer.partitions) == 2, "both partitions again")
            assert len(stayer.of(PartitionRevoked)) == revoked
        stop.set()
        sender.join()
        stayer.wait_for(
            lambda: sum(one.next_offset for one in stayer.partitions.values()) == len(sent), "all"
        )
        stayer.answer_pending()
        stayer.wait_for(lambda: stayer.all_committed, "all results")

    results = [(one.key(), one.value()) for one in committed_records(servers, topics.gift_result)]
    assert len(results) == len(sent)
    assert len(set(results)) == len(results)


def test_a_loop_that_does_not_answer_leaves_its_work_to_the_successor(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """A stop does not wait for ever; what was not committed is read again by the next."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    host = FakeHost("stuck")
    with running(config_for(servers, topics, "stuck"), host):
        host.wait_for(lambda: len(host.partitions) == 1 and host.all_committed, "the first commit")
        host.answers_cuts = False
        produce(servers, topics.gift_sent, [b"m0"])
        host.wait_for(lambda: len(host.withheld) == 1, "a question for a cut")
    assert committed_offset(servers, topics).offset == 0
    assert len(host.withheld) == 1

    successor = FakeHost("next")
    with running(config_for(servers, topics, "next"), successor):
        successor.wait_for(lambda: successor.offsets_read() == [0], "the record again")
        successor.wait_for(lambda: successor.all_committed, "its result")
    assert committed_values(servers, topics.gift_result) == [b"m0"]


def test_a_cut_that_comes_after_the_partition_is_gone_is_given_back(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """It was asked for before a rebalance: not sent, but aborted, for the core to sort out."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics, partitions=2)
    host = FakeHost("late")
    with running(config_for(servers, topics, "late"), host):
        host.wait_for(lambda: len(host.partitions) == 2 and host.all_committed, "the first commit")
        host.answers_cuts = False
        produce(servers, topics.gift_sent, [b"m0"], partition=0)
        produce(servers, topics.gift_sent, [b"m1"], partition=1)
        host.wait_for(lambda: len(host.withheld) == 1, "a question for a cut")
        cut = host.make_cut()
        other = FakeHost("other")
        with running(config_for(servers, topics, "other"), other):
            host.wait_for(lambda: len(host.partitions) == 1, "a partition to go")
            host.answers_cuts = True
            host.withheld[0].set_result(cut)
            host.wait_for(lambda: len(host.of(CutAborted)) == 1, "the cut to come back")
            host.wait_for(lambda: host.all_committed, "what is left of it")
            other.wait_for_a_record()
            other.wait_for(lambda: other.all_committed, "its result")

    assert set(committed_values(servers, topics.gift_result)) == {b"m0", b"m1"}


def test_a_stop_before_the_group_has_answered_ends_quietly(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Nothing was owned, nothing is committed, and the thread ends."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    host = FakeHost("brief")
    thread = started(config_for(servers, topics, "brief"), host)
    thread.stop()
    thread.join(WAIT_S)

    assert thread.finished.result(0) is None
    assert host.of(PartitionAssigned) == []


def test_metadata_of_a_drained_hand_over_says_so_and_is_cleared_by_the_first_cut(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """The new owner commits at once, and its own cut is not drained."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    first, second = FakeHost("first"), FakeHost("second")
    with running(config_for(servers, topics, "first"), first):
        first.wait_for(lambda: len(first.partitions) == 1, "the assignment")
    assert decode_metadata(committed_offset(servers, topics).metadata or "").drained
    with running(config_for(servers, topics, "second"), second):
        second.wait_for(lambda: len(second.partitions) == 1 and second.all_committed, "a commit")
        assert not decode_metadata(committed_offset(servers, topics).metadata or "").drained
