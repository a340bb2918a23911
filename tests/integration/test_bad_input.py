"""Promise P4 end to end: what is no gift becomes a dead letter, and the stream goes on."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import cast

import pytest
from confluent_kafka import Message

from consumer.adapters.avro import CONFLUENT_MAGIC, encode_sent, single_object_header
from consumer.core.intake import RECORD_BYTES_MAX
from consumer.core.model import GiftSent
from consumer.demo.load import ProducedGift, gift_of
from tests.integration.fleet import APP_ID, Fleet, Scene, fleet
from tests.kafka.topics import committed_records, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

NOW_MS = 1_790_000_000_000
YEAR_MS = 365 * 86_400_000

SHORT_SCHEMA = {
    "type": "record",
    "name": "GiftSent",
    "namespace": "giftcheck.v1",
    "fields": [{"name": "room_id", "type": "string"}, {"name": "mini_game_id", "type": "string"}],
}


def gift(**fields: object) -> GiftSent:
    """A valid gift, but for these fields."""
    valid: dict[str, object] = {
        "room_id": "room-x",
        "mini_game_id": "game",
        "msg_id": "bad",
        "sent_at": NOW_MS,
        "app_id": APP_ID,
    }
    return GiftSent(**{**valid, **fields})  # type: ignore[arg-type]  # wrong on purpose


HEADERS: list[tuple[str, bytes | None]] = [("kept", b"yes"), ("null", None)]

LETTERS: list[tuple[str, bytes | None, str]] = [
    ("not Avro", b"hello", "not_avro"),
    ("unknown fingerprint", b"\xc3\x01" + bytes(8) + b"body", "schema_unknown"),
    ("unknown schema id", bytes([CONFLUENT_MAGIC]) + b"\x00\x00\x00\x09body", "schema_unknown"),
    ("truncated", encode_sent(gift())[:-3], "undecodable"),
    ("1.5 MiB", Random(1).randbytes(1_572_864), "too_large"),  # no compression helps
    ("tombstone", None, "tombstone"),
    ("missing field", single_object_header(SHORT_SCHEMA) + b"\x02r\x02g", "undecodable"),
    ("illegal MsgId", encode_sent(gift(msg_id="a b")), "msg_id_invalid"),
    ("long MsgId", encode_sent(gift(msg_id="x" * 65)), "msg_id_invalid"),
    ("empty room", encode_sent(gift(room_id="")), "room_invalid"),
    ("unknown app", encode_sent(gift(app_id=99)), "app_unknown"),
    ("sent_at 0", encode_sent(gift(sent_at=0)), "sent_at_invalid"),
    ("sent_at negative", encode_sent(gift(sent_at=-5)), "sent_at_invalid"),
]


async def test_what_is_no_gift_becomes_a_dead_letter_and_the_stream_goes_on(
    scene: Scene, tmp_path: Path
) -> None:
    """Each with its reason, byte for byte (the largest cut), and every gift around them right."""
    (tmp_path / "short.avsc").write_text(json.dumps(SHORT_SCHEMA))
    topics = scene.topics
    scene = replace(
        scene,
        members=1,
        rate=50,
        rooms=10,
        timeout_ms=3_000,
        settings={"format": {"writer_schemas": str(tmp_path)}},
        gift_sent={"max.message.bytes": "2097152"},
    )
    async with fleet(scene) as run:
        await run.send_gifts(duration_ms=1_000)
        produce(
            scene.bootstrap_servers,
            topics.gift_sent,
            [value for _, value, _ in LETTERS],
            headers=HEADERS,
        )
        # A sender's wrong unit and a sender's wrong clock: odd, but gifts.
        send(run, scene, gift(msg_id="in-seconds", sent_at=NOW_MS // 1_000))
        send(run, scene, gift(msg_id="a-year-ahead", sent_at=NOW_MS + YEAR_MS))
        await run.send_gifts(duration_ms=2_000)
        await run.settle(within_s=60)

        assert (0, 0, []) == (run.ledger.missing, run.ledger.duplicates, run.ledger.false_reasons)

    letters = committed_records(scene.bootstrap_servers, topics.dead_letters)
    reasons = sorted(header(letter, "giftcheck.reason") for letter in letters)
    assert sorted(reason for _, _, reason in LETTERS) == reasons
    for letter in letters:
        assert HEADERS == cast("list[object]", letter.headers())[: len(HEADERS)]
    kept = [(letter.value(), header(letter, "giftcheck.reason")) for letter in letters]
    for name, value, reason in LETTERS:
        # Only what the broker refuses for its size is cut.
        expected = value[:RECORD_BYTES_MAX] if value and name == "1.5 MiB" else value
        assert (expected, reason) in kept, name


def header(letter: Message, name: str) -> str:
    """A header of a record, as text."""
    value = dict(letter.headers() or ())[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def send(run: Fleet, scene: Scene, sent: GiftSent) -> None:
    """Send one gift, known to the simulated API and to the ledger."""
    now_us = run.simulator.clock_us()
    fate = run.simulator.truth.send(gift_of(sent), now_us // 1_000)
    run.ledger.produced(ProducedGift(gift_of(sent), fate, now_us))
    produce(scene.bootstrap_servers, scene.topics.gift_sent, [encode_sent(sent)])
