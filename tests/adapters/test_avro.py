"""The codec: both framings, evolution, every reason for refusal, and bytes of all kinds."""

import copy
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.avro import (
    GIFT_RESULT,
    GIFT_SENT,
    AvroCodec,
    WriterSchemas,
    decode_result,
    encode_sent,
    load_schema,
    read_writer_schemas,
    single_object_header,
)
from consumer.core.model import (
    GiftRead,
    GiftResult,
    GiftSent,
    Headers,
    Reason,
    RecordRefused,
    Status,
)
from consumer.errors import ConfigurationError

APP_ID = 1_234_567_890
APPS = frozenset({APP_ID})
SCHEMA_ID = 258
KIB_64 = 64 * 1024

SENT = GiftSent(
    "room-1", "game", "msg-1", 1_700_000_000_000, APP_ID, "user", "rose", "anchor", 100, 3
)
SENT_BARE = GiftSent("room-1", "game", "msg-1", 1_700_000_000_000)
RESULT = GiftResult(
    sent=SENT,
    result_id="0123456789abcdef0123456789abcdef",
    status=Status.FAILED,
    synthetic=False,
    result_code=10003,
    reason="user not in the game",
    game_timestamp=1_700_000_000_001,
    request_id="request-1",
    checks=3,
    deadline=1_700_000_030_000,
    decided_at=1_700_000_001_000,
    source_partition=2,
    source_offset=2**40,
)
RESULT_BARE = RESULT._replace(
    sent=SENT_BARE,
    status=Status.UNCONSUMED,
    synthetic=True,
    result_code=None,
    reason=None,
    game_timestamp=None,
    request_id=None,
)

VENDOR_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "GiftSent",
    "namespace": "com.example.platform",
    "fields": [
        {"name": "RoomId", "type": "string"},
        {"name": "MiniGameId", "type": "string"},
        {"name": "MsgId", "type": "string"},
        {"name": "Timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "Num", "type": ["null", "int"], "default": None},
        {"name": "Colours", "type": {"type": "array", "items": "string"}, "default": []},
    ],
}
VENDOR_RECORD = {
    "RoomId": "room-1",
    "MiniGameId": "game",
    "MsgId": "msg-1",
    "Timestamp": 1_700_000_000_000,
    "Num": 3,
    "Colours": ["red"],
}


def without(schema: dict[str, Any], field: str) -> dict[str, Any]:
    """The schema less one field."""
    fields = [each for each in schema["fields"] if each["name"] != field]
    return {**schema, "fields": fields}


