"""What the consumer relies on in Kafka, seen on a real broker and on the simulated one alike."""

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from consumer.core.metadata import METADATA_CHARACTERS_MAX
from tests.contract.cluster import (
    WAIT_S,
    Cluster,
    Member,
    RealCluster,
    SimulatedCluster,
    let_pass,
    until,
)
from tests.kafka.topics import TopicNames

SHORT_S = 0.5

YEAR_2100_MS = 4_102_444_800_000


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.kafka)])
def cluster(request: pytest.FixtureRequest, topics: TopicNames) -> Iterator[Cluster]:
    """Either of them, with empty topics."""
    if request.param == "simulated":
        yield SimulatedCluster(topics, seed=1)
        return
    real = RealCluster(request.getfixturevalue("kafka_broker"), topics)
    yield real
    real.close()


def joined(cluster: Cluster, name: str = "a", **options: bool | int) -> Member:
    """A member that owns both partitions."""
    member = Member(cluster, name, **options)  # type: ignore[arg-type]  # the options' own types
    member.join()
    until(lambda: member.owned == {0, 1}, member)
    return member


def refusal(call: Callable[[], object]) -> KafkaError:
    """The error a call fails with."""
    with pytest.raises(KafkaException) as raised:
        call()
    error = raised.value.args[0]
    assert isinstance(error, KafkaError)
    return error


# --- the group -----------------------------------------------------------------------------------


def test_a_single_member_gets_every_partition(cluster: Cluster) -> None:
    """In one round, and knows who it is."""
    member = joined(cluster)
    assert member.consumer.memberid()
    assert (member.rounds, member.revoked, member.lost) == (1, [], [])


def test_a_second_member_gets_a_share_that_the_first_gives_back(cluster: Cluster) -> None:
    """Two rounds: what moves is taken from its owner first, and what stays is never taken."""
    first = joined(cluster, "a")
    second = Member(cluster, "b")
    second.join()
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    assert first.owned | second.owned == {0, 1}
    assert first.revoked == [second.owned]
    assert (first.lost, second.revoked, second.lost) == ([], [], [])


@pytest.mark.parametrize("static", [True, False])
def test_who_unsubscribes_leaves_at_once(cluster: Cluster, *, static: bool) -> None:
    """Also a static member: nobody waits for the end of its session."""
    first, second = joined(cluster, "a", static=static), Member(cluster, "b", static=static)
    second.join()
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    began_s = cluster.now_s()
    first.consumer.unsubscribe()
    until(lambda: second.owned == {0, 1}, first, second)
    first.consumer.close()
    assert cluster.now_s() - began_s < 5
    assert first.owned == set()


def test_a_static_member_that_comes_back_gets_its_old_share_and_no_new_round(
    cluster: Cluster,
) -> None:
    """Others notice nothing; its older self is fenced, and cannot commit any more."""
    first, second = joined(cluster, "a"), Member(cluster, "b")
    second.join()
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    let_pass(1, first, second)
    share, rounds = set(second.owned), first.rounds
    remembered = second.consumer.consumer_group_metadata()

    again = Member(cluster, "b")
    again.join()
    until(lambda: again.owned == share, first, again)
    let_pass(1, first, again)
    assert (first.rounds, first.revoked) == (rounds, [share])

    first.begin(b"by an older self")
    error = refusal(lambda: first.send_offset(0, group_metadata=remembered))
    assert KafkaError.FENCED_INSTANCE_ID == error.code()
    assert error.txn_requires_abort()
    first.producer.abort_transaction(WAIT_S)


# --- transactions --------------------------------------------------------------------------------


def test_results_and_offset_of_a_transaction_become_visible_together(cluster: Cluster) -> None:
    """Before the commit neither, after it both."""
    member = joined(cluster)
    member.begin(b"result")
    member.send_offset(7, "progress")
    assert cluster.read(cluster.topics.gift_result) == []
    member.producer.commit_transaction(WAIT_S)
    at = member.committed(WAIT_S)
    assert (at.offset, at.metadata) == (7, "progress")
    until(lambda: cluster.read(cluster.topics.gift_result) == [b"result"], member)


def test_nothing_of_an_aborted_transaction_is_ever_visible(cluster: Cluster) -> None:
    """Neither its records nor its offsets; the next one goes on as if it had not been."""
    member = joined(cluster)
    member.begin(b"never")
    member.send_offset(7)
    member.producer.abort_transaction(WAIT_S)
    assert member.committed(WAIT_S).offset < 0
    member.begin(b"result")
    member.send_offset(1)
    member.producer.commit_transaction(WAIT_S)
    assert member.committed(WAIT_S).offset == 1
    until(lambda: cluster.read(cluster.topics.gift_result) == [b"result"], member)


