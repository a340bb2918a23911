"""Reading, committing and going on where a predecessor stopped, against a real Kafka."""

from random import Random

import pytest
from confluent_kafka import Producer

from consumer.adapters.kafka.session import MESSAGES_MAX, NOT_TAKEN_MAX
from consumer.core.messages import CutAborted, PartitionAssigned, RecordsRead
from consumer.core.metadata import METADATA_CHARACTERS_MAX, decode_metadata
from consumer.core.model import PartitionMetadata
from consumer.demo.kafka_broker import KafkaBroker
from tests.core.builders import encode_metadata
from tests.kafka.fake_host import FakeHost, config_for, running
from tests.kafka.topics import (
    TopicNames,
    committed_offset,
    committed_records,
    committed_values,
    create,
    produce,
)

pytestmark = pytest.mark.kafka


def test_results_and_progress_are_committed_and_a_restart_goes_on_there(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """What is answered is published once; what is pending is read again, and nothing else."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0", b"m1", b"m2", b"m3"])
    host = FakeHost("a", keep_pending=lambda _partition, offset: offset in {1, 3})
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: host.offsets_read() == [0, 1, 2, 3], "the records")
        host.wait_for(lambda: host.all_committed, "two results")

    assert committed_values(servers, topics.gift_result) == [b"m0", b"m2"]
    offset = committed_offset(servers, topics)
    metadata = decode_metadata(offset.metadata or "")
    assert (offset.offset, metadata.answered) == (1, b"\x04")
    assert (metadata.instance, metadata.drained) == ("a", True)

    successor = FakeHost("b")
    with running(config_for(servers, topics, "b"), successor):
        successor.wait_for(lambda: successor.offsets_read() == [1, 3], "the pending records")
        successor.wait_for(lambda: successor.all_committed, "their results")

    assert committed_values(servers, topics.gift_result) == [b"m0", b"m2", b"m1", b"m3"]
    assert successor.of(PartitionAssigned) == [PartitionAssigned(0, 1, 1, 0, metadata)]


def test_metadata_may_have_as_many_characters_as_the_broker_takes(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """4,095 characters go through a transaction and come back equal at the next assignment."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    empty = encode_metadata(PartitionMetadata("", 1_000_000_000_000, 0, drained=True))
    name = "n" * (METADATA_CHARACTERS_MAX - len(empty))
    host = FakeHost(name)
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: len(host.partitions) == 1 and host.all_committed, "the first commit")

    assert len(committed_offset(servers, topics).metadata or "") == METADATA_CHARACTERS_MAX
    successor = FakeHost("b")
    with running(config_for(servers, topics), successor):
        successor.wait_for(lambda: len(successor.partitions) == 1, "the assignment")

    [assigned] = successor.of(PartitionAssigned)
    assert assigned.metadata is not None
    assert assigned.metadata.instance == name


def test_gaps_between_offsets_are_nothing_to_wait_for(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Aborted records and transaction markers leave holes; the records around them are read."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    producer = Producer(
        {"bootstrap.servers": servers, "transactional.id": f"{topics.group_id}-sender"}
    )
    producer.init_transactions(10)
    for value, end in ((b"m0", producer.commit_transaction), (b"no", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topics.gift_sent, value, key=b"room")
        producer.flush(10)  # else an abort purges the record before it reaches the log
        end(10)
    produce(servers, topics.gift_sent, [b"m4"])
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: host.offsets_read() == [0, 4], "both records")
        host.wait_for(lambda: host.all_committed, "both results")

    assert committed_values(servers, topics.gift_result) == [b"m0", b"m4"]
    assert committed_offset(servers, topics).offset == 5


