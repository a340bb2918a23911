"""The load: the same gifts for the same seed, the rate asked for, honest instants."""

from itertools import islice

from consumer.core.model import GiftSent
from consumer.demo.load import GAMES_COUNT, Load, PlannedGift, ProducedGift, planned_gifts
from consumer.simulator import Fate, Gift
from tests.demo.builders import START_MS, sent


def plan(count: int, *, seed: int = 1, rate: float = 300, rooms: int = 100) -> list[PlannedGift]:
    """Return the first gifts of a plan."""
    return list(islice(planned_gifts(app_id=7, rate=rate, rooms=rooms, seed=seed), count))


def test_the_same_seed_plans_the_same_gifts() -> None:
    """A plan follows from its seed alone."""
    assert plan(500, seed=3) == plan(500, seed=3)
    assert plan(500, seed=3) != plan(500, seed=4)


def test_the_plan_holds_the_rate() -> None:
    """Gifts come in ascending order, and as many a second as were asked for."""
    offsets_us = [planned.offset_us for planned in plan(30_000, rate=300)]
    assert sorted(offsets_us) == offsets_us
    # The standard deviation of 100 s of 300 a second is 0.6 s.
    assert abs(offsets_us[-1] / 1_000_000 - 100) < 3


def test_every_room_gets_its_share_and_keeps_its_game() -> None:
    """Rooms are drawn uniformly; one room plays one game; no MsgId comes twice."""
    gifts = [planned.sent for planned in plan(30_000, rooms=100)]
    rooms = {gift.room_id for gift in gifts}
    share = [sum(gift.room_id == room for gift in gifts) for room in sorted(rooms)]
    assert len(rooms) == 100
    # 300 each, give or take five standard deviations of 17.
    assert 210 < min(share) <= max(share) < 390
    assert len({(gift.room_id, gift.mini_game_id) for gift in gifts}) == 100
    assert len({gift.mini_game_id for gift in gifts}) == GAMES_COUNT
    assert len({gift.msg_id for gift in gifts}) == len(gifts)


class Truth:
    """Makes gifts known, and writes down when."""

    def __init__(self) -> None:
        self.sent: list[tuple[Gift, int]] = []

    def send(self, gift: Gift, sent_wall_ms: int) -> Fate:
        self.sent.append((gift, sent_wall_ms))
        return Fate(sent_wall_ms, sent_wall_ms + 500, 0)


class SteppingClock:
    """A clock that moves on by so much each time it is read."""

    def __init__(self, step_us: int) -> None:
        self._now_us = START_MS * 1_000
        self._step_us = step_us

    def __call__(self) -> int:
        self._now_us += self._step_us
        return self._now_us


async def sent_by(
    plan: list[PlannedGift], duration_ms: int, step_us: int = 100
) -> tuple[list[ProducedGift], list[GiftSent], Truth, Load]:
    """Let a load send its plan; return what came of it."""
    produced: list[ProducedGift] = []
    events: list[GiftSent] = []
    truth = Truth()
    load = Load(
        plan,
        truth=truth,
        produce=events.append,
        clock_us=SteppingClock(step_us),
        on_produced=produced.append,
    )
    await load.run(duration_ms)
    return produced, events, truth, load


async def test_truth_record_and_event_tell_of_one_instant() -> None:
    """The instant of producing is what the event, the API and the bookkeeping say."""
    produced, events, truth, _ = await sent_by([PlannedGift(0, sent(0, 0))], 1)
    (one,) = produced
    assert one.produced_us // 1_000 == one.gift.timestamp_ms == events[0].sent_at
    assert [(one.gift, events[0].sent_at)] == truth.sent
    assert Fate(events[0].sent_at, events[0].sent_at + 500, 0) == one.fate


async def test_the_load_ends_with_its_duration() -> None:
    """What is planned for the end or later is not sent."""
    gifts = [PlannedGift(offset_us, sent(offset_us, 0)) for offset_us in (0, 999, 1_000, 5_000)]
    produced, _, _, _ = await sent_by(gifts, 1)
    assert [one.gift.msg_id for one in produced] == ["gift-0", "gift-999"]


async def test_a_late_loop_sends_all_and_says_how_late() -> None:
    """A loop that falls behind lowers no rate: everything is sent, and the lateness is known."""
    gifts = [PlannedGift(offset_us, sent(offset_us, 0)) for offset_us in range(0, 1_000, 10)]
    produced, _, _, load = await sent_by(gifts, 1, step_us=1_000)
    assert len(produced) == len(gifts)
    assert load.late_us_max == len(gifts) * 2 * 1_000 - gifts[-1].offset_us
