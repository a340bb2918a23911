"""The asyncio loop around the core: read the clocks once, feed it, do what it says (design §8).

One *turn*: everything that has happened since the last goes into the core under one reading of
both clocks; then its actions are carried out, waiting cuts are answered, and a timer is set for
its next wakeup. A turn never waits for anything.

The Kafka thread talks to the loop through `feed` and `request_cut`, in order, and the loop never
waits for the Kafka thread. Each check is one task; its end is an input of a later turn.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

import structlog

from consumer.clock import Clock
from consumer.core.messages import (
    Action,
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    CutCommitted,
    DrainStarted,
    Input,
    PauseIntake,
    RecordsRead,
    ReportFault,
    ReportGiveUps,
    ReportTrouble,
    ResumeIntake,
    SendCheck,
)
from consumer.core.model import Check, Cut
from consumer.core.scheduler import Scheduler

DRAIN_MS: Final = 1_000
"""How long checks in flight are awaited before partitions are handed over (design §5)."""

log = structlog.get_logger()


class CheckApi(Protocol):
    """Sends one check; whatever happens to it comes back as a value."""

    async def send(self, check: Check) -> CheckAnswered | CheckLost | CheckNotWritten:
        """Write the check, if its lease still allows, and wait for its end."""
        ...


class Kafka(Protocol):
    """What the loop tells the Kafka thread; each call returns at once."""

    def want_cut(self) -> None:
        """There is something to commit."""
        ...

    def pause(self, partition: int, epoch: int) -> None:
        """Read no more of this partition."""
        ...

    def resume(self, partition: int, epoch: int) -> None:
        """Read on."""
        ...

    def taken(self, count: int) -> None:
        """So many records have been taken in since the last call."""
        ...


class Meter(Protocol):
    """Observes durations; everything else is counted by the core itself."""

    def check_ended(self, ids_count: int, duration_ms: int) -> None:
        """A check for so many ids ended, with whatever outcome."""
        ...

    def cut_committed(self, cut: Cut, duration_ms: int, wall_ms: int) -> None:
        """A cut is committed, so long after it was made, at this wall time."""
        ...


@dataclass(frozen=True, slots=True)
class _CutRequest:
    partitions: frozenset[int] | None
    drain_until_ms: int | None
    answer: "Future[Cut | None]"


class Runner:
    """Runs the core on the event loop; owns the inbox, the timer and the tasks of the checks."""

    def __init__(self, core: Scheduler, *, clock: Clock, check_api: CheckApi, meter: Meter) -> None:
        self._core = core
        self._clock = clock
        self._check_api = check_api
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._inbox: list[Input] = []
        self._last_cut: tuple[int, Cut] | None = None
        self._cut_requests: list[_CutRequest] = []
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ms: int | None = None

    def feed(self, *inputs: Input) -> None:
        """Hand in what happened; from any thread."""
        self._loop.call_soon_threadsafe(self._receive, inputs)

    def request_cut(
        self, partitions: frozenset[int] | None, *, drain: bool
    ) -> "Future[Cut | None]":
        """Ask for the cut of these partitions, or of all; from any thread.

        With `drain` no new checks are sent for them, and those in flight are awaited for up to
        `DRAIN_MS` before the cut is made. A request cancelled before its answer makes no cut.
        """
        drain_until_ms = self._clock.now_ms() + DRAIN_MS if drain else None
        request = _CutRequest(partitions, drain_until_ms, Future())
        self._loop.call_soon_threadsafe(self._receive_request, request)
        return request.answer

    async def run(self, kafka: Kafka) -> None:
        """Turn whenever something happens, until cancelled; an error in the core ends it."""
        async with asyncio.TaskGroup() as checks:
            while True:
                self._turn(kafka, checks)
                await self._wake.wait()
                self._wake.clear()

    def _receive(self, inputs: Sequence[Input]) -> None:
        self._inbox.extend(inputs)
        self._wake.set()

    def _receive_request(self, request: _CutRequest) -> None:
        if request.drain_until_ms is not None:
            self._inbox.append(DrainStarted(request.partitions))
        self._cut_requests.append(request)
        self._wake.set()

    def _turn(self, kafka: Kafka, checks: asyncio.TaskGroup) -> None:
        now_ms, wall_ms = self._clock.now_ms(), self._clock.wall_ms()
        inbox, self._inbox = self._inbox, []
        taken = 0
        for event in inbox:
            self._core.handle(event, now_ms, wall_ms)
            if isinstance(event, RecordsRead):
                taken += len(event.records)
            elif isinstance(event, CutCommitted) and self._last_cut is not None:
                made_ms, cut = self._last_cut
                self._last_cut = None
                self._meter.cut_committed(cut, now_ms - made_ms, wall_ms)
        if taken:
            kafka.taken(taken)
        due_ms = self._timer_due_ms
        late_ms = max(0, now_ms - due_ms) if due_ms is not None else 0
        for action in self._core.poll(now_ms, late_ms):
            self._carry_out(action, kafka, checks)
        self._answer_cut_requests(now_ms, wall_ms)
        if self._core.wants_cut():
            kafka.want_cut()
        self._set_timer(now_ms)

    def _carry_out(self, action: Action, kafka: Kafka, checks: asyncio.TaskGroup) -> None:
        match action:
            case SendCheck(check):
                checks.create_task(self._send(check))
            case PauseIntake():
                log.warning("intake paused", partition=action.partition, reason=action.reason)
                kafka.pause(action.partition, action.epoch)
            case ResumeIntake():
                log.info("intake resumed", partition=action.partition)
                kafka.resume(action.partition, action.epoch)
            case ReportTrouble():
                log.error(
                    "the check API refuses: gifts stay pending until this is mended",
                    trouble=action.trouble.value,
                    app_id=action.app_id,
                    mini_game_id=action.mini_game_id,
                    detail=action.detail,
                )
            case ReportGiveUps(limit, None):
                log.warning("overdue gifts are being given up early", limit=limit.value)
            case ReportGiveUps(limit, count):
                log.info("giving up early has ended", limit=limit.value, gifts=count)
            case ReportFault(fault, None):
                log.warning("a fault has ended", fault=fault.value)
            case ReportFault(fault, detail):
                log.error("a fault has begun", fault=fault.value, detail=detail)
            case _:
                assert_never(action)

    async def _send(self, check: Check) -> None:
        began_ms = self._clock.now_ms()
        ended = await self._check_api.send(check)
        self._meter.check_ended(len(check.msg_ids), self._clock.now_ms() - began_ms)
        self._receive((ended,))

    def _answer_cut_requests(self, now_ms: int, wall_ms: int) -> None:
        waiting: list[_CutRequest] = []
        for request in self._cut_requests:
            drain_until_ms = request.drain_until_ms
            if (
                drain_until_ms is not None
                and now_ms < drain_until_ms
                and self._core.in_flight_of(request.partitions)
            ):
                waiting.append(request)
            elif request.answer.set_running_or_notify_cancel():
                cut = self._core.cut(now_ms, wall_ms, request.partitions)
                self._last_cut = (now_ms, cut) if cut is not None else None
                request.answer.set_result(cut)
        self._cut_requests = waiting

    def _set_timer(self, now_ms: int) -> None:
        wakeups = [request.drain_until_ms for request in self._cut_requests]
        next_ms = min(
            (at_ms for at_ms in (*wakeups, self._core.next_wakeup()) if at_ms is not None),
            default=None,
        )
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_due_ms = None
        if next_ms is not None:
            # The clock is rounded down: a timer that fires a hair early would find nothing due.
            delay_ms = max(1, next_ms - now_ms)
            self._timer_due_ms = now_ms + delay_ms
            self._timer = self._loop.call_later(delay_ms / 1_000, self._wake.set)
