"""What the core is told (inputs, past tense) and what it wants done (actions, imperative).

Times are as in `model`. Whoever runs the core hands in inputs one by one, and carries out actions in
their order.
"""

from dataclasses import dataclass
from enum import Enum

from consumer.core.limits import Limit
from consumer.core.model import Answer, Check, GiftRead, PartitionMetadata, RecordRefused, Trouble

# --- inputs: what happened ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartitionAssigned:
    """This process owns a partition from `offset` on; `metadata` is None at the very start."""

    partition: int
    epoch: int
    offset: int
    since_wall_ms: int
    metadata: PartitionMetadata | None


@dataclass(frozen=True, slots=True)
class PartitionRevoked:
    """A partition is gone, after its last cut or without one (lost)."""

    partition: int
    epoch: int


@dataclass(frozen=True, slots=True)
class RecordsRead:
    """Records of one partition in offset order, up to but not including `next_offset`.

    Offsets below `next_offset` that are not among the records are gaps or already answered.
    `unread_count` is how many more the log holds, as far as is known.
    """

    partition: int
    epoch: int
    records: tuple[GiftRead | RecordRefused, ...]
    next_offset: int
    unread_count: int = 0


@dataclass(frozen=True, slots=True)
class CheckAnswered:
    """The vendor answered a check."""

    check_id: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class CheckLost:
    """A check was (or may have been) written and got no answer of the vendor's.

    `stale_connection`: a reused connection was closed before the first byte of an answer, which
    says nothing about the server.
    """

    check_id: int
    trouble: Trouble
    detail: str
    retry_after_ms: int | None = None
    stale_connection: bool = False


@dataclass(frozen=True, slots=True)
class CheckNotWritten:
    """Not one byte of a check left this process: lease over, no connection, stopping."""

    check_id: int
    detail: str
    lease_over: bool = False


@dataclass(frozen=True, slots=True)
class CutCommitted:
    """The transaction that held a cut is committed."""

    cut_id: int


@dataclass(frozen=True, slots=True)
class CutAborted:
    """The transaction that held a cut is known not to be committed.

    `metadata_refused`: because the broker found an offset's metadata too large.
    """

    cut_id: int
    metadata_refused: bool = False


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """No new checks for these partitions: they are being revoked, or (None) the process stops."""

    partitions: frozenset[int] | None


Input = (
    PartitionAssigned
    | PartitionRevoked
    | RecordsRead
    | CheckAnswered
    | CheckLost
    | CheckNotWritten
    | CutCommitted
    | CutAborted
    | DrainStarted
)


# --- actions: what is to be done ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendCheck:
    """Write this check to the API; its permit and its slot are already taken."""

    check: Check


@dataclass(frozen=True, slots=True)
class PauseIntake:
    """Read no more records of this partition; `reason` is for people."""

    partition: int
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class ResumeIntake:
    """Read on."""

    partition: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ReportTrouble:
    """Tell people: somebody has to mend this game (or, where `mini_game_id` is None, this app)."""

    trouble: Trouble
    app_id: int
    mini_game_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class ReportGiveUps:
    """Tell people: gifts are given up early for this limit.

    From now on where `count` is None; else that this has ended, after so many.
    """

    limit: Limit
    count: int | None


class Fault(Enum):
    """What can be wrong with the host, the process or its input; begins and ends visibly.

    INPUT_KEYS: gifts are not keyed by their rooms (design §5). It does not end: two pods may have
    asked about one room, and how many records are wrong only their counters tell.
    """

    HOST_DOWN = "host_down"
    WALL_CLOCK = "wall_clock"
    INPUT_KEYS = "input_keys"


@dataclass(frozen=True, slots=True)
class ReportFault:
    """Tell people: a fault has begun, or (`detail` is None) has ended."""

    fault: Fault
    detail: str | None


Action = SendCheck | PauseIntake | ResumeIntake | ReportTrouble | ReportGiveUps | ReportFault
