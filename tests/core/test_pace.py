"""How often is asked, and how long it takes, over thousands of gifts in virtual time (design §6)."""

import random
from dataclasses import replace

import pytest

from consumer.core.backlog import PAUSE_MS, WAIT_MS
from consumer.core.hazard import Hazard, exponential_hazard
from consumer.core.learning import LearnedHazards
from consumer.core.messages import RecordsRead
from consumer.core.model import Status
from tests.core.builders import NOW_MS, RULES, WALL_MS, Harness, make_record, say_consumed
from tests.core.traffic import LATENCY_MS, Fate, FixedHazards, Room, Traffic, exponential

WRONG = exponential_hazard(20_000, 0.9)
"""Mean 20 s, where the truth is 0.5 s."""

FRESH_MS = 100_000
"""2,000 gifts at 20 a second."""


def make_rooms(
    count: int, interval_ms: float, *, name: str = "r", game: str = "game"
) -> list[Room]:
    """Rooms alike."""
    return [Room(f"{name}{n}", interval_ms, game) for n in range(count)]


def never(dice: random.Random) -> None:
    """A game that consumes nothing."""
    del dice


def after(delay_ms: int) -> Fate:
    """A game that consumes everything, always as late."""
    return lambda _: delay_ms


@pytest.mark.parametrize("room_count", [20, 100])
def test_a_wrong_prior_costs_nothing_after_2000_gifts(room_count: int) -> None:
    """Requests and delay are then within 10 % of those of a belief that is right and stays so."""

    def figures_of(hazards: LearnedHazards | FixedHazards) -> tuple[float, float, float]:
        rooms = make_rooms(room_count, room_count * 50)
        traffic = Traffic(1, rooms, exponential(500), hazards=hazards)
        traffic.run(FRESH_MS)
        learned_ms = traffic.harness.now_ms
        traffic.run(60_000)
        found = traffic.figures(since_ms=learned_ms)
        return found.requests_per_gift, found.mean_ms, found.p95_ms

    right = figures_of(FixedHazards())
    assert pytest.approx(right, rel=0.1) == figures_of(LearnedHazards(WRONG))


def test_a_game_that_consumes_nothing_is_asked_about_now_and_then() -> None:
    """Not for ever: at the floor about 18 times until the deadline; and never not at all."""
    traffic = Traffic(2, make_rooms(60, 60_000), never)
    traffic.run(400_000)
    learned_ms = traffic.harness.now_ms
    traffic.run(120_000)
    traffic.harness.run(33_000)
    late = [n for id_, n in traffic.asked.items() if traffic.lives[id_].sent_ms >= learned_ms]
    assert len(traffic.lives) == len(traffic.harness.results)
    assert {Status.UNCONSUMED} == {result.status for result in traffic.harness.results}
    assert 15 <= sum(late) / len(late) <= 25


def test_a_fixed_delay_is_waited_for() -> None:
    """1.3 s: hardly asked before, and quickly found after."""
    traffic = Traffic(3, make_rooms(20, 1_000), after(1_300))
    traffic.run(FRESH_MS)
    learned_ms = traffic.harness.now_ms
    traffic.run(60_000)
    found = traffic.figures(since_ms=learned_ms)
    assert found.requests_per_gift < 4
    assert found.p95_ms < 250


def test_after_an_outage_all_is_found_and_learned_anew() -> None:
    """Five minutes without a gift consumed, then those still pending at once, then as before."""
    traffic = Traffic(4, make_rooms(20, 2_000), exponential(500))
    traffic.run(60_000)
    before = traffic.figures()
    outage_ms = traffic.harness.now_ms
    traffic.fate = lambda _: max(0, outage_ms + 300_000 - traffic.harness.now_ms)
    traffic.run(300_000)
    over_ms = traffic.harness.now_ms
    traffic.fate = exponential(500)
    traffic.run(30_000)
    caught_up = traffic.figures(since_ms=over_ms - 30_000)
    asked = [n for id_, n in traffic.asked.items() if traffic.lives[id_].sent_ms >= outage_ms]
    assert max(asked) < 200
    assert caught_up.p95_ms < 2_000
    traffic.run(150_000)
    again_ms = traffic.harness.now_ms
    traffic.run(60_000)
    again = traffic.figures(since_ms=again_ms)
    assert before.mean_ms * 1.3 > again.mean_ms
    assert before.requests_per_gift * 1.3 > again.requests_per_gift


def test_the_belief_in_use_is_the_one_learned() -> None:
    """What a game's rooms taught decides when its rooms ask."""
    hazards = LearnedHazards(WRONG)
    traffic = Traffic(5, make_rooms(5, 500), exponential(500), hazards=hazards)
    traffic.run(30_000)
    found: Hazard = hazards.of(7, "game")
    assert found.rates_per_ms[0] > 10 * WRONG.rates_per_ms[0]