def body(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    """A record as fastavro itself writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return out.getvalue()


def confluent(schema_id: int, content: bytes) -> bytes:
    """Confluent framing."""
    return b"\x00" + schema_id.to_bytes(4, "big") + content


def decode(
    value: bytes | None,
    writers: WriterSchemas | None = None,
    *,
    apps: frozenset[int] = APPS,
    key: bytes | None = b"room-1",
    headers: Headers = (),
) -> GiftRead | RecordRefused:
    """One record at offset 5, taken in by a codec with these writers."""
    codec = AvroCodec(apps, writers)
    return codec.decode(offset=5, timestamp_ms=6, key=key, value=value, headers=headers)


def refusal(
    value: bytes | None,
    writers: WriterSchemas | None = None,
    *,
    apps: frozenset[int] = APPS,
) -> tuple[Reason, str]:
    """Reason and detail of a record that must be refused."""
    refused = decode(value, writers, apps=apps)
    assert isinstance(refused, RecordRefused), refused
    return refused.reason, refused.detail


@pytest.mark.parametrize("sent", [SENT, SENT_BARE], ids=["full", "bare"])
def test_a_single_object_gift_is_read_as_it_was_written(sent: GiftSent) -> None:
    """Every field arrives unchanged, timestamps as integers, absent ones as None."""
    read = decode(encode_sent(sent))
    assert GiftRead(5, 6, APP_ID, sent) == read


def test_the_single_object_fingerprint_is_little_endian_crc_64_avro() -> None:
    """The header is the one of the Avro specification: C3 01, then 8 bytes."""
    # CRC-64-AVRO of `"int"`, from the specification's published test vectors.
    assert bytes.fromhex("c301") + bytes.fromhex("7275d51a3f395c8f")[::-1] == (
        single_object_header({"type": "int"})
    )


def test_the_shipped_schemas_describe_the_events_field_for_field() -> None:
    """The codec's types and `schemas/` cannot drift apart."""
    sent_names = [field["name"] for field in load_schema(GIFT_SENT)["fields"]]
    result_names = [field["name"] for field in load_schema(GIFT_RESULT)["fields"]]
    own_names = [name for name in GiftResult._fields if name not in {"sent", "headers"}]
    assert list(GiftSent._fields) == sent_names
    assert [*sent_names, *own_names] == result_names


def test_every_field_of_the_events_has_a_doc() -> None:
    """A schema is what other teams read first."""
    missing = [
        field["name"]
        for name in (GIFT_SENT, GIFT_RESULT)
        for field in load_schema(name)["fields"]
        if not field.get("doc")
    ]
    assert missing == []


def test_a_confluent_gift_is_read_by_its_schema_id() -> None:
    """The id's schema comes from the local mapping."""
    value = confluent(SCHEMA_ID, body(load_schema(GIFT_SENT), SENT._asdict()))
    read = decode(value, WriterSchemas(by_id={SCHEMA_ID: load_schema(GIFT_SENT)}))
    assert GiftRead(5, 6, APP_ID, SENT) == read


def test_a_writer_schema_in_the_vendors_spelling_resolves_to_ours() -> None:
    """Aliases rename, int widens to long, unknown fields are skipped, absent ones are null."""
    value = confluent(SCHEMA_ID, body(VENDOR_SCHEMA, VENDOR_RECORD))
    read = decode(value, WriterSchemas(by_id={SCHEMA_ID: VENDOR_SCHEMA}))
    assert GiftRead(5, 6, APP_ID, SENT_BARE._replace(num=3)) == read


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("PlatformGift", "com.example"),
        ("GiftSent", "giftcheck.v1"),
        ("GiftSent", "x"),
        ("Sent", ""),
    ],
)
def test_a_writers_record_may_have_any_name(name: str, namespace: str) -> None:
    """What is configured as gift-sent is read as such, in both framings, aliases included."""
    schema = {**VENDOR_SCHEMA, "name": name, "namespace": namespace}
    content = body(schema, VENDOR_RECORD)
    writers = WriterSchemas(by_id={SCHEMA_ID: schema}, more=[schema])
    expected = GiftRead(5, 6, APP_ID, SENT_BARE._replace(num=3))
    assert expected == decode(confluent(SCHEMA_ID, content), writers)
    assert expected == decode(single_object_header(schema) + content, writers)


def test_a_single_object_writer_schema_is_found_by_its_fingerprint() -> None:
    """Extra writers are understood in single-object encoding too."""
    value = single_object_header(VENDOR_SCHEMA) + body(VENDOR_SCHEMA, VENDOR_RECORD)
    read = decode(value, WriterSchemas(more=[VENDOR_SCHEMA]))
    assert GiftRead(5, 6, APP_ID, SENT_BARE._replace(num=3)) == read


def test_only_trace_headers_travel_on() -> None:
    """`traceparent` and `tracestate` reach the result, nothing else does."""
    headers = (("traceparent", b"00-1"), ("tenant", b"x"), ("tracestate", b"a=1"))
    read = decode(encode_sent(SENT), headers=headers)
    assert isinstance(read, GiftRead)
    assert (headers[0], headers[2]) == read.headers


@pytest.mark.parametrize(
    ("key", "keyed"), [(b"room-1", True), (b"room-2", False), (None, False), (b"\xff", False)]
)
def test_whether_a_record_is_keyed_by_its_room_is_told(key: bytes | None, *, keyed: bool) -> None:
    """The room limit rests on it, so a foreign key must be seen."""
    read = decode(encode_sent(SENT), key=key)
    assert isinstance(read, GiftRead)
    assert keyed == read.keyed_by_room


def test_a_refused_record_is_kept_byte_for_byte() -> None:
    """Key, value and all headers stay as they came: they go to the dead letters."""
    headers = (("traceparent", b"00-1"), ("tenant", b"\xff"), ("tenant", b""))
    refused = decode(b"\x7bnot avro", key=b"\xff", headers=headers)
    assert isinstance(refused, RecordRefused)
    kept = (5, 6, b"\xff", b"\x7bnot avro", headers)
    assert kept == (
        refused.offset, refused.timestamp_ms, refused.key, refused.value, refused.headers,
    )  # fmt: skip


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_value_is_a_tombstone(value: bytes | None) -> None:
    """There is no gift in it."""
    assert refusal(value)[0] == Reason.TOMBSTONE


