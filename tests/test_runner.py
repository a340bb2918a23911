"""The loop around the core, in virtual time: the real core, and hand-written ends of the world."""

import asyncio
import functools
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.core.learning import LearnedHazards
from consumer.core.limits import Limit
from consumer.core.messages import (
    Action,
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    CutAborted,
    CutCommitted,
    Input,
    RecordsRead,
    ReportGiveUps,
)
from consumer.core.metadata import decode_metadata
from consumer.core.model import Answer, Check, CheckRules, Cut, PartitionMetadata, Status
from consumer.core.scheduler import Scheduler
from consumer.runner import DRAIN_MS, Runner
from tests.core.builders import (
    APP_ID,
    WALL_MS,
    make_assigned,
    make_entry,
    make_record,
    make_refused,
)

CREDENTIALS_CODE = 100_000_001
HOUR_S = 3_600
Ending = CheckAnswered | CheckLost | CheckNotWritten


# --- virtual time ------------------------------------------------------------------------------


class JumpingSelector(selectors.DefaultSelector):
    """Where a loop would wait for its next timer, time jumps to it."""

    now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is its selector's."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def block(self, seconds: float) -> None:
        """Something runs for so long; timers wait meanwhile."""
        self._jumping.now_s += seconds


class LoopClock:
    """Both axes, read from the loop; every reading is noted."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.readings = 0
        self.stepped_ms = 0

    def now_ms(self) -> int:
        self.readings += 1
        return int(self._loop.time() * 1_000)

    def wall_ms(self) -> int:
        return int(self._loop.time() * 1_000) - 1_000_000 + WALL_MS + self.stepped_ms


def in_virtual_time(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a test of a coroutine that never waits; what does not come in an hour fails."""

    @functools.wraps(scenario)
    def test() -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as loop:
            loop.run(asyncio.wait_for(scenario(), HOUR_S))

    return test


# --- the ends of the world ---------------------------------------------------------------------


class HeldCheckApi:
    """Holds every check until the test says how it ends."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Check] = asyncio.Queue()
        self.cancelled: list[Check] = []
        self._endings: dict[int, asyncio.Future[Ending]] = {}

    async def send(self, check: Check) -> Ending:
        ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._endings[check.check_id] = ending
        self.sent.put_nowait(check)
        try:
            return await ending
        except asyncio.CancelledError:
            self.cancelled.append(check)
            raise

    def answer(self, check: Check, *, code: int = 0, consumed: Sequence[str] = ()) -> None:
        """The vendor answers, now."""
        entries = tuple(make_entry(msg_id) for msg_id in consumed)
        answer = Answer(code, "said", "request-1", entries)
        self._endings[check.check_id].set_result(CheckAnswered(check.check_id, answer))

    def fail(self, check: Check, error: Exception) -> None:
        """The client has a bug."""
        self._endings[check.check_id].set_exception(error)


@dataclass
class TellingKafka:
    """Notes what the loop tells the Kafka thread."""

    cut_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    told: "asyncio.Queue[tuple[object, ...]]" = field(default_factory=asyncio.Queue)
    records_taken: int = 0

    def want_cut(self) -> None:
        self.cut_wanted.set()

    def pause(self, partition: int, epoch: int) -> None:
        self.told.put_nowait(("pause", partition, epoch))

    def resume(self, partition: int, epoch: int) -> None:
        self.told.put_nowait(("resume", partition, epoch))

    def taken(self, count: int) -> None:
        self.records_taken += count


class NotingMeter:
    """Notes every check that ended, and every cut that was committed."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, int]] = []
        self.committed: list[tuple[Cut, int, int]] = []

    def check_ended(self, ids_count: int, duration_ms: int) -> None:
        self.ended.append((ids_count, duration_ms))

    def cut_committed(self, cut: Cut, duration_ms: int, wall_ms: int) -> None:
        self.committed.append((cut, duration_ms, wall_ms))