def test_a_batch_says_how_many_records_are_still_unread(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """At first all that come after it; with the last batch none."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    count = 5_000
    produce(servers, topics.gift_sent, [b"m%d" % n for n in range(count)])
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: len(host.offsets_read()) == count, "the records")

    batches = [batch for batch in host.of(RecordsRead) if batch.records]
    assert len(batches) > 1
    assert {count} == {batch.next_offset + batch.unread_count for batch in batches}


def test_headers_travel_on_to_the_result_and_the_key_is_the_room(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """What the codec keeps of a record's headers is on its result."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    produce(servers, topics.gift_sent, [b"m0"], headers=[("traceparent", b"00-1-2-01")])
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: host.offsets_read() == [0] and host.all_committed, "the result")

    [result] = committed_records(servers, topics.gift_result)
    assert (result.key(), result.headers()) == (b"room", [("traceparent", b"00-1-2-01")])


def test_a_value_too_large_for_the_dead_letters_goes_there_in_part(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """1.5 MiB that gift-sent allows and the dead letters do not: one abort, then 64 KiB of it."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics, gift_sent={"max.message.bytes": "2097152"})
    large = b"!" + Random(1).randbytes(3 * 512 * 1024 - 1)  # compressed, it would still fit
    produce(servers, topics.gift_sent, [b"m0", b"!small", large, None, b"m4"])
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: len(host.offsets_read()) == 5, "five records")
        host.wait_for(lambda: host.all_committed, "five answers")
        assert len(host.of(CutAborted)) >= 1

    assert committed_values(servers, topics.gift_result) == [b"m0", b"m4"]
    letters = committed_records(servers, topics.dead_letters)
    assert [letter.value() for letter in letters] == [b"!small", large[:65_536], None]
    headers = dict(letters[1].headers() or [])
    assert headers["giftcheck.truncated"] == b"1572864"
    assert headers["giftcheck.reason"] == b"not_avro"
    assert headers["giftcheck.detail"] == b"a test's garbage"
    assert headers["giftcheck.source.topic"] == topics.gift_sent.encode()
    assert headers["giftcheck.source.partition"] == b"0"
    assert headers["giftcheck.source.offset"] == b"2"
    assert int(headers["giftcheck.source.timestamp"] or 0) > 0
    assert "giftcheck.truncated" not in dict(letters[0].headers() or [])
    assert committed_offset(servers, topics).offset == 5


def test_a_paused_partition_is_not_read_until_it_is_resumed(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Orders of an older epoch change nothing; those of the current one stop and go."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics, partitions=2)
    host = FakeHost("a")
    with running(config_for(servers, topics), host) as thread:
        host.wait_for(lambda: len(host.partitions) == 2, "both partitions")
        epochs = {number: one.assigned.epoch for number, one in host.partitions.items()}
        thread.pause(0, epochs[0])
        thread.pause(1, epochs[1] - 5)
        host.wait_for(lambda: host.all_committed, "the first commit")
        produce(servers, topics.gift_sent, [b"m0"], partition=0)
        produce(servers, topics.gift_sent, [b"m1"], partition=1)
        host.wait_for(lambda: host.offsets_read(1) == [0], "the record of the other partition")
        assert host.offsets_read(0) == []

        thread.resume(0, epochs[0])
        host.wait_for(lambda: host.offsets_read(0) == [0], "the record of the resumed partition")


def test_no_more_is_handed_over_than_is_taken(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """A loop that does not keep up stops the intake; what it takes lets it go on."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    count = NOT_TAKEN_MAX + 3 * MESSAGES_MAX
    host = FakeHost("a")
    host.takes = False
    with running(config_for(servers, topics), host) as thread:
        host.wait_for(lambda: len(host.partitions) == 1, "the assignment")
        produce(servers, topics.gift_sent, [b"m"] * count)
        host.wait_for(lambda: len(host.offsets_read()) >= NOT_TAKEN_MAX, "as many as may wait")
        handed = len(host.offsets_read())
        assert handed < NOT_TAKEN_MAX + MESSAGES_MAX + 100

        thread.taken(handed)
        host.takes = True
        host.wait_for(lambda: host.offsets_read() == list(range(count)), "the rest")
