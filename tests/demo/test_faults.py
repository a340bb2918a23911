"""Trouble at the press of a key: begun, taken back, written down."""

import asyncio

import pytest

from consumer.core.model import GiftSent
from consumer.demo.faults import (
    API_FAULTS,
    FLOOD_FACTOR,
    FLOOD_KEY,
    FLOOD_MS,
    FLOOD_NAME,
    KEYS_HINT,
    Flood,
    Switch,
    Switchboard,
    api_switches,
)
from consumer.demo.load import Load, PlannedGift, planned_gifts
from consumer.simulator import Fate, Fault, Faults, Gift, Kind

SECOND_US = 1_000_000
STANDING = Fault(kind=Kind.LATENCY_IN, delay_ms=15)


class Bench:
    """The API's switches, over faults that hold one already, and a clock."""

    def __init__(self) -> None:
        self.now_us = 0
        self.faults = Faults(1, (STANDING,))
        self.switchboard = Switchboard(api_switches(self.faults), lambda: self.now_us)

    def press(self, keys: str, *, every_us: int = SECOND_US) -> None:
        """Press these, one after the other."""
        for key in keys:
            self.switchboard.press(key)
            self.now_us += every_us


@pytest.mark.parametrize(("key", "name", "fault"), API_FAULTS)
def test_a_key_begins_a_fault_and_takes_it_back(key: str, name: str, fault: Fault) -> None:
    """Beside what holds anyway; while it is on, its name and age are shown."""
    bench = Bench()
    bench.press(key)
    assert list(bench.faults.all) == [STANDING, fault]
    assert bench.switchboard.on() == (f"{name} (1 s)",)
    bench.press(key.upper())
    assert list(bench.faults.all) == [STANDING]
    assert bench.switchboard.on() == ()


def test_all_that_was_on_is_in_the_history() -> None:
    """How often, and how long together, what is on still included."""
    bench = Bench()
    assert bench.switchboard.history() == ()
    bench.press("aaaag")
    assert bench.switchboard.history() == ("API down (2 times, 2.0 s)", "game-0 broken (1.0 s)")


def test_all_is_taken_back_at_once() -> None:
    """What is off stays off."""
    bench = Bench()
    bench.press("agga")
    bench.press("gl")
    bench.switchboard.all_off()
    assert bench.faults.all == (STANDING,)
    assert bench.switchboard.on() == ()


def test_other_keys_do_nothing() -> None:
    """Nothing begins, and nothing breaks."""
    bench = Bench()
    bench.press("x 1\n")
    assert (bench.faults.all, bench.switchboard.history()) == ((STANDING,), ())


def test_the_hint_names_every_key() -> None:
    """Two places name them; they cannot differ."""
    keys = [part.split(":")[0] for part in KEYS_HINT.split("  ") if part]
    assert sorted(keys) == sorted([key for key, _, _ in API_FAULTS] + [FLOOD_KEY])


class Truth:
    """Whatever is sent is never consumed."""

    def send(self, gift: Gift, sent_wall_ms: int) -> Fate:
        return Fate(sent_wall_ms, None, 0)


class FloodBench:
    """A flood on a switch, over a load whose clock runs through it as fast as the loop turns."""

    def __init__(self, step_us: int, error: Exception | None = None) -> None:
        self.sent: list[GiftSent] = []
        self.ended: list[BaseException | None] = []
        self.over = asyncio.Event()
        self._now_us = 0
        self._step_us = step_us
        self._error = error
        self.flood = Flood(self._load, self._on_end)
        switch = Switch(FLOOD_NAME, self.flood.begin, self.flood.end)
        self.switchboard = Switchboard([(FLOOD_KEY, switch)], lambda: 0)

    def _clock_us(self) -> int:
        self._now_us += self._step_us
        return self._now_us

    def _load(self, number: int) -> Load:
        plan = planned_gifts(app_id=1, rate=20, rooms=2, seed=number, name=f"flood-{number}")
        return Load(
            plan,
            truth=Truth(),
            produce=self._produce,
            clock_us=self._clock_us,
            on_produced=lambda _: None,
        )

    def _produce(self, sent: GiftSent) -> None:
        if self._error is not None:
            raise self._error
        self.sent.append(sent)

    def _on_end(self, error: BaseException | None) -> None:
        self.switchboard.off(FLOOD_KEY)
        self.ended.append(error)
        self.over.set()


async def test_a_flood_ends_by_itself_and_comes_again_with_other_gifts() -> None:
    """Its switch goes off with it; no MsgId of one flood is one of the next."""
    bench = FloodBench(step_us=FLOOD_MS * 1_000)
    ids = []
    for _ in range(2):
        bench.over.clear()
        bench.switchboard.press(FLOOD_KEY)
        assert bench.switchboard.on() != ()
        await bench.over.wait()
        assert bench.switchboard.on() == ()
        ids.append({sent.msg_id for sent in bench.sent})
        bench.sent.clear()
    assert bench.ended == [None, None]
    assert len(ids[0]) > 50
    assert not ids[0] & ids[1]
    assert f"{FLOOD_FACTOR} times" in FLOOD_NAME


async def test_a_flood_may_be_ended_early() -> None:
    """The second press ends it, and that is no error."""
    bench = FloodBench(step_us=1)
    bench.switchboard.press(FLOOD_KEY)
    await asyncio.sleep(0)
    bench.switchboard.press(FLOOD_KEY)
    await asyncio.sleep(0)
    assert bench.switchboard.on() == ()
    assert bench.ended == []


async def test_a_flood_that_breaks_says_why() -> None:
    """The session ends with it, as with the load."""
    error = ValueError("full")
    bench = FloodBench(step_us=FLOOD_MS * 1_000, error=error)
    bench.switchboard.press(FLOOD_KEY)
    await bench.over.wait()
    assert bench.ended == [error]


def test_plans_of_different_names_share_no_gift() -> None:
    """The same rooms and seed, but no MsgId in common."""

    def first(name: str) -> PlannedGift:
        return next(planned_gifts(app_id=1, rate=1, rooms=1, seed=1, name=name))

    assert (first("gift").sent.msg_id, first("other").sent.msg_id) == (
        "gift-00000000",
        "other-00000000",
    )