@dataclass
class Scene:
    """A runner at work, and what surrounds it."""

    runner: Runner
    kafka: TellingKafka
    api: HeldCheckApi
    meter: NotingMeter
    clock: LoopClock

    def request_cut(self, *, drain: bool = False) -> "asyncio.Future[Cut | None]":
        """What the Kafka thread will be answered."""
        return asyncio.wrap_future(self.runner.request_cut(None, drain=drain))

    async def commit(self) -> Cut:
        """One transaction, as soon as one is wanted."""
        await self.kafka.cut_wanted.wait()
        cut = await self.request_cut()
        self.kafka.cut_wanted.clear()
        assert cut is not None
        self.runner.feed(CutCommitted(cut.cut_id))
        return cut

    async def send_gifts(self, *offsets: int) -> Check:
        """Gifts arrive, and the check that asks for them is out."""
        records = tuple(make_record(offset) for offset in offsets)
        self.runner.feed(RecordsRead(0, 1, records, offsets[-1] + 1))
        return await self.api.sent.get()


def make_scheduler(rules: CheckRules | None = None) -> Scheduler:
    """A core of this name, without jitter."""
    return Scheduler(
        rules or CheckRules(), instance="pod-0", hazards=LearnedHazards(), jitter=lambda: 0.0
    )


@asynccontextmanager
async def running(core: Scheduler | None = None) -> AsyncIterator[Scene]:
    """A runner that owns partition 0 and holds its lease."""
    scene = new_scene(core)
    turning = asyncio.create_task(scene.runner.run(scene.kafka))
    try:
        scene.runner.feed(make_assigned())
        await scene.commit()
        yield scene
    finally:
        turning.cancel()
        await asyncio.wait([turning])


def new_scene(core: Scheduler | None = None) -> Scene:
    """A runner that does not turn yet."""
    clock, api, meter = LoopClock(), HeldCheckApi(), NotingMeter()
    runner = Runner(core or make_scheduler(), clock=clock, check_api=api, meter=meter)
    return Scene(runner, TellingKafka(), api, meter, clock)


def metadata_of(cut: Cut | None) -> PartitionMetadata:
    """The progress that a cut of one partition commits."""
    assert cut is not None
    (offset,) = cut.offsets
    return decode_metadata(offset.metadata)


class NotingScheduler(Scheduler):
    """The core, and at which instants its methods are called."""

    def __init__(self) -> None:
        super().__init__(
            CheckRules(), instance="pod-0", hazards=LearnedHazards(), jitter=lambda: 0.0
        )
        self.instants: list[tuple[str, int]] = []
        self.late_ms: list[int] = []

    def handle(self, event: Input, now_ms: int, wall_ms: int) -> None:
        self.instants.append(("handle", now_ms))
        super().handle(event, now_ms, wall_ms)

    def poll(self, now_ms: int, late_ms: int = 0) -> list[Action]:
        self.instants.append(("poll", now_ms))
        self.late_ms.append(late_ms)
        return super().poll(now_ms, late_ms)

    def cut(
        self, now_ms: int, wall_ms: int, partitions: frozenset[int] | None = None
    ) -> Cut | None:
        self.instants.append(("cut", now_ms))
        return super().cut(now_ms, wall_ms, partitions)


# --- one turn ----------------------------------------------------------------------------------


@in_virtual_time
async def test_the_core_is_told_how_late_the_loop_is_with_its_timer() -> None:
    """Something held the loop up for a second; the turns before and after are not late."""
    core = NotingScheduler()
    async with running(core) as scene:
        check = await scene.send_gifts(0)
        assert max(core.late_ms) <= 1  # virtual time is rounded down
        scene.api.answer(check)
        await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.block(1.0)
        scene.api.answer(await scene.api.sent.get())
        assert 500 <= core.late_ms[-1] <= 1_000
        await scene.api.sent.get()
        assert core.late_ms[-1] <= 1


@in_virtual_time
async def test_a_record_becomes_a_check_and_its_answer_a_result() -> None:
    """Records in, a check out by the timer alone, an answer in, and a cut that holds the result."""
    async with running() as scene:
        check = await scene.send_gifts(0, 1)
        scene.api.answer(check, consumed=check.msg_ids)
        cut = await scene.commit()
    assert ("m0", "m1") == check.msg_ids
    assert [("m0", Status.SUCCEEDED), ("m1", Status.SUCCEEDED)] == [
        (result.sent.msg_id, result.status) for result in cut.results
    ]
    assert [2] == [offset.offset for offset in cut.offsets]
    assert scene.kafka.records_taken == 2


