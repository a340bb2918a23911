"""Avro on bytes: gift-sent in, gift-result out (design §3, "Formats").

Two framings, told apart by the first byte: Confluent's (`00`, a 4-byte schema id, the body) and
Avro's single-object encoding (`C3 01`, the schema's CRC-64 fingerprint, the body). Whatever the
writer's schema is, it is read as ours: aliases resolve, unknown fields are skipped.

fastavro works on the bytes directly; Confluent's (De)Serializer classes cost five times as much.
Timestamps stay integers: our reader schema leaves their logical type out, which saves a third.
"""

import functools
import io
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from consumer.core.intake import RECORD_BYTES_MAX, Refusal, admit
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

CONFLUENT_MAGIC: Final = 0x00
CONFLUENT_HEADER_BYTES: Final = 5
SINGLE_OBJECT_MARKER: Final = b"\xc3\x01"
SINGLE_OBJECT_HEADER_BYTES: Final = 10

TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate"})
"""What travels from a gift to its result."""

GIFT_SENT: Final = "gift-sent"
GIFT_RESULT: Final = "gift-result"

Schema = dict[str, Any]


def load_schema(name: str) -> Schema:
    """A schema of `schemas/`, as JSON: beside the package in a checkout, inside it in a wheel."""
    package = resources.files("consumer")
    for folder in (package / "schemas", Path(str(package)).parent / "schemas"):
        file = folder / f"{name}.avsc"
        if file.is_file():
            return cast("Schema", json.loads(file.read_text("utf-8")))
    raise FileNotFoundError(f"schemas/{name}.avsc")


def single_object_header(schema: Schema) -> bytes:
    """Marker and little-endian CRC-64-AVRO fingerprint of a schema."""
    digest = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    # As in Java, fastavro's digest is little-endian already: the bytes as they are on the wire.
    return SINGLE_OBJECT_MARKER + bytes.fromhex(digest)


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(each) for each in schema]
    if isinstance(schema, dict):
        return {
            key: _without_logical_types(value)
            for key, value in schema.items()
            if key != "logicalType"
        }
    return schema


def _parsed(schema: Any) -> Any:
    return fastavro.parse_schema(_without_logical_types(schema))


@dataclass(frozen=True, slots=True)
class WriterSchemas:
    """Whose events are understood, and how ours are framed.

    `by_id` are Confluent ids of gift-sent schemas; `more` are further single-object writers.
    With `result_id` results get Confluent framing, else single-object encoding.
    """

    by_id: Mapping[int, Schema] = field(default_factory=dict)
    more: Iterable[Schema] = ()
    result_id: int | None = None


def read_writer_schemas(
    folder: Path | None, ids: Mapping[int, str], result_id: int | None
) -> WriterSchemas:
    """The writer schemas a configuration names; `gift-sent` means the shipped one.

    Raises:
        ConfigurationError: a file cannot be read or holds no record's schema; names key and file.
    """
    more: list[Schema] = []
    if folder is not None:
        if not folder.is_dir():
            raise ConfigurationError(f"format.writer_schemas: {folder} is no folder")
        more = [
            _read_schema("format.writer_schemas", file) for file in sorted(folder.glob("*.avsc"))
        ]
    by_id = {
        number: load_schema(GIFT_SENT)
        if name == GIFT_SENT
        else _read_schema(f"format.schema_ids.{number}", Path(name))
        for number, name in ids.items()
    }
    return WriterSchemas(by_id, more, result_id)


def _read_schema(key: str, file: Path) -> Schema:
    try:
        schema = json.loads(file.read_text("utf-8"))
        fastavro.parse_schema(schema)
    except Exception as error:
        raise ConfigurationError(f"{key}: {file} is no Avro schema: {error}") from error
    if not isinstance(schema, dict) or schema["type"] != "record":
        raise ConfigurationError(f"{key}: {file} must hold the schema of a record")
    return cast("Schema", schema)