def test_a_value_above_64_kib_is_too_large() -> None:
    """The bound is inclusive: 64 KiB are read, one byte more is not looked at."""
    assert refusal(b"x" * KIB_64)[0] == Reason.NOT_AVRO
    assert refusal(b"x" * (KIB_64 + 1))[0] == Reason.TOO_LARGE
    assert refusal(encode_sent(SENT) + b"x" * (3 * KIB_64 * 8))[0] == Reason.TOO_LARGE


@pytest.mark.parametrize(
    "value", [b"{}", b"\x00", b"\x00\x00\x00\x01", b"\xc3", b"\xc3\x02" + bytes(8), b"\xc3\x01abc"]
)
def test_bytes_in_no_known_framing_are_not_avro(value: bytes) -> None:
    """The detail shows how the value begins."""
    reason, detail = refusal(value)
    assert reason == Reason.NOT_AVRO
    assert value[:2].hex() in detail


def test_an_unknown_schema_id_is_named() -> None:
    """The detail holds the id, as it must be written into the mapping."""
    assert (Reason.SCHEMA_UNKNOWN, f"schema id {SCHEMA_ID} is not known here") == refusal(
        confluent(SCHEMA_ID, b"")
    )


def test_an_unknown_fingerprint_is_named() -> None:
    """The detail holds the fingerprint as tools print it, big-endian."""
    reason, detail = refusal(b"\xc3\x01\x08\x07\x06\x05\x04\x03\x02\x01")
    assert reason == Reason.SCHEMA_UNKNOWN
    assert "0102030405060708" in detail


def test_every_truncation_of_a_gift_is_undecodable() -> None:
    """Wherever the body ends too early."""
    value = encode_sent(SENT)
    reasons = {refusal(value[:length])[0] for length in range(10, len(value))}
    assert {Reason.UNDECODABLE} == reasons


def test_bytes_after_the_record_are_undecodable() -> None:
    """What is left over means that the schema was not the writer's."""
    reason, detail = refusal(encode_sent(SENT) + b"\x00\x00")
    assert reason == Reason.UNDECODABLE
    assert "2 bytes" in detail


def test_a_room_that_is_no_utf_8_is_undecodable() -> None:
    """A string must be one."""
    value = encode_sent(SENT).replace(b"room-1", b"room\xff\xfe")
    assert refusal(value)[0] == Reason.UNDECODABLE


def test_a_field_that_the_writer_does_not_have_is_named() -> None:
    """A required field has no default to stand in for it."""
    schema = without(VENDOR_SCHEMA, "MsgId")
    value = confluent(SCHEMA_ID, body(schema, VENDOR_RECORD))
    reason, detail = refusal(value, WriterSchemas(by_id={SCHEMA_ID: schema}))
    assert reason == Reason.UNDECODABLE
    assert "msg_id" in detail


def test_a_readable_record_that_is_no_gift_has_the_intakes_reason() -> None:
    """Decoding is not enough: the validity rule has the last word."""
    assert refusal(encode_sent(SENT._replace(room_id="")))[0] == Reason.ROOM_INVALID
    assert refusal(encode_sent(SENT._replace(msg_id="a b")))[0] == Reason.MSG_ID_INVALID
    assert refusal(encode_sent(SENT._replace(sent_at=-1)))[0] == Reason.SENT_AT_INVALID
    assert refusal(encode_sent(SENT._replace(app_id=7)))[0] == Reason.APP_UNKNOWN
    assert refusal(encode_sent(SENT_BARE), apps=frozenset({1, 2}))[0] == Reason.APP_MISSING


ANY_VALUE = (
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda tail: encode_sent(SENT)[:10] + tail)
    | st.binary(max_size=200).map(lambda tail: confluent(SCHEMA_ID, tail))
)


@given(value=ANY_VALUE, key=st.none() | st.binary(max_size=20))
def test_whatever_the_bytes_a_record_is_read_or_refused(value: bytes, key: bytes | None) -> None:
    """Nothing that comes from the topic raises, and a gift that is read can be written."""
    read = decode(value, WriterSchemas(by_id={SCHEMA_ID: VENDOR_SCHEMA}), key=key)
    if isinstance(read, GiftRead):
        result = RESULT._replace(sent=read.sent)
        assert result == decode_result(AvroCodec(APPS).encode(result))
    else:
        assert (key, value) == (read.key, read.value)


