"""Where partitions start, and what is called data loss, against a real Kafka."""

import time
from collections.abc import Sequence

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewPartitions,
    NewTopic,
)

from consumer.core.messages import PartitionAssigned
from consumer.core.metadata import decode_metadata
from consumer.core.model import PartitionMetadata
from consumer.demo.kafka_broker import KafkaBroker
from consumer.errors import ConfigurationError
from tests.core.builders import encode_metadata
from tests.kafka.fake_host import WAIT_S, FakeHost, config_for, running, started
from tests.kafka.topics import (
    CALL_S,
    TopicNames,
    commit_by_tool,
    committed_offset,
    committed_values,
    create,
    produce,
)

pytestmark = pytest.mark.kafka


def delete_before(servers: str, topics: TopicNames, offset: int) -> None:
    """What retention does: the log begins at `offset`."""
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.delete_records([TopicPartition(topics.gift_sent, 0, offset)]).values():
        done.result(CALL_S)


def first_offsets(host: FakeHost, count: int = 1) -> list[PartitionAssigned]:
    """The assignments, by partition, once there are `count` and all are committed."""
    host.wait_for(lambda: len(host.partitions) == count and host.all_committed, "a commit")
    return sorted(host.of(PartitionAssigned), key=lambda event: event.partition)


def ended_with(servers: str, topics: TopicNames) -> str:
    """The one line of the ConfigurationError that a start with `on_data_loss: stop` ends with."""
    thread = started(config_for(servers, topics), FakeHost("a"))
    error = thread.finished.exception(WAIT_S)
    assert isinstance(error, ConfigurationError)
    assert "\n" not in str(error)
    assert "kafka.on_data_loss: continue" in str(error)
    return str(error)


def goes_on(servers: str, topics: TopicNames, offsets: Sequence[int]) -> PartitionAssigned:
    """The assignment of a start with `on_data_loss: continue`, which reads these offsets."""
    host = FakeHost("a")
    with running(config_for(servers, topics, on_data_loss="continue"), host):
        host.wait_for(lambda: host.offsets_read() == list(offsets), f"offsets {offsets}")
        return first_offsets(host)[-1]


def test_the_first_start_reads_from_the_beginning(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """`earliest`: all there is, and the metadata says that the group began with the log."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0"])
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        assert first_offsets(host) == [PartitionAssigned(0, 1, 0, 0, None)]
        host.wait_for(lambda: host.offsets_read() == [0], "the record")


def test_the_first_start_may_skip_what_is_there(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """`latest` is resolved once: a restart before any record is not a second first start."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0"])
    config = config_for(servers, topics, start_from="latest")
    before_ms = time.time_ns() // 1_000_000
    host = FakeHost("a")
    with running(config, host):
        [first] = first_offsets(host)
    assert (first.offset, first.metadata) == (1, None)
    assert first.since_wall_ms >= before_ms

    produce(servers, topics.gift_sent, [b"m1"])
    successor = FakeHost("a")
    with running(config, successor):
        successor.wait_for(lambda: successor.offsets_read() == [1], "what came in between")
        assert first_offsets(successor)[0].since_wall_ms == first.since_wall_ms


def test_the_first_start_may_be_at_a_time(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """The first record at or after it, and the end where there is none."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics, partitions=2)
    produce(servers, topics.gift_sent, [b"old"])
    produce(servers, topics.gift_sent, [b"old"], partition=1)
    time.sleep(0.01)  # record times have whole milliseconds, and this is about their order
    since_ms = time.time_ns() // 1_000_000
    produce(servers, topics.gift_sent, [b"new"])
    host = FakeHost("a")
    with running(config_for(servers, topics, start_from=since_ms), host):
        assigned = first_offsets(host, 2)

    assert [(event.offset, event.since_wall_ms) for event in assigned] == [
        (1, since_ms),
        (1, since_ms),
    ]


def test_a_partition_added_later_starts_where_the_group_did(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Others carry our metadata: it is new, and its first records count although results exist."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    config = config_for(servers, topics, start_from="latest")
    host = FakeHost("a")
    with running(config, host):
        [first] = first_offsets(host)
        produce(servers, topics.gift_sent, [b"m0"])
        host.wait_for(lambda: host.offsets_read() == [0] and host.all_committed, "a result")
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.create_partitions([NewPartitions(topics.gift_sent, 2)]).values():
        done.result(CALL_S)
    produce(servers, topics.gift_sent, [b"m1"], partition=1)

    successor = FakeHost("a")
    with running(config, successor):
        successor.wait_for(lambda: successor.offsets_read(1) == [0], "the new partition's record")
        added = first_offsets(successor, 2)[1]
    assert (added.offset, added.since_wall_ms) == (0, first.since_wall_ms)


def test_an_offset_that_a_tool_wrote_is_data_loss(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """It wiped the map: the message names partition, offset and way on; `continue` goes there."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0", b"m1", b"m2"])
    commit_by_tool(servers, topics, 1)

    message = ended_with(servers, topics)
    assert f'partition 0 of "{topics.gift_sent}"' in message
    assert "offset 1 " in message
    assert goes_on(servers, topics, [1, 2]) == PartitionAssigned(0, 1, 1, 0, None)