class AvroCodec:
    """Turns values into gifts and results into values; for one set of configured apps."""

    def __init__(self, apps: frozenset[int], writers: WriterSchemas | None = None) -> None:
        writers = writers or WriterSchemas()
        shipped_header, self._reader = _shipped(GIFT_SENT)
        self._apps = apps
        self._by_id = {number: self._prepared(schema) for number, schema in writers.by_id.items()}
        self._by_header = {
            single_object_header(schema): self._prepared(schema) for schema in writers.more
        }
        self._by_header[shipped_header] = self._reader
        self._result_header, self._result_schema = _shipped(GIFT_RESULT)
        if writers.result_id is not None:
            self._result_header = bytes([CONFLUENT_MAGIC]) + writers.result_id.to_bytes(4, "big")

    def decode(
        self,
        *,
        offset: int,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> GiftRead | RecordRefused:
        """Read one record of gift-sent; what is no valid gift comes back refused. Never raises."""
        sent = self._read(value)
        app_id = admit(sent, self._apps) if isinstance(sent, GiftSent) else sent
        if isinstance(app_id, Refusal) or isinstance(sent, Refusal):
            reason, detail = cast("Refusal", app_id)
            return RecordRefused(offset, timestamp_ms, reason, detail, key, value, headers)
        return GiftRead(
            offset=offset,
            timestamp_ms=timestamp_ms,
            app_id=app_id,
            sent=sent,
            headers=headers and tuple(each for each in headers if each[0] in TRACE_HEADERS),
            keyed_by_room=key == sent.room_id.encode(),
        )

    def encode(self, result: GiftResult) -> bytes:
        """Write one gift-result."""
        # What is no field of the event is not written.
        record = result.sent._asdict() | result._asdict() | {"status": result.status.value}
        return _encoded(self._result_header, self._result_schema, record)

    def _prepared(self, schema: Schema) -> Any:
        """A writer's schema; the very object of ours where it is the same.

        Whatever the platform calls its record, it was configured as gift-sent: resolution would
        refuse another name than ours.
        """
        parsed = {**_parsed(schema), "name": self._reader["name"]}
        return self._reader if parsed == self._reader else parsed

    def _read(self, value: bytes | None) -> GiftSent | Refusal:
        """The event in a value, by whichever framing it has."""
        if not value:
            return Refusal(Reason.TOMBSTONE, "the value is empty")
        if len(value) > RECORD_BYTES_MAX:
            return Refusal(Reason.TOO_LARGE, f"{len(value)} bytes, allowed are {RECORD_BYTES_MAX}")
        if value[0] == CONFLUENT_MAGIC and len(value) >= CONFLUENT_HEADER_BYTES:
            number = int.from_bytes(value[1:CONFLUENT_HEADER_BYTES], "big")
            return self._read_body(
                value, CONFLUENT_HEADER_BYTES, self._by_id.get(number), f"schema id {number}"
            )
        if value.startswith(SINGLE_OBJECT_MARKER) and len(value) >= SINGLE_OBJECT_HEADER_BYTES:
            header = value[:SINGLE_OBJECT_HEADER_BYTES]
            return self._read_body(
                value,
                SINGLE_OBJECT_HEADER_BYTES,
                self._by_header.get(header),
                f"fingerprint {header[2:][::-1].hex()}",
            )
        return Refusal(
            Reason.NOT_AVRO,
            f"begins with {value[:2].hex()}, neither 00 + id nor c301 + fingerprint",
        )

    def _read_body(self, value: bytes, begin: int, writer: Any, name: str) -> GiftSent | Refusal:
        if writer is None:
            return Refusal(Reason.SCHEMA_UNKNOWN, f"{name} is not known here")
        body = io.BytesIO(value)
        body.seek(begin)
        # Where nothing is to be resolved fastavro reads twice as fast.
        reader = None if writer is self._reader else self._reader
        try:
            record = cast("dict[str, Any]", fastavro.schemaless_reader(body, writer, reader))
            # Few rooms and games, many gifts, up to an hour in memory: they share their names.
            record["room_id"] = sys.intern(record["room_id"])
            record["mini_game_id"] = sys.intern(record["mini_game_id"])
            sent = GiftSent(**record)
        except Exception as error:  # noqa: BLE001  bytes from outside: any error means unreadable
            return Refusal(Reason.UNDECODABLE, f"{type(error).__name__}: {error}"[:200])
        if body.tell() != len(value):
            rest = len(value) - body.tell()
            return Refusal(Reason.UNDECODABLE, f"{rest} bytes are left over after the record")
        return sent


def encode_sent(sent: GiftSent) -> bytes:
    """A gift-sent event in single-object encoding, as a platform writes it."""
    header, schema = _shipped(GIFT_SENT)
    return _encoded(header, schema, sent._asdict())


def decode_result(value: bytes) -> GiftResult:
    """A gift-result event in either framing, as downstream reads it; headers are not in it.

    Raises:
        ValueError: it is not framed as a gift-result of this release.
        EOFError: it ends too early.
    """
    header, schema = _shipped(GIFT_RESULT)
    if value.startswith(header):
        begin = SINGLE_OBJECT_HEADER_BYTES
    elif value[:1] == bytes([CONFLUENT_MAGIC]):
        begin = CONFLUENT_HEADER_BYTES
    else:
        raise ValueError(
            f"no gift-result: it begins with {value[:SINGLE_OBJECT_HEADER_BYTES].hex()}"
        )
    body = io.BytesIO(value)
    body.seek(begin)
    record = cast("dict[str, Any]", fastavro.schemaless_reader(body, schema, None))
    sent = GiftSent(**{name: record.pop(name) for name in GiftSent._fields})
    record["status"] = Status(record["status"])
    return GiftResult(sent=sent, **record)


@functools.cache
def _shipped(name: str) -> tuple[bytes, Any]:
    """The single-object header and the parsed form of a schema in `schemas/`."""
    schema = load_schema(name)
    return single_object_header(schema), _parsed(schema)


def _encoded(header: bytes, schema: Any, record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(header)
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()