@in_virtual_time
async def test_an_assignment_is_committed_without_being_asked_for_twice() -> None:
    """The loop says that it wants a cut; one that is taken and committed leaves nothing to say."""
    async with running() as scene:
        answer = await scene.request_cut()
        assert not scene.kafka.cut_wanted.is_set()
    assert answer is None


@in_virtual_time
async def test_a_turn_reads_each_clock_once() -> None:
    """Whatever a turn does, it does at one instant: core calls agree, and nothing reads again."""
    core = NotingScheduler()
    async with running(core) as scene:
        await scene.request_cut()  # the assignment's cut is over and done with
        readings = scene.clock.readings
        core.instants.clear()
        scene.runner.feed(RecordsRead(0, 1, (make_record(0),), 1))
        scene.runner.feed(RecordsRead(0, 1, (make_refused(1),), 2))
        cut = await scene.request_cut()
        assert readings + 1 == scene.clock.readings
    assert cut is not None
    names, instants = zip(*core.instants, strict=True)
    assert ("handle", "handle", "poll", "cut") == names
    assert len(set(instants)) == 1


@in_virtual_time
async def test_a_cut_holds_all_that_was_fed_before_it_was_asked_for() -> None:
    """The Kafka thread's order is kept: records first, then their cut, in one turn or in two."""
    async with running() as scene:
        scene.runner.feed(RecordsRead(0, 1, (make_refused(0),), 1))
        cut = await scene.request_cut()
    assert cut is not None
    assert [0] == [letter.record.offset for letter in cut.dead_letters]
    assert [1] == [offset.offset for offset in cut.offsets]


@in_virtual_time
async def test_records_of_a_partition_that_is_gone_count_as_taken() -> None:
    """The Kafka thread bounds what is under way to the loop, whatever the loop does with it."""
    async with running() as scene:
        scene.runner.feed(RecordsRead(5, 1, (make_record(0), make_record(1)), 2))
        await scene.request_cut()
    assert scene.kafka.records_taken == 2


async def test_records_and_requests_come_from_another_thread() -> None:
    """A thread that feeds and asks is answered while the loop does what it likes."""

    def kafka_thread(runner: Runner) -> Cut | None:
        runner.feed(RecordsRead(0, 1, (make_refused(0),), 1))
        return runner.request_cut(None, drain=False).result(timeout=60)

    asyncio.get_running_loop().set_debug(True)  # then a call that is not thread-safe raises
    async with running() as scene:
        cut = await asyncio.to_thread(kafka_thread, scene.runner)
    assert cut is not None
    assert [0] == [letter.record.offset for letter in cut.dead_letters]


# --- checks ------------------------------------------------------------------------------------


@in_virtual_time
async def test_the_meter_sees_how_long_each_check_took_and_for_how_many_ids() -> None:
    """From handing it to the client to its end, in milliseconds."""
    async with running() as scene:
        check = await scene.send_gifts(0, 1, 2)
        loop = asyncio.get_running_loop()
        loop.call_later(0.25, lambda: scene.api.answer(check, consumed=check.msg_ids))
        await scene.commit()
    ((ids_count, duration_ms),) = scene.meter.ended
    assert ids_count == 3
    assert duration_ms == pytest.approx(250, abs=1)  # virtual time is a float; a clock rounds down


@in_virtual_time
async def test_checks_of_several_rooms_are_under_way_at_once() -> None:
    """A check that is not answered holds up nobody else's."""
    async with running() as scene:
        records = (make_record(0, room_id="one"), make_record(1, room_id="two"))
        scene.runner.feed(RecordsRead(0, 1, records, 2))
        first, second = await scene.api.sent.get(), await scene.api.sent.get()
        scene.api.answer(second, consumed=second.msg_ids)
        cut = await scene.commit()
    assert {"one", "two"} == {first.room_id, second.room_id}
    assert [second.room_id] == [result.sent.room_id for result in cut.results]