def test_a_committed_offset_waits_for_the_transaction_that_would_change_it(
    cluster: Cluster,
) -> None:
    """A question in between times out; other partitions' offsets are not held up."""
    member = joined(cluster)
    member.begin(b"result")
    member.send_offset(3)
    assert KafkaError._TIMED_OUT == refusal(lambda: member.committed(SHORT_S)).code()
    assert member.committed(WAIT_S, partition=1).offset < 0
    member.producer.commit_transaction(WAIT_S)
    assert member.committed(WAIT_S).offset == 3


def test_a_transaction_without_an_offset_is_not_fenced_by_the_group(cluster: Cluster) -> None:
    """The client drops negative offsets without a word: hence one for every partition."""
    member = joined(cluster)
    remembered = member.consumer.consumer_group_metadata()
    member.consumer.unsubscribe()
    until(lambda: member.owned == set(), member)
    member.begin(b"by nobody")
    member.send_offset(-1001, group_metadata=remembered)
    member.producer.commit_transaction(WAIT_S)
    until(lambda: cluster.read(cluster.topics.gift_result) == [b"by nobody"], member)


def test_who_has_left_the_group_cannot_commit_offsets(cluster: Cluster) -> None:
    """With what it remembers of itself it is unknown, and must abort."""
    member = joined(cluster, static=False)
    remembered = member.consumer.consumer_group_metadata()
    member.consumer.unsubscribe()
    until(lambda: member.owned == set(), member)
    heir = joined(cluster, "heir", static=False)
    member.begin(b"too late")
    error = refusal(lambda: member.send_offset(1, group_metadata=remembered))
    assert KafkaError.UNKNOWN_MEMBER_ID == error.code()
    assert error.txn_requires_abort()
    member.producer.abort_transaction(WAIT_S)
    assert heir.committed(WAIT_S).offset < 0


def test_group_metadata_of_an_older_generation_is_refused(cluster: Cluster) -> None:
    """Still a member, but another has joined since: what was fetched before is of no use."""
    first, second = joined(cluster, "a"), Member(cluster, "b")
    remembered = first.consumer.consumer_group_metadata()
    second.join()
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    first.begin(b"result")
    error = refusal(lambda: first.send_offset(1, group_metadata=remembered))
    assert KafkaError.ILLEGAL_GENERATION == error.code()
    assert error.txn_requires_abort()
    first.producer.abort_transaction(WAIT_S)
    first.begin(b"result")
    first.send_offset(1)
    first.producer.commit_transaction(WAIT_S)
    assert second.committed(WAIT_S).offset == 1


def test_a_newer_producer_of_a_name_aborts_and_fences_the_older(cluster: Cluster) -> None:
    """What was open is gone, and the older one's next step is its last."""
    older, newer = joined(cluster, "twin"), Member(cluster, "twin")
    older.begin(b"of the older")
    older.send_offset(5)
    newer.producer.init_transactions(WAIT_S)
    error = refusal(lambda: older.producer.commit_transaction(WAIT_S))
    assert error.fatal()
    assert KafkaError._FENCED == error.code()
    newer.begin(b"of the newer")
    newer.producer.commit_transaction(WAIT_S)
    assert older.committed(WAIT_S).offset < 0
    until(lambda: cluster.read(cluster.topics.gift_result) == [b"of the newer"], newer)


def test_a_transaction_open_for_longer_than_its_time_out_is_aborted(cluster: Cluster) -> None:
    """By the broker, which fences its producer: readers are not held up for ever."""
    member = joined(cluster, transaction_ms=1_000)
    member.begin(b"forgotten")
    member.send_offset(5)
    cluster.sleep(4)
    assert member.committed(WAIT_S).offset < 0
    error = refusal(lambda: member.producer.commit_transaction(WAIT_S))
    assert error.fatal()
    assert KafkaError._FENCED == error.code()
    assert cluster.read(cluster.topics.gift_result) == []


# --- offsets and metadata ------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["x", "\u3400", "\ub3ff"])
def test_metadata_is_counted_in_characters(cluster: Cluster, character: str) -> None:
    """So many pass, whatever they take in bytes, and come back unchanged; one more is refused."""
    member = joined(cluster)
    text = character * METADATA_CHARACTERS_MAX
    member.producer.begin_transaction()
    member.send_offset(1, text)
    member.producer.commit_transaction(WAIT_S)
    assert text == member.committed(WAIT_S).metadata

    member.producer.begin_transaction()
    error = refusal(lambda: member.send_offset(2, text + character))
    assert KafkaError.OFFSET_METADATA_TOO_LARGE == error.code()
    assert error.txn_requires_abort()
    member.producer.abort_transaction(WAIT_S)
    assert member.committed(WAIT_S).offset == 1