def test_metadata_of_a_newer_release_is_data_loss(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """What cannot be read may hold answers: it is not passed over in silence."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    commit_by_tool(servers, topics, 0, "9 something else")

    assert "offset 0 carries no progress" in ended_with(servers, topics)


def test_no_offset_although_results_exist_is_data_loss(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Offsets expired or were deleted; the log's beginning would publish everything again."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0"])
    produce(servers, topics.gift_result, [b"m0"])

    message = ended_with(servers, topics)
    assert topics.gift_result in message
    assert topics.group_id in message
    assert goes_on(servers, topics, [0]) == PartitionAssigned(0, 1, 0, 0, None)


def test_an_offset_below_the_logs_beginning_is_data_loss(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Retention was faster; the message has the range; `continue` keeps map and epoch."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0", b"m1", b"m2", b"m3"])
    text = encode_metadata(PartitionMetadata("a", 1, 0, drained=True, answered=b"\x04"))
    commit_by_tool(servers, topics, 0, text)
    delete_before(servers, topics, 2)

    message = ended_with(servers, topics)
    assert "offset 0 is wanted, but the log holds only [2, 4)" in message
    assigned = goes_on(servers, topics, [3])
    assert (assigned.epoch, assigned.offset) == (1, 0)
    assert committed_values(servers, topics.gift_result) == [b"m3"]
    assert committed_offset(servers, topics).offset == 4


def test_an_offset_beyond_the_end_is_another_log(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """The topic was made anew: `continue` begins it as a new assignment, without the old map."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0"])
    text = encode_metadata(PartitionMetadata("a", 1, 0, drained=True, answered=b"\x01"))
    commit_by_tool(servers, topics, 80, text)

    assert "offset 80 is wanted, but the log holds only [0, 1)" in ended_with(servers, topics)
    assert goes_on(servers, topics, [0]) == PartitionAssigned(0, 2, 0, 0, None)
    assert decode_metadata(committed_offset(servers, topics).metadata or "").instance == "a"


def answer_one(servers: str, topics: TopicNames) -> None:
    """Run once over one gift, so that there are an offset of ours and a result."""
    produce(servers, topics.gift_sent, [b"m0"])
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: host.offsets_read() == [0] and host.all_committed, "a result")


def delete_gift_sent(servers: str, topics: TopicNames) -> None:
    """Delete the topic, and wait until the cluster has forgotten it."""
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.delete_topics([topics.gift_sent], operation_timeout=CALL_S).values():
        done.result(CALL_S)
    while topics.gift_sent in admin.list_topics(timeout=CALL_S).topics:
        time.sleep(0.05)


def make_gift_sent(servers: str, topics: TopicNames) -> None:
    """Make the topic with one partition."""
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.create_topics([NewTopic(topics.gift_sent, 1, 1)]).values():
        done.result(CALL_S)


def test_a_deleted_group_is_data_loss(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """`kafka-consumer-groups --delete`, or expiry after a long rest: the results tell."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    answer_one(servers, topics)
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.delete_consumer_groups([topics.group_id]).values():
        done.result(CALL_S)

    assert "it has no committed offset" in ended_with(servers, topics)
    assert goes_on(servers, topics, [0]) == PartitionAssigned(0, 1, 0, 0, None)


def test_a_topic_made_anew_is_data_loss(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """Kafka forgets a deleted topic's offsets, so that the new log is not taken for the old."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    answer_one(servers, topics)
    delete_gift_sent(servers, topics)
    make_gift_sent(servers, topics)
    produce(servers, topics.gift_sent, [b"n0", b"n1"])

    assert "it has no committed offset" in ended_with(servers, topics)
    assert goes_on(servers, topics, [0, 1]) == PartitionAssigned(0, 1, 0, 0, None)


def test_a_topic_made_anew_while_it_is_read_is_data_loss(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """The process does not go on as if nothing had happened.

    It has read further than the new log reaches: an offset that this holds, too, tells nothing.
    """
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0", b"m1", b"m2", b"m3"])
    host = FakeHost("a")
    thread = started(config_for(servers, topics), host)
    host.wait_for(lambda: host.offsets_read() == [0, 1, 2, 3] and host.all_committed, "a result")
    delete_gift_sent(servers, topics)
    make_gift_sent(servers, topics)
    produce(servers, topics.gift_sent, [b"n0", b"n1"])

    error = thread.finished.exception(WAIT_S)
    assert isinstance(error, ConfigurationError)
    assert "kafka.on_data_loss: continue" in str(error)
