"""`giftcheck audit` on a real Kafka: each kind of defect planted, and what is none.

What a topic holds is written here, by hand, as if a consumer had gone wrong in just that way.
"""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer

from consumer.adapters.avro import AvroCodec, encode_sent
from consumer.cli import main
from consumer.core.gift import Identity
from consumer.core.metadata import TextLimit, draft_metadata
from consumer.core.model import GiftResult, GiftSent, PartitionMetadata, Status
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.topics import TopicNames, commit_by_tool, create

pytestmark = pytest.mark.kafka

APP_ID = 5
CODEC = AvroCodec(frozenset({APP_ID}))
COUNTS = ("missing", "duplicate", "contradicting", "foreign")
HOUR_MS = 3_600_000


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


@dataclass
class Scene:
    """Three topics of one partition each, what is in them, and the command."""

    servers: str
    topics: TopicNames
    config: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    producer: Producer
    began_ms: int

    def gift(self, name: str, age_ms: int = 1_000) -> GiftSent:
        """A gift sent so long before the test began."""
        return GiftSent("room", "game", name, self.began_ms - age_ms)

    def write(
        self,
        topic: str,
        *values: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
        timestamp_ms: int = 0,
    ) -> None:
        """Records at the next offsets of a topic; their time is now unless it is said."""
        for value in values:
            self.producer.produce(
                topic, value, key=b"room", headers=list(headers), timestamp=timestamp_ms
            )
        assert self.producer.flush(10) == 0

    def send(self, *gifts: GiftSent) -> None:
        """Onto gift-sent, at the next offsets."""
        self.write(self.topics.gift_sent, *map(encode_sent, gifts))

    def result(
        self, gift: GiftSent, offset: int, status: Status = Status.SUCCEEDED, partition: int = 0
    ) -> GiftResult:
        """A result of this gift that names this source."""
        identity = Identity(APP_ID, gift.room_id, gift.mini_game_id, gift.msg_id, gift.sent_at)
        return GiftResult(
            gift, identity.result_id(), status, status is Status.UNCONSUMED, 0, None, None,
            "request", 1, gift.sent_at + 30_000, gift.sent_at + 31_000, partition, offset,
        )  # fmt: skip

    def publish(self, *results: GiftResult) -> None:
        """Onto gift-result."""
        self.write(self.topics.gift_result, *map(CODEC.encode, results))

    def bury(self, source_offset: int) -> None:
        """A dead letter of this record."""
        headers = {
            "giftcheck.source.topic": self.topics.gift_sent,
            "giftcheck.source.partition": "0",
            "giftcheck.source.offset": str(source_offset),
        }
        encoded = tuple((name, text.encode()) for name, text in headers.items())
        self.write(self.topics.dead_letters, b"no gift", headers=encoded)

    def commit(self, offset: int, answered: bytes = b"", since_wall_ms: int = 0) -> None:
        """The group's progress, as the consumer writes it."""
        draft = draft_metadata(
            PartitionMetadata("test", now_ms(), since_wall_ms, drained=False, answered=answered),
            TextLimit(),
        )
        commit_by_tool(self.servers, self.topics, offset, draft.text(TextLimit()) or "")

    def audit(self, *options: str) -> tuple[int, dict[str, Any]]:
        """The command with --json: its exit code and what it printed."""
        code, out = self.run("audit", "--config", str(self.config), "--json", *options)
        return code, json.loads(out)

    def run(self, *arguments: str) -> tuple[int, str]:
        """A command in this process: its exit code and what it printed."""
        self.monkeypatch.setattr(sys, "argv", ["giftcheck", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self.capsys.readouterr()
        assert err == "", "no bar without a terminal"
        assert isinstance(ended.value.code, int)
        return ended.value.code, out


@pytest.fixture
def scene(
    kafka_broker: KafkaBroker,
    topics: TopicNames,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """Topics that are empty."""
    create(kafka_broker.bootstrap_servers, topics)
    config = tmp_path / "giftcheck.yaml"
    document = {
        "kafka": {
            "bootstrap_servers": kafka_broker.bootstrap_servers,
            "group_id": topics.group_id,
        },
        "topics": {
            "gift_sent": topics.gift_sent,
            "gift_result": topics.gift_result,
            "dead_letters": topics.dead_letters,
        },
        "apps": [{"app_id": APP_ID, "server_secret": "secret"}],
    }
    config.write_text(yaml.safe_dump(document))
    servers = kafka_broker.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 0})
    yield Scene(servers, topics, config, capsys, monkeypatch, producer, now_ms())
    producer.close()


def wrong(told: dict[str, Any]) -> dict[str, int]:
    """Those counts that are defects and not zero."""
    return {name: told[name] for name in COUNTS if told[name]}


def test_topics_without_records_pass(scene: Scene) -> None:
    """Nothing is wrong with nothing; that no group was there is told."""
    code, told = scene.audit()
    assert (code, told["records"], wrong(told)) == (0, 0, {})
    assert "has committed nothing" in told["progress_unknown"]


def healthy(scene: Scene) -> list[GiftSent]:
    """Answered: four gifts, the third of them twice, and a record that is none; one is pending."""
    gifts = [scene.gift(name) for name in ("a", "b", "c", "c", "d")]
    scene.send(*gifts)
    scene.write(scene.topics.gift_sent, b"no gift")
    scene.send(scene.gift("pending"))
    for offset in (0, 1, 2, 4):
        scene.publish(scene.result(gifts[offset], offset))
    scene.bury(5)
    scene.commit(6)
    return gifts


def test_exactly_one_right_answer_each_passes(scene: Scene) -> None:
    """Shared, refused and pending records are no defects."""
    healthy(scene)
    code, told = scene.audit()
    assert (code, told["passed"], wrong(told)) == (0, True, {})
    assert (7, 6, 4, 1) == tuple(
        told[name] for name in ("records", "gifts", "results", "dead_letters")
    )
    assert (1, 1) == (told["shared"], told["pending"])
    assert told["progress_unknown"] is None
    assert told["topics"][scene.topics.gift_sent] == {"0": [0, 7]}


Plant = Callable[[Scene, list[GiftSent]], None]


def claimed_without_result(scene: Scene, _: list[GiftSent]) -> None:
    """The progress calls the pending record answered."""
    scene.commit(7)


def claimed_in_the_map(scene: Scene, _: list[GiftSent]) -> None:
    """The same, above the committed offset: bit 6."""
    scene.commit(5, bytes([0b1000000]))


def too_late(scene: Scene, _: list[GiftSent]) -> None:
    """A gift of two hours ago that is still pending."""
    gift = scene.gift("late", 2 * HOUR_MS)
    scene.write(scene.topics.gift_sent, encode_sent(gift), timestamp_ms=gift.sent_at)


def aborted(scene: Scene, _: list[GiftSent]) -> None:
    """The result of the pending gift is in a transaction that was aborted."""
    scene.commit(7)
    producer = transactional(scene)
    publish_open(scene, producer, scene.result(scene.gift("pending"), 6))
    producer.abort_transaction()
    producer.close()


def no_dead_letter(scene: Scene, _: list[GiftSent]) -> None:
    """A record that is no gift, and the progress goes on over it."""
    scene.write(scene.topics.gift_sent, b"\x00")
    scene.commit(6, bytes([0b10000000]))


def twice(scene: Scene, gifts: list[GiftSent]) -> None:
    """The second gift's result once more."""
    scene.publish(scene.result(gifts[1], 1))


def buried_twice(scene: Scene, _: list[GiftSent]) -> None:
    """The dead letter once more."""
    scene.bury(5)


def other_verdict(scene: Scene, gifts: list[GiftSent]) -> None:
    """A record of the first gift came later and was judged otherwise."""
    scene.send(gifts[0])
    scene.publish(scene.result(gifts[0], 7, Status.UNCONSUMED))


def of_nothing(scene: Scene, gifts: list[GiftSent]) -> None:
    """A result whose source is behind the end of gift-sent."""
    scene.publish(scene.result(gifts[0], 1_000))


def of_another(scene: Scene, gifts: list[GiftSent]) -> None:
    """A result that names the pending gift's record and tells of the first gift."""
    scene.publish(scene.result(gifts[0], 6))


def unreadable(scene: Scene, _: list[GiftSent]) -> None:
    """Somebody else writes to gift-result."""
    scene.write(scene.topics.gift_result, b"hello", None)


@pytest.mark.parametrize(
    ("plant", "expected", "where"),
    [
        (claimed_without_result, {"missing": 1}, ("gift_sent", 6)),
        (claimed_in_the_map, {"missing": 1}, ("gift_sent", 6)),
        (too_late, {"missing": 1}, ("gift_sent", 7)),
        (aborted, {"missing": 1}, ("gift_sent", 6)),
        (no_dead_letter, {"missing": 1}, ("gift_sent", 7)),
        (twice, {"duplicate": 1}, ("gift_result", 4)),
        (buried_twice, {"duplicate": 1}, ("dead_letters", 1)),
        (other_verdict, {"contradicting": 1}, ("gift_result", 4)),
        (of_nothing, {"foreign": 1}, ("gift_result", 4)),
        (of_another, {"foreign": 1}, ("gift_result", 4)),
        (unreadable, {"foreign": 2}, ("gift_result", 4)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_defect_is_found_where_it_is(
    scene: Scene, plant: Plant, expected: dict[str, int], where: tuple[str, int]
) -> None:
    """Exit code 1, one finding of its kind, with topic, partition and offset; also as text."""
    gifts = healthy(scene)
    plant(scene, gifts)
    code, told = scene.audit()
    assert (code, told["passed"], wrong(told)) == (1, False, expected)
    [kind] = expected
    topic, offset = getattr(scene.topics, where[0]), where[1]
    first = told["findings"][0]
    assert (kind, topic, 0, offset) == tuple(
        first[name] for name in ("kind", "topic", "partition", "offset")
    )
    code, text = scene.run("audit", "--config", str(scene.config))
    assert code == 1
    assert f"{kind}: {topic} 0/{offset}" in text
    assert text.endswith("FAILED.\n")


def transactional(scene: Scene) -> Producer:
    """A producer with a transaction to begin."""
    producer = Producer(
        {"bootstrap.servers": scene.servers, "transactional.id": f"{scene.topics.group_id}/x"}
    )
    producer.init_transactions(30)
    return producer


def publish_open(scene: Scene, producer: Producer, result: GiftResult) -> None:
    """A result in a transaction that is not decided."""
    producer.begin_transaction()
    producer.produce(scene.topics.gift_result, CODEC.encode(result), key=b"room")
    producer.flush(10)


def test_an_open_transaction_is_waited_for(scene: Scene) -> None:
    """The progress may be a moment ahead of what can be read: no record is called missing."""
    healthy(scene)
    scene.commit(7)
    producer = transactional(scene)
    publish_open(scene, producer, scene.result(scene.gift("pending"), 6))
    committing = threading.Timer(2, producer.commit_transaction)
    committing.start()
    code, told = scene.audit()
    committing.join()
    producer.close()
    assert (code, told["results"], told["pending"], wrong(told)) == (0, 5, 0, {})


def test_offsets_bound_what_is_audited(scene: Scene) -> None:
    """Defects outside are not seen, answers to records outside are counted as such."""
    gifts = healthy(scene)
    twice(scene, gifts)
    code, told = scene.audit("--from", "2", "--to", "0:6")
    assert (code, told["records"], told["outside"], wrong(told)) == (0, 4, 3, {})


def test_a_time_bounds_what_is_audited(scene: Scene) -> None:
    """Records of an earlier time are none of its business, missing or not."""
    too_late(scene, [])
    healthy_offsets = [scene.gift(name) for name in ("a", "b")]
    scene.send(*healthy_offsets)
    scene.publish(scene.result(healthy_offsets[0], 1), scene.result(healthy_offsets[1], 2))
    assert (1, {"missing": 1}) == unpacked(scene.audit())
    since = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(scene.began_ms / 1_000 - 60))
    code, told = scene.audit("--from", since)
    assert (code, told["records"], wrong(told)) == (0, 2, {})


def test_without_from_a_group_is_audited_from_where_it_first_started(scene: Scene) -> None:
    """What was sent before is not its business."""
    too_late(scene, [])
    gift = scene.gift("a")
    scene.send(gift)
    scene.publish(scene.result(gift, 1))
    scene.commit(2, since_wall_ms=scene.began_ms - 60_000)
    code, told = scene.audit()
    assert (code, told["records"], wrong(told)) == (0, 1, {})


def unpacked(audited: tuple[int, dict[str, Any]]) -> tuple[int, dict[str, int]]:
    """The exit code and the defects."""
    return audited[0], wrong(audited[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"topics": {"gift_result": "no-such-topic"}}, "no-such-topic.* does not exist"),
        ({"kafka": {"bootstrap_servers": "127.0.0.1:1", "properties": {"acks": 1}}}, "acks"),
    ],
)
def test_what_only_an_operator_can_mend_ends_with_2(
    scene: Scene, change: dict[str, Any], said: str
) -> None:
    """One line, no report."""
    document = yaml.safe_load(scene.config.read_text())
    for group, keys in change.items():
        document[group] |= keys
    scene.config.write_text(yaml.safe_dump(document))
    scene.monkeypatch.setattr(sys, "argv", ["giftcheck", "audit", "-c", str(scene.config)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = scene.capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    [line] = err.splitlines()
    assert re.search(said, line)
