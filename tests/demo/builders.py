"""Gifts, results and runs for tests of the demo's bookkeeping."""

from dataclasses import replace
from typing import Any

from consumer.adapters.avro import AvroCodec
from consumer.core.model import GiftResult, GiftSent, Status
from consumer.demo.load import ProducedGift, gift_of
from consumer.demo.summary import Ledger, Run
from consumer.simulator import Fate

START_MS = 1_790_000_000_000
TIMEOUT_MS = 5_000
SETTLE_MS = 1_000

RUN = Run(
    broker="a broker",
    seed=1,
    rate=300,
    rooms=100,
    timeout_ms=TIMEOUT_MS,
    latency_ms=30,
    duration_ms=20_000,
    load_late_ms_max=3,
    requests=10,
    room_requests_per_second_max=20,
    consumer_exit_code=0,
)


def sent(number: int, at_ms: int = START_MS) -> GiftSent:
    """Return the event of gift `number`, sent at `at_ms`."""
    return GiftSent("room", "game", f"gift-{number}", at_ms, app_id=1)


def produced(number: int, *, consumed_after_ms: int | None = 400) -> ProducedGift:
    """Return gift `number`, produced at the start, consumed then or never."""
    consumed_ms = None if consumed_after_ms is None else START_MS + consumed_after_ms
    return ProducedGift(gift_of(sent(number)), Fate(START_MS, consumed_ms, 0), START_MS * 1_000)


def result(number: int, status: Status = Status.SUCCEEDED, **changed: Any) -> GiftResult:
    """Return a result of gift `number`; its source is offset `number` of partition 0."""
    made = GiftResult(
        sent=sent(number),
        result_id=f"id-{number}",
        status=status,
        synthetic=status in {Status.UNCONSUMED, Status.UNVERIFIED},
        result_code=0,
        reason=None,
        game_timestamp=None,
        request_id="sim-0",
        checks=1,
        deadline=START_MS + TIMEOUT_MS,
        decided_at=START_MS,
        source_partition=0,
        source_offset=number,
    )
    return made._replace(**changed)


def ledger(*falsehoods: str | None) -> Ledger:
    """Return a ledger whose judge says these, one for each result, and then finds all true."""
    remaining = iter(falsehoods)
    return Ledger(
        timeout_ms=TIMEOUT_MS,
        settle_ms=SETTLE_MS,
        judge=lambda _gift, _result: next(remaining, None),
    )


def run(**changed: Any) -> Run:
    """Return a run in which all went well, but for what is changed."""
    return replace(RUN, **changed)


def encode(made: GiftResult) -> bytes:
    """Return a result's value as it is on the topic."""
    return AvroCodec(frozenset({1})).encode(made)