def test_markers_take_an_offset_and_aborted_records_are_left_out(cluster: Cluster) -> None:
    """What is read has gaps; here transactions write into gift-sent itself."""
    cluster.write([b"plain"])
    writer = Member(cluster, "writer")
    writer.producer.init_transactions(WAIT_S)
    for value, commit in ((b"never", False), (b"transacted", True)):
        writer.producer.begin_transaction()
        # Partition 0 of the topic, wherever its key would lead.
        writer.producer.produce(writer.topic, value=value, key=b"room", partition=0)
        writer.producer.flush(WAIT_S)
        end = writer.producer.commit_transaction if commit else writer.producer.abort_transaction
        end(WAIT_S)
    until(lambda: cluster.read(writer.topic) == [b"plain", b"transacted"], writer)
    cluster.write([b"plain"])
    reader = joined(cluster, "reader")
    until(lambda: len(reader.read) == 3, reader)
    expected = [(0, 0, b"plain"), (0, 3, b"transacted"), (0, 5, b"plain")]
    assert expected == reader.read


def test_a_partition_says_where_it_ends_also_behind_what_is_never_handed_over(
    cluster: Cluster,
) -> None:
    """At its last stable offset; again only once there is more, be it a marker alone."""
    cluster.write([b"plain"])
    writer = Member(cluster, "writer")
    writer.producer.init_transactions(WAIT_S)
    writer.producer.begin_transaction()
    writer.producer.produce(writer.topic, value=b"never", key=b"room", partition=0)
    writer.producer.flush(WAIT_S)
    reader = joined(cluster, "reader")
    until(lambda: {(0, 1), (1, 0)} <= set(reader.ends), reader)
    let_pass(1, reader)
    writer.producer.abort_transaction(WAIT_S)
    until(lambda: (0, 3) in reader.ends, reader)
    assert ([(0, 0, b"plain")], []) == (reader.read, reader.errors)
    assert [(0, 1), (0, 3), (1, 0)] == sorted(reader.ends)


def test_nothing_behind_an_open_transaction_can_be_read(cluster: Cluster) -> None:
    """The last stable offset holds readers back, also from what is no part of it."""
    writer = Member(cluster, "writer")
    writer.producer.init_transactions(WAIT_S)
    writer.producer.begin_transaction()
    writer.producer.produce(writer.topic, value=b"open", key=b"room", partition=0)
    writer.producer.flush(WAIT_S)
    cluster.write([b"plain"])
    reader = joined(cluster, "reader")
    let_pass(1, reader)
    assert reader.read == []
    writer.producer.commit_transaction(WAIT_S)
    until(lambda: len(reader.read) == 2, reader)
    assert [b"open", b"plain"] == [value for _, _, value in reader.read]


def test_offsets_by_time_know_the_beginning_the_committed_end_and_no_record(
    cluster: Cluster,
) -> None:
    """Beginning and end are times of their own; what an open transaction holds back is not there."""
    cluster.write([b"first", b"second"])
    writer = Member(cluster, "writer")
    writer.producer.init_transactions(WAIT_S)
    writer.producer.begin_transaction()
    writer.producer.produce(writer.topic, value=b"open", key=b"room", partition=0)
    writer.producer.flush(WAIT_S)
    cluster.write([b"behind it"])

    def offsets(at: int) -> list[tuple[int, int]]:
        asked = [TopicPartition(writer.topic, partition, at) for partition in (0, 1)]
        found = writer.consumer.offsets_for_times(asked, timeout=WAIT_S)
        return sorted((one.partition, one.offset) for one in found)

    assert [(0, 0), (1, 0)] == offsets(OFFSET_BEGINNING)
    assert [(0, 2), (1, 0)] == offsets(OFFSET_END)
    assert [(0, 0), (1, -1)] == offsets(1)
    assert [(0, -1), (1, -1)] == offsets(YEAR_2100_MS)
    writer.producer.commit_transaction(WAIT_S)
    until(lambda: [(0, 5), (1, 0)] == offsets(OFFSET_END), writer)


def test_a_paused_partition_is_not_read_until_it_is_resumed(cluster: Cluster) -> None:
    """The others are."""
    reader = joined(cluster, "reader")
    at = [one for one in reader.consumer.assignment() if one.partition == 0]
    reader.consumer.pause(at)
    cluster.write([b"zero"], partition=0)
    cluster.write([b"one"], partition=1)
    until(lambda: bool(reader.read), reader)
    let_pass(1, reader)
    assert [(1, 0, b"one")] == reader.read
    reader.consumer.resume(at)
    until(lambda: (0, 0, b"zero") in reader.read, reader)
