"""Records, as an audit is fed them: short to write, everything else is a default."""

from consumer.audit.claims import Claim
from consumer.audit.judgement import Audit
from consumer.audit.model import Range, Report, Scope
from consumer.core.gift import Identity
from consumer.core.model import (
    GiftRead,
    GiftResult,
    GiftSent,
    Reason,
    RecordRefused,
    Status,
)

APP_ID = 5
NOW_MS = 1_800_000_000_000
GIVE_UP_MS = 3_900_000
LONG_AGO_MS = NOW_MS - GIVE_UP_MS
"""The latest start of a gift that should have been given up by now."""

RANGES = {0: Range(100, 120), 1: Range(0, 20)}


def sent(gift: str, sent_at: int = NOW_MS - 1_000) -> GiftSent:
    """The event of a gift, named by its MsgId."""
    return GiftSent("room", "game", gift, sent_at)


def result_id(gift: str, sent_at: int = NOW_MS - 1_000) -> str:
    """What identifies the gift."""
    return Identity(APP_ID, "room", "game", gift, sent_at).result_id()


def read(
    offset: int, gift: str, sent_at: int = NOW_MS - 1_000, timestamp_ms: int = LONG_AGO_MS - 1
) -> GiftRead:
    """A record of gift-sent that holds a gift; not too late yet."""
    return GiftRead(offset, timestamp_ms, APP_ID, sent(gift, sent_at))


def refused(offset: int, timestamp_ms: int = NOW_MS - 1_000) -> RecordRefused:
    """A record of gift-sent that is no valid gift."""
    return RecordRefused(offset, timestamp_ms, Reason.NOT_AVRO, "", b"room", b"?")


def result(
    source: tuple[int, int],
    gift: str,
    status: Status = Status.SUCCEEDED,
    sent_at: int = NOW_MS - 1_000,
) -> GiftResult:
    """The result of a gift, whose source is a partition and an offset."""
    return GiftResult(
        sent=sent(gift, sent_at),
        result_id=result_id(gift, sent_at),
        status=status,
        synthetic=False,
        result_code=0,
        reason=None,
        game_timestamp=None,
        request_id="request",
        checks=1,
        deadline=NOW_MS,
        decided_at=NOW_MS,
        source_partition=source[0],
        source_offset=source[1],
    )


def new_audit(
    claims: dict[int, Claim] | None = None,
    sources: dict[int, Range] | None = None,
    log: dict[int, Range] | None = None,
) -> Audit:
    """An audit of two partitions, twenty offsets each."""
    sources = sources or RANGES
    return Audit(
        Scope(sources=sources, log=log or sources),
        claims=claims or {},
        give_up_ms=GIVE_UP_MS,
        now_wall_ms=NOW_MS,
    )


def found(report: Report) -> list[tuple[str, str, int, int]]:
    """What was found: kind, topic, partition and offset of each."""
    return [(each.kind.value, *each.at) for each in report.findings]