@in_virtual_time
async def test_an_end_of_the_loop_ends_its_checks() -> None:
    """Nobody is left who could take the answer."""
    async with running() as scene:
        check = await scene.send_gifts(0)
    assert [check] == scene.api.cancelled


# --- cuts and draining -------------------------------------------------------------------------


@in_virtual_time
async def test_a_drain_without_checks_in_flight_is_answered_at_once() -> None:
    """Nothing to wait for: the very instant, with the mark for the successor."""
    async with running() as scene:
        began_ms = scene.clock.now_ms()
        cut = await scene.request_cut(drain=True)
        assert began_ms == scene.clock.now_ms()
    assert metadata_of(cut).drained


@in_virtual_time
async def test_a_drain_waits_for_the_check_in_flight_and_takes_its_result_along() -> None:
    """The answer, not the clock, ends the waiting."""
    async with running() as scene:
        check = await scene.send_gifts(0)
        began_ms = scene.clock.now_ms()
        asyncio.get_running_loop().call_later(
            0.4, lambda: scene.api.answer(check, consumed=check.msg_ids)
        )
        cut = await scene.request_cut(drain=True)
        took_ms = scene.clock.now_ms() - began_ms
    assert took_ms == pytest.approx(400, abs=2)
    assert cut is not None
    assert ["m0"] == [result.sent.msg_id for result in cut.results]
    assert metadata_of(cut).drained


@in_virtual_time
async def test_a_drain_waits_no_longer_than_a_second() -> None:
    """Then the successor is told that something may still be under way."""
    async with running() as scene:
        await scene.send_gifts(0)
        began_ms = scene.clock.now_ms()
        cut = await scene.request_cut(drain=True)
        took_ms = scene.clock.now_ms() - began_ms
    assert took_ms == pytest.approx(DRAIN_MS, abs=2)
    assert cut is not None
    assert cut.results == ()
    assert not metadata_of(cut).drained


@in_virtual_time
async def test_no_check_begins_after_a_drain_has() -> None:
    """A gift that comes later is left to the successor, however long the process still lives."""
    async with running() as scene:
        await scene.request_cut(drain=True)
        scene.runner.feed(RecordsRead(0, 1, (make_record(0),), 1))
        await asyncio.sleep(60)  # virtual
        assert scene.api.sent.empty()


@in_virtual_time
async def test_a_request_that_was_cancelled_makes_no_cut() -> None:
    """What the Kafka thread no longer waits for must not be taken as open."""
    async with running() as scene:
        scene.runner.feed(RecordsRead(0, 1, (make_refused(0),), 1))
        abandoned = scene.runner.request_cut(None, drain=False)
        assert abandoned.cancel()
        cut = await scene.request_cut()
    assert cut is not None
    assert cut.cut_id == 2  # the first was the assignment's
    assert len(cut.dead_letters) == 1


@in_virtual_time
async def test_a_cut_that_is_open_is_not_asked_for_again() -> None:
    """One transaction at a time; what comes meanwhile is wanted when it has ended."""
    async with running() as scene:
        scene.runner.feed(RecordsRead(0, 1, (make_refused(0),), 1))
        cut = await scene.request_cut()
        assert cut is not None
        scene.kafka.cut_wanted.clear()
        scene.runner.feed(RecordsRead(0, 1, (make_refused(1),), 2))
        await asyncio.sleep(1)  # virtual
        wanted_while_open = scene.kafka.cut_wanted.is_set()
        scene.runner.feed(CutCommitted(cut.cut_id))
        await scene.kafka.cut_wanted.wait()
    assert not wanted_while_open


# --- what is said to others --------------------------------------------------------------------


@in_virtual_time
async def test_intake_pauses_at_the_limit_and_resumes_below_it() -> None:
    """The Kafka thread is told, with the epoch, and so are people."""
    with capture_logs() as lines:
        async with running(make_scheduler(CheckRules(pending_gifts_max=2))) as scene:
            check = await scene.send_gifts(0, 1)
            paused = await scene.kafka.told.get()
            scene.api.answer(check, consumed=check.msg_ids)
            resumed = await scene.kafka.told.get()
    assert [("pause", 0, 1), ("resume", 0, 1)] == [paused, resumed]
    assert [("warning", "intake paused", 0), ("info", "intake resumed", 0)] == [
        (line["log_level"], line["event"], line["partition"]) for line in lines
    ]
    assert "pending_gifts_max" in lines[0]["reason"]


