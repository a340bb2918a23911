"""The words of the core: keys, gifts and results, answers, progress and cuts.

Times end in `_ms` and are integers. A name with `wall` in it, and every field of an event, is
Unix time; everything else is monotonic (see `consumer.clock`). `now_ms` comes in from outside,
once a turn, together with the wall clock.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]


class RoomKey(NamedTuple):
    """A room, as the API limits it: permits are counted per room, whatever the game."""

    app_id: int
    room_id: str


class WindowKey(NamedTuple):
    """A room window: what one check may ask about, read from one partition.

    The partition belongs to the key because leases, hand-over and revocation speak of
    partitions. Where the input is keyed by room, as it must be, a room has just one.
    """

    partition: int
    app_id: int
    room_id: str
    mini_game_id: str

    @property
    def room(self) -> RoomKey:
        """The room whose permits this window's checks take."""
        return RoomKey(self.app_id, self.room_id)


class GiftSent(NamedTuple):
    """A gift-sent event, field by field as it was read (`schemas/gift-sent.avsc`)."""

    room_id: str
    mini_game_id: str
    msg_id: str
    sent_at: int
    app_id: int | None = None
    user_id: str | None = None
    gift_id: str | None = None
    receiver_id: str | None = None
    value: int | None = None
    num: int | None = None


class GiftRead(NamedTuple):
    """A record that holds a valid gift.

    `app_id` is the app it belongs to, also where the event left it out. `headers` are those that
    travel on to the result (`traceparent`, `tracestate`). `keyed_by_room` is whether the record's
    key was the room id, as it must be for one room to have one owner.
    """

    offset: int
    timestamp_ms: int
    app_id: int
    sent: GiftSent
    headers: Headers = ()
    keyed_by_room: bool = True


class Reason(Enum):
    """Why a record went to the dead letters; the value is the header `giftcheck.reason`."""

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_AVRO = "not_avro"
    SCHEMA_UNKNOWN = "schema_unknown"
    UNDECODABLE = "undecodable"
    ROOM_INVALID = "room_invalid"
    GAME_INVALID = "game_invalid"
    MSG_ID_INVALID = "msg_id_invalid"
    SENT_AT_INVALID = "sent_at_invalid"
    APP_MISSING = "app_missing"
    APP_UNKNOWN = "app_unknown"


class RecordRefused(NamedTuple):
    """A record that cannot be read or is not a valid gift: kept byte for byte (promise P4)."""

    offset: int
    timestamp_ms: int
    reason: Reason
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Status(Enum):
    """The verdicts of `schemas/gift-result.avsc`."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNCONSUMED = "UNCONSUMED"
    UNVERIFIED = "UNVERIFIED"


class GiftResult(NamedTuple):
    """A gift-result event, before it is encoded; `headers` pass through from the input."""

    sent: GiftSent
    result_id: str
    status: Status
    synthetic: bool
    result_code: int | None
    reason: str | None
    game_timestamp: int | None
    request_id: str | None
    checks: int
    deadline: int
    decided_at: int
    source_partition: int
    source_offset: int
    headers: Headers = ()


class DeadLetter(NamedTuple):
    """A refused record on its way to the dead-letter topic."""

    partition: int
    record: RecordRefused


# --- the API's answers -------------------------------------------------------------------------


class Trouble(Enum):
    """Why a check brought no list of results, by what is to be done about it (design §7)."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    BAD_REQUEST = "bad_request"
    THIS_GAME = "this_game"
    CREDENTIALS = "credentials"
    CONFIGURATION = "configuration"
    CLOCK = "clock"


class Entry(NamedTuple):
    """One element of the answer's `Data.Results`."""

    msg_id: str
    result: int
    message: str | None
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The vendor's JSON, whatever its `Code`: it ends the check (design §5).

    `complete` is False if `Results` was no list or an entry was unusable: the readable entries
    count, but absence is not proven. `date_wall_ms` is the `Date` header, which has whole seconds.
    """

    code: int
    message: str
    request_id: str | None = None
    entries: tuple[Entry, ...] = ()
    complete: bool = True
    date_wall_ms: int | None = None
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One request to be written: one room, one game, many MsgIds.

    It may be written only before `write_before_ms` (monotonic, exclusive): the lease of its
    partition, tested at the write itself. `duration_days` is how far back it looks; None: as far
    as the vendor does by itself.
    """

    check_id: int
    app_id: int
    room_id: str
    mini_game_id: str
    msg_ids: tuple[str, ...]
    write_before_ms: int
    duration_days: int | None = None


# --- progress and cuts ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartitionMetadata:
    """What the offset's metadata said about a partition (design §4 and §5).

    `answered` is a bitmap of the offsets from `offset // 8 * 8` on, lowest bit first, 1 for
    answered. `since_wall_ms` is when the group first started, 0 for the beginning of the log: a
    partition added later starts there.
    """

    instance: str
    cut_wall_ms: int
    since_wall_ms: int
    drained: bool
    answered: bytes = b""


@dataclass(frozen=True, slots=True)
class CutOffset:
    """The offset to commit for one partition of a cut, and its metadata text."""

    partition: int
    epoch: int
    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The consistent set of results and progress that one transaction commits.

    Holds an offset for every partition that has a result or a dead letter in it: the only fence
    there is (design §4). `rest`: there is more that one transaction does not take. `interval_ms`:
    so long after this one the next may be asked for, at the earliest, unless all is to be handed
    over.
    """

    cut_id: int
    offsets: tuple[CutOffset, ...]
    results: tuple[GiftResult, ...]
    dead_letters: tuple[DeadLetter, ...]
    rest: bool = False
    interval_ms: int = 0


# --- rules -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckRules:
    """The numbers the rules run on; defaults and reasons are in `consumer.settings`."""

    timeout_ms: int = 30_000
    settle_ms: int = 1_000
    give_up_after_ms: int = 3_600_000
    request_price_ms: float = 30.0
    request_timeout_ms: int = 3_000
    requests_in_flight_max: int = 256
    batch_size_max: int = 100
    room_permits: int = 20
    lease_ms: int = 3_000
    unknown_hold_min_ms: int = 2_000
    unknown_hold_max_ms: int = 60_000
    pending_gifts_max: int = 500_000
    overdue_gifts_max: int = 100_000
    replay_records_max: int = 1_000_000
