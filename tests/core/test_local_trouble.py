"""Local trouble stops nobody else, global trouble costs nobody their verdict (promise P5).

In virtual time, through the whole core: rooms of healthy games, rooms whose game is refused, rooms
whose requests hang. Rates and limits are a thousandth of a platform's, so that a day takes seconds;
what matters is their ratio to the time-out and to each other.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from consumer.core.limits import Limit, pause_reason
from consumer.core.messages import CheckAnswered, PauseIntake, ReportGiveUps, ResumeIntake
from consumer.core.model import Answer, Check, CheckRules, GiftResult, Status
from tests.core.builders import (
    NOW_MS,
    WALL_MS,
    Ending,
    Harness,
    make_assigned,
    make_entry,
    make_loss,
    make_record,
)

SEED = 20_241_125
DAY_MS = 24 * 3_600_000
LATENCY_MS = 30
PARTITIONS = 2
RULES = CheckRules(
    give_up_after_ms=0,  # only the limits end anything
    request_price_ms=150,  # a lone gift is asked about seldom enough to simulate a day of it
    pending_gifts_max=100,
    overdue_gifts_max=40,
    replay_records_max=700,
)


def silence(check: Check) -> tuple[int, Ending]:
    """No answer."""
    return RULES.request_timeout_ms, make_loss(check)


def refusal(check: Check) -> tuple[int, Ending]:
    """A parameter is wrong, the vendor says of every check."""
    return LATENCY_MS, CheckAnswered(check.check_id, Answer(2, "wrong input parameter"))


class Platform:
    """Gifts at random instants, their fates, an API with trouble, and what became of all this."""

    def __init__(self, rules: CheckRules, *, trouble: bool = True) -> None:
        print(f"seed {SEED}")
        self.dice = random.Random(SEED)
        self.harness = Harness(rules=rules, api=self.reply)
        self.consumed_ms: dict[str, int | None] = {}
        self.trouble = trouble
        self.outage: Callable[[Check], tuple[int, Ending]] | None = None
        self.offsets = dict.fromkeys(range(PARTITIONS), 0)
        self.peaks: Counter[str] = Counter()
        for partition in range(PARTITIONS):
            self.harness.assign(make_assigned(partition))

    def reply(self, check: Check, now_ms: int) -> tuple[int, Ending]:
        """Refuse the broken game, be silent to the hanging one, tell the truth to the others."""
        if self.outage is not None:
            return self.outage(check)
        if self.trouble and check.mini_game_id == "hanging":
            return silence(check)
        if self.trouble and check.mini_game_id == "broken":
            broken = Answer(7_202_001, "game does not exist")
            return LATENCY_MS, CheckAnswered(check.check_id, broken)
        seen_ms = now_ms + LATENCY_MS // 2
        entries = [
            make_entry(msg_id, timestamp_ms=int(msg_id.split("-")[1]))
            for msg_id in check.msg_ids
            if (at_ms := self.consumed_ms[msg_id]) is not None and at_ms <= seen_ms
        ]
        answer = Answer(0, "success", "req", tuple(entries))
        return LATENCY_MS, CheckAnswered(check.check_id, answer)

    def send(self, game: str, room: int) -> None:
        """A gift is sent now; nine of ten are consumed, after half a second on average."""
        harness, partition = self.harness, room % PARTITIONS
        offset = self.offsets[partition]
        self.offsets[partition] += 1
        msg_id = f"{partition}x{offset}-{harness.wall_ms}"
        after_ms = int(self.dice.expovariate(1 / 500))
        never = self.dice.random() < 0.1
        self.consumed_ms[msg_id] = None if never else harness.now_ms + after_ms
        harness.read(
            make_record(
                offset, msg_id=msg_id, room_id=f"{game}-{room}", game=game, sent_at=harness.wall_ms
            ),
            partition=partition,
        )

    def live(self, for_ms: int, *, mean_ms: float, share: float = 0.02) -> None:
        """Time passes with a gift every `mean_ms` on average, `share` of them of troubled games."""
        until_ms = self.harness.now_ms + for_ms
        while self.harness.now_ms < until_ms:
            self.harness.run(1 + int(self.dice.expovariate(1 / mean_ms)))
            troubled, room = self.dice.random() < share, self.dice.randrange(20)
            game = self.dice.choice(("broken", "hanging")) if troubled else "healthy"
            self.send(game, room if game == "healthy" else room % 2)
            self.note_peaks()

    def note_peaks(self) -> None:
        """Remember the highest levels seen."""
        status = self.harness.scheduler.status(self.harness.now_ms)
        levels = {"pending": status.pending_gifts, "overdue": status.overdue_gifts}
        for partition in status.partitions:
            replay = max(levels.get("replay", 0), partition.position - partition.offset)
            fill = max(levels.get("map", 0), int(100 * partition.fill))
            levels |= {"replay": replay, "map": fill}
        self.peaks |= Counter(levels)

    def results_of(self, game: str) -> list[GiftResult]:
        """Everything committed about this game's gifts."""
        return [each for each in self.harness.results if each.sent.mini_game_id == game]

    def false_verdicts(self) -> list[GiftResult]:
        """Those that contradict the truth; UNVERIFIED contradicts nothing."""
        right = {True: Status.UNCONSUMED, False: Status.SUCCEEDED}
        return [
            each
            for each in self.harness.results
            if each.status
            not in {right[self.consumed_ms[each.sent.msg_id] is None], Status.UNVERIFIED}
        ]

    def healthy_p95_ms(self) -> int:
        """From being consumed to the verdict, of healthy gifts that were."""
        delays = sorted(
            each.decided_at - WALL_MS - (at_ms - NOW_MS)
            for each in self.results_of("healthy")
            if (at_ms := self.consumed_ms[each.sent.msg_id]) is not None
        )
        return delays[len(delays) * 95 // 100]


def pauses(harness: Harness) -> list[PauseIntake | ResumeIntake]:
    """What was told of intake."""
    return [each for each in harness.told if isinstance(each, PauseIntake | ResumeIntake)]


def test_a_day_with_a_broken_game_stays_within_all_limits_and_the_others_never_wait() -> None:
    """2 % of the traffic is refused or hangs, all day, and is never given up for its age."""
    calm = Platform(RULES, trouble=False)  # as long, for what is learned has its ups and downs
    calm.live(DAY_MS, mean_ms=5_000)
    day = Platform(RULES)
    day.live(DAY_MS, mean_ms=5_000)
    harness = day.harness
    print(day.peaks, day.healthy_p95_ms(), calm.healthy_p95_ms(), harness.scheduler.tally)
    assert pauses(harness) == []
    assert day.peaks["overdue"] <= RULES.overdue_gifts_max
    assert day.peaks["pending"] < RULES.pending_gifts_max
    assert day.peaks["replay"] <= RULES.replay_records_max
    assert day.peaks["map"] < 90
    assert day.healthy_p95_ms() <= calm.healthy_p95_ms() * 1.1
    assert {Status.SUCCEEDED, Status.UNCONSUMED} == {r.status for r in day.results_of("healthy")}
    assert day.false_verdicts() == []
    troubled = [*day.results_of("broken"), *day.results_of("hanging")]
    assert {Status.UNVERIFIED} == {result.status for result in troubled}
    assert len(troubled) > 200
    assert all("gave up early for limits." in str(result.reason) for result in troubled)


def test_many_overdue_gifts_are_given_up_to_well_below_their_limit() -> None:
    """A flood of a broken game: beyond the limit the oldest go, and people hear of it once."""
    platform = Platform(replace(RULES, overdue_gifts_max=200, pending_gifts_max=5_000))
    harness = platform.harness
    platform.live(600_000, mean_ms=500, share=0.8)
    harness.run(1_000)
    reports = [each for each in harness.told if isinstance(each, ReportGiveUps)]
    assert pauses(harness) == []
    assert platform.peaks["overdue"] <= 200
    unverified = [each for each in harness.results if each.status is Status.UNVERIFIED]
    assert Counter({Limit.OVERDUE.value: len(unverified)}) == harness.scheduler.tally.given_up
    assert [ReportGiveUps(Limit.OVERDUE, None)] == reports
    assert platform.false_verdicts() == []
    assert len(platform.results_of("broken")) > 100
    reasons = {str(each.reason) for each in platform.results_of("hanging")}
    assert {"gave up early for limits.overdue_gifts_max: no answer within 3 s"} == reasons


@pytest.mark.parametrize(("outage", "stutter_ms"), [(silence, 0), (silence, 15_000), (refusal, 0)])
def test_a_global_outage_pauses_intake_and_costs_nobody_a_verdict(
    outage: Callable[[Check], tuple[int, Ending]], stutter_ms: int
) -> None:
    """Nobody is given up early, however long it takes and however unsteadily it begins and ends.

    Nor if the vendor calls every check bad, after a change of its own.
    """
    platform = Platform(replace(RULES, pending_gifts_max=600, overdue_gifts_max=200))
    harness, truth, dice = platform.harness, platform.reply, random.Random(SEED)

    def stutter(check: Check, now_ms: int) -> tuple[int, Ending]:
        platform.outage = outage if dice.random() < 0.5 else None
        return truth(check, now_ms)

    def live_stuttering() -> None:
        harness.api = stutter
        platform.live(stutter_ms, mean_ms=200, share=0)
        harness.api = truth

    platform.live(60_000, mean_ms=200, share=0)
    live_stuttering()
    platform.outage = outage
    while not pauses(harness):
        platform.live(1_000, mean_ms=200, share=0)
    harness.run(2 * 3_600_000)
    reasons = {each.reason for each in pauses(harness) if isinstance(each, PauseIntake)}
    full = ((Limit.PENDING,), (Limit.OVERDUE,), (Limit.PENDING, Limit.OVERDUE))
    assert reasons <= {pause_reason(limits) for limits in full}
    platform.outage = None
    if stutter_ms:
        harness.api = stutter
        harness.run(stutter_ms)
        harness.api, platform.outage = truth, None
    harness.run(120_000)
    assert {ResumeIntake} == {type(each) for each in pauses(harness)[-2:]}  # both partitions
    assert harness.scheduler.tally.given_up == Counter()
    assert sum(platform.offsets.values()) == len(harness.results)
    assert platform.false_verdicts() == []


def test_overdue_gifts_that_fill_a_map_are_given_up_and_the_partition_goes_on() -> None:
    """2 % of a partition are refused: lowest offset first, and not all of them, at 90 %."""
    platform = Platform(
        replace(RULES, replay_records_max=10**9, overdue_gifts_max=10**6, pending_gifts_max=10**6)
    )
    harness = platform.harness
    steps = 0
    while not platform.results_of("broken") and steps < 5_000:
        steps += 1
        harness.run(1_000)
        platform.offsets[0] += 380  # offsets without a record count as answered
        for room in range(8):
            platform.offsets[0] += 1 + platform.dice.randrange(4)
            platform.send("broken", 2 * room)
        platform.send("healthy", 0)
        platform.note_peaks()
    harness.run(5_000)  # five hundred go for each input of the core
    given_up = platform.results_of("broken")
    offsets = [result.source_offset for result in given_up]
    status = harness.scheduler.status(harness.now_ms).partitions[0]
    assert pauses(harness) == []
    assert 85 <= platform.peaks["map"] < 95
    assert harness.scheduler.tally.given_up == Counter({Limit.MAP.value: len(given_up)})
    assert sorted(offsets) == offsets
    assert 0.1 < len(given_up) / (steps * 8) < 0.5
    assert max(offsets) < status.position / 2 < status.position
    assert status.fill < 0.85
    assert str(given_up[0].reason).startswith("gave up early for the map of answered offsets: Code")
    assert {Status.SUCCEEDED, Status.UNCONSUMED} == {
        result.status for result in platform.results_of("healthy")
    }


def test_a_busy_room_of_a_broken_game_does_not_fill_the_memory() -> None:
    """Back-off allows a few checks a minute; what was never asked about could not be given up."""
    rules = replace(RULES, overdue_gifts_max=100, pending_gifts_max=1_500, replay_records_max=10**9)
    platform = Platform(rules)
    for _ in range(600):
        platform.harness.run(1_000)
        for _ in range(20):
            platform.send("broken", 0)
        platform.send("healthy", 1)
        platform.note_peaks()
    assert pauses(platform.harness) == []
    assert platform.peaks["pending"] < rules.pending_gifts_max
    assert len(platform.results_of("broken")) > 10_000