@in_virtual_time
async def test_giving_up_early_is_said_when_it_begins_and_when_it_has_ended() -> None:
    """One line each, the second with how many it were."""
    core = make_scheduler()
    relief = core._relief
    relief._reports = [ReportGiveUps(Limit.MAP, None), ReportGiveUps(Limit.MAP, 7)]
    with capture_logs() as lines:
        async with running(core):
            pass
    assert [("warning", "map", None), ("info", "map", 7)] == [
        (line["log_level"], line["limit"], line.get("gifts")) for line in lines
    ]


@in_virtual_time
async def test_a_committed_cut_is_measured_from_when_it_was_made() -> None:
    """An aborted one is not: it is counted, and made again."""
    async with running() as scene:
        scene.runner.feed(RecordsRead(0, 1, (make_refused(0),), 1))
        await scene.kafka.cut_wanted.wait()
        aborted = await scene.request_cut()
        assert aborted is not None
        scene.runner.feed(CutAborted(aborted.cut_id))
        again = await scene.request_cut()
        assert again is not None
        await asyncio.sleep(0.25)  # virtual
        scene.runner.feed(CutCommitted(again.cut_id))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        committed_wall_ms = scene.clock.wall_ms()
    assert [(again, 250, committed_wall_ms)] == scene.meter.committed[1:]


@in_virtual_time
async def test_trouble_that_somebody_has_to_mend_is_said() -> None:
    """With the app, the vendor's words, and what it means for the gifts."""
    with capture_logs() as lines:
        async with running() as scene:
            check = await scene.send_gifts(0)
            scene.api.answer(check, code=CREDENTIALS_CODE)
            await scene.commit()  # of the lease's renewal, some time later
    (line,) = lines
    assert ("error", "credentials", APP_ID, None) == (
        line["log_level"], line["trouble"], line["app_id"], line["mini_game_id"],
    )  # fmt: skip
    assert f"Code {CREDENTIALS_CODE}" in line["detail"]


@in_virtual_time
async def test_a_step_of_the_wall_clock_is_said_when_it_begins_and_when_it_ends() -> None:
    """One line each, however long it lasts."""
    with capture_logs() as lines:
        async with running() as scene:
            for stepped_ms in (60_000, 60_000, 0):
                scene.clock.stepped_ms = stepped_ms
                scene.runner.feed(RecordsRead(0, 1, (), 0))
                await asyncio.sleep(1)  # virtual
    assert [
        ("error", "a fault has begun", "wall_clock", "the wall clock has stepped by +60.0 s"),
        ("warning", "a fault has ended", "wall_clock", None),
    ] == [(line["log_level"], line["event"], line["fault"], line.get("detail")) for line in lines]


# --- bugs --------------------------------------------------------------------------------------


async def ended_by(scene: Scene) -> BaseException:
    """Turn until something goes wrong, and return what it was."""
    with pytest.raises(ExceptionGroup) as ended:
        await scene.runner.run(scene.kafka)
    (error,) = ended.value.exceptions
    return error


@in_virtual_time
async def test_an_error_in_the_core_ends_the_loop() -> None:
    """A broken invariant must stop the process, not be swallowed by a task."""
    scene = new_scene()
    scene.runner.feed(CutCommitted(1))
    error = await ended_by(scene)
    assert isinstance(error, AssertionError)
    assert str(error) == "a cut ended that was not open"


@in_virtual_time
async def test_an_error_while_sending_a_check_ends_the_loop() -> None:
    """The client turns whatever happens into a value; if it raises, that is a bug."""
    scene = new_scene()
    scene.runner.feed(make_assigned())
    turning = asyncio.create_task(ended_by(scene))
    await scene.commit()
    check = await scene.send_gifts(0)
    bug = RuntimeError("a bug in the client")
    scene.api.fail(check, bug)
    assert bug is await turning
