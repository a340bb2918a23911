"""How much offset metadata a real broker takes, and gives back unchanged (design §4, "The map")."""

import random

import pytest
from confluent_kafka import TopicPartition

from consumer.core.metadata import (
    INSTANCE_CHARACTERS_MAX,
    METADATA_CHARACTERS_MAX,
    TextLimit,
    decode_metadata,
    draft_metadata,
)
from consumer.core.model import Cut, CutOffset, PartitionMetadata
from consumer.core.volume import CUT_BYTES_MAX
from consumer.demo.kafka_broker import KafkaBroker
from tests.core.builders import make_metadata
from tests.kafka.fake_host import config_for
from tests.kafka.test_fence import RawMember, raw_member
from tests.kafka.topics import CALL_S, TopicNames, create

pytestmark = pytest.mark.kafka

SEED = 20_240_229
PARTITIONS = 60
LIMIT = TextLimit()


def random_metadata(size_bytes: int) -> PartitionMetadata:
    """A progress under the longest name, with a map that cannot be packed."""
    answered = random.Random(SEED + size_bytes).randbytes(size_bytes - 1) + b"\x01"
    return make_metadata(instance="n" * INSTANCE_CHARACTERS_MAX, answered=answered)


def texts_between(characters_min: int, characters_max: int, *, ascii_only: bool) -> list[str]:
    """A text of each of these lengths, in order, as far as there is one."""
    texts: dict[int, str] = {}
    for size_bytes in range(3_000, 7_500):
        draft = draft_metadata(random_metadata(size_bytes), LIMIT)
        text = draft.text(LIMIT) or ""
        if text.isascii() == ascii_only and characters_min <= len(text) <= characters_max:
            texts.setdefault(len(text), text)
    return [texts[length] for length in sorted(texts)]


def committed(member: RawMember, texts: list[str]) -> bool:
    """Commit one text for each partition, as production does."""
    offsets = tuple(CutOffset(number, 1, 8, text) for number, text in enumerate(texts))
    return member.transactions.commit(
        Cut(1, offsets, (), ()), member.consumer.consumer_group_metadata()
    )


def read_back(member: RawMember, count: int) -> list[str | None]:
    """What the group holds for the first partitions."""
    asked = [TopicPartition(member.topic, number) for number in range(count)]
    return [answer.metadata for answer in member.consumer.committed(asked, timeout=CALL_S)]


def test_texts_of_every_length_near_the_limits_come_back_as_they_were(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """ASCII, where it ends and wide characters begin, and these up to the last that fits."""
    print(f"seed {SEED}")
    create(kafka_broker.bootstrap_servers, topics, partitions=PARTITIONS)
    in_ascii = texts_between(4_060, 4_095, ascii_only=True)
    first_wide = texts_between(1_800, 1_840, ascii_only=False)
    last_wide = texts_between(4_060, 4_095, ascii_only=False)
    print([len(texts) for texts in (in_ascii, first_wide, last_wide)])
    assert len(in_ascii[-1]) > METADATA_CHARACTERS_MAX - 2
    assert len(last_wide[-1]) == METADATA_CHARACTERS_MAX
    assert len(last_wide) > 30
    config = config_for(kafka_broker.bootstrap_servers, topics, "sized", static_member=False)
    with raw_member(config) as member:
        for texts in (in_ascii, first_wide, last_wide):
            assert committed(member, texts)
            found = read_back(member, len(texts))
            assert texts == found
            for text in found:
                size_bytes = len(decode_metadata(text or "").answered)
                assert random_metadata(size_bytes) == decode_metadata(text or "")


def test_a_transaction_takes_as_much_metadata_as_a_cut_may_hold(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Half a mebibyte of full maps in one batch of the group's topic."""
    print(f"seed {SEED}")
    create(kafka_broker.bootstrap_servers, topics, partitions=PARTITIONS)
    [full] = texts_between(METADATA_CHARACTERS_MAX, METADATA_CHARACTERS_MAX, ascii_only=False)
    texts = [full] * (CUT_BYTES_MAX // len(full.encode()) + 1)
    config = config_for(kafka_broker.bootstrap_servers, topics, "full", static_member=False)
    with raw_member(config) as member:
        assert committed(member, texts)
        assert texts == read_back(member, len(texts))


def test_metadata_that_is_too_large_is_refused_in_a_way_that_is_understood(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """A broker counts one character more than we do: aborted, said so, and shorter texts pass."""
    create(kafka_broker.bootstrap_servers, topics)
    config = config_for(kafka_broker.bootstrap_servers, topics, "large", static_member=False)
    with raw_member(config) as member:
        two_in_java = "\U0001f381"
        assert not committed(member, ["x" * (METADATA_CHARACTERS_MAX - 1) + two_in_java])
        assert member.transactions.metadata_refused
        assert committed(member, ["x" * METADATA_CHARACTERS_MAX])
        assert not member.transactions.metadata_refused