# --- slots --------------------------------------------------------------------------------------


def p95(delays_ms: list[int]) -> int:
    """The 95th percentile of ascending delays."""
    return delays_ms[len(delays_ms) * 95 // 100]


def test_with_four_times_more_checks_due_than_slots_rooms_with_few_gifts_do_not_starve() -> None:
    """By waiting alone they would: a gift each 10 s collects next to nothing (design §5)."""
    rooms = [
        *(Room(f"busy{n}", 150, f"game{n % 4}") for n in range(30)),
        *(Room(f"sparse{n}", 10_000, f"game{n % 4}") for n in range(15)),
    ]
    free = Traffic(6, rooms, exponential(500))
    free.run(10_000)
    in_flight = len(free.harness.sent) * LATENCY_MS / 10_000
    slots = int(in_flight / 4)
    crowded = Traffic(
        6, rooms, exponential(500), rules=replace(RULES, requests_in_flight_max=slots)
    )
    crowded.run(60_000)
    busy, sparse = (
        crowded.delays_ms(since_ms=NOW_MS + 20_000, rooms=r) for r in ("busy", "sparse")
    )
    assert len(sparse) > 30
    assert p95(sparse) <= p95(busy) + 5_000
    assert p95(busy) <= 2_000
    late = [result.decided_at - result.deadline for result in crowded.harness.results]
    assert max(late) < 10_000


def test_a_game_that_hangs_never_holds_more_than_a_quarter_of_the_slots() -> None:
    """From its first check on, or from one moment to the next; the others go on as before."""
    slots = 64
    rooms = [*make_rooms(60, 1_000, name="good"), *make_rooms(60, 1_000, name="bad", game="bad")]
    rules = replace(RULES, requests_in_flight_max=slots)
    traffic = Traffic(7, rooms, exponential(500), rules=rules)
    traffic.hangs = frozenset({"bad"})
    traffic.run(15_000)
    assert traffic.in_flight_max("bad", rules.request_timeout_ms) == slots // 4
    traffic.hangs = frozenset()
    traffic.run(30_000)
    well_ms = traffic.harness.now_ms
    traffic.run(10_000)
    traffic.hangs = frozenset({"bad"})
    hangs_ms = traffic.harness.now_ms + 1  # what was sent before in this instant is answered
    traffic.run(10_000)
    before = traffic.delays_ms(since_ms=well_ms, rooms="good")
    after_it = traffic.delays_ms(since_ms=hangs_ms, rooms="good")
    assert p95(after_it) <= 1.5 * p95(before)
    assert traffic.in_flight_max("bad", rules.request_timeout_ms, hangs_ms) == slots // 4


# --- a backlog ----------------------------------------------------------------------------------


def drain(*, told: bool, batch_pause_ms: int = 20) -> tuple[float, int]:
    """10,000 gifts of 100 rooms, five minutes late: requests per gift, and how long it took."""
    harness = Harness(api=say_consumed)
    harness.assign()
    count, batch = 10_000, 200
    sent_at = WALL_MS - 300_000
    for begin in range(0, count, batch):
        offsets = range(begin, begin + batch)
        records = tuple(make_record(n, room_id=f"r{n % 100}", sent_at=sent_at) for n in offsets)
        unread_count = count - begin - batch if told else 0
        harness.handle(RecordsRead(0, 1, records, begin + batch, unread_count))
        harness.run(batch_pause_ms)
    while len(harness.results) < count:
        harness.run(50)
    assert all(result.status is Status.SUCCEEDED for result in harness.results)
    return len(harness.sent) / count, harness.now_ms - NOW_MS


def test_a_backlog_is_read_before_it_is_asked_about() -> None:
    """Each room's hundred gifts are two or three checks instead of dozens, and all is done sooner."""
    requests, took_ms = drain(told=True)
    requests_untold, took_untold_ms = drain(told=False)
    assert requests <= 0.03
    assert requests < requests_untold / 4
    assert took_ms <= took_untold_ms + 100


def test_a_backlog_that_is_read_slowly_is_asked_about_meanwhile() -> None:
    """Nobody waits for batches that do not come, nor for more than a few seconds."""
    first_ms = []
    for batch_pause_ms in (250, 1_000):
        harness = Harness(api=say_consumed)
        harness.assign()
        for offset in range(30):
            harness.handle(RecordsRead(0, 1, (make_record(offset),), offset + 1, 1_000_000))
            harness.run(batch_pause_ms)
        first_ms.append(harness.sent[0][0] - NOW_MS)
    assert [WAIT_MS, PAUSE_MS] == first_ms