@given(position=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_damaged_gift_is_read_or_refused(position: int, byte: int) -> None:
    """One byte changed anywhere never raises."""
    value = bytearray(encode_sent(SENT))
    value[position % len(value)] = byte
    assert isinstance(decode(bytes(value)), GiftRead | RecordRefused)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
longs = st.integers(-(2**63), 2**63 - 1)
ids = st.text("0123456789azAZ_-", min_size=1, max_size=64)


@given(
    sent=st.builds(
        GiftSent,
        room_id=texts.filter(bool),
        mini_game_id=texts.filter(bool),
        msg_id=ids,
        sent_at=st.integers(1, 2**63 - 1),
        app_id=st.none() | st.just(APP_ID),
        user_id=st.none() | texts,
        gift_id=st.none() | texts,
        receiver_id=st.none() | texts,
        value=st.none() | longs,
        num=st.none() | longs,
    )
)
def test_any_gift_survives_being_written_and_read(sent: GiftSent) -> None:
    """Whatever a platform may put into the fields."""
    assert GiftRead(5, 6, APP_ID, sent) == decode(encode_sent(sent), key=sent.room_id.encode())


@pytest.mark.parametrize("result", [RESULT, RESULT_BARE], ids=["full", "bare"])
@pytest.mark.parametrize("result_id", [None, SCHEMA_ID], ids=["single-object", "confluent"])
def test_a_result_is_written_so_that_downstream_reads_it(
    result: GiftResult, result_id: int | None
) -> None:
    """Either framing holds all fields; headers travel beside the value."""
    codec = AvroCodec(APPS, WriterSchemas(result_id=result_id))
    assert result == decode_result(codec.encode(result._replace(headers=(("a", b"b"),))))


def test_a_result_has_the_framing_that_was_asked_for() -> None:
    """Single-object by default, Confluent's with the configured id."""
    single = AvroCodec(APPS).encode(RESULT)
    framed = AvroCodec(APPS, WriterSchemas(result_id=SCHEMA_ID)).encode(RESULT)
    assert single_object_header(load_schema(GIFT_RESULT)) == single[:10]
    assert confluent(SCHEMA_ID, single[10:]) == framed


def test_a_plain_avro_reader_sees_timestamps_as_such() -> None:
    """Our leaving out of logical types is an inner matter: the shipped schema has them."""
    value = AvroCodec(APPS).encode(RESULT)
    schema = fastavro.parse_schema(load_schema(GIFT_RESULT))
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)
    assert (record["status"], record["sent_at"].year) == ("FAILED", 2023)


def test_what_is_no_result_is_not_taken_for_one() -> None:
    """A gift-sent value, or bytes of any other kind, is refused."""
    for value in (b"", b"x", encode_sent(SENT)):
        with pytest.raises(ValueError, match="no gift-result"):
            decode_result(value)


def test_configured_writer_schemas_are_read(tmp_path: Path) -> None:
    """A folder of more writers, files by id, and the name of the shipped schema."""
    vendor = tmp_path / "vendor.avsc"
    vendor.write_text(json.dumps(VENDOR_SCHEMA))
    writers = read_writer_schemas(tmp_path, {1: GIFT_SENT, 2: str(vendor)}, SCHEMA_ID)
    expected = WriterSchemas(
        {1: load_schema(GIFT_SENT), 2: VENDOR_SCHEMA}, [VENDOR_SCHEMA], SCHEMA_ID
    )
    assert expected == writers


def test_a_writer_schema_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The error holds the setting's key and the file."""
    broken = tmp_path / "broken.avsc"
    broken.write_text('{"type": "record"}')
    with pytest.raises(ConfigurationError, match=r"format\.writer_schemas: .*broken\.avsc"):
        read_writer_schemas(tmp_path, {}, None)
    with pytest.raises(ConfigurationError, match=r"format\.schema_ids\.3: .*none\.avsc"):
        read_writer_schemas(None, {3: str(tmp_path / "none.avsc")}, None)
    with pytest.raises(ConfigurationError, match=r"format\.writer_schemas: .*is no folder"):
        read_writer_schemas(tmp_path / "none", {}, None)


@pytest.mark.parametrize("content", ['"string"', '{"type": "string"}', '["null", "long"]'])
def test_a_writer_schema_that_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    """No gift could ever be read with it, so it is said at the start."""
    (tmp_path / "text.avsc").write_text(content)
    with pytest.raises(ConfigurationError, match=r"text\.avsc must hold the schema of a record"):
        read_writer_schemas(tmp_path, {}, None)


def test_a_schema_that_is_not_shipped_is_named() -> None:
    """A broken installation says what it lacks."""
    with pytest.raises(FileNotFoundError, match=r"schemas/none\.avsc"):
        load_schema("none")
