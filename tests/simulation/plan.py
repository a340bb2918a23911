"""One seed: a world, its load and its bad luck, drawn before anything happens.

All durations are of the world's clock. The bounds keep to what the promises assume (design §2):
a request reaches the server within the hold or never, pods' wall clocks agree within a second,
one process of a name at a time. Where a fault breaks an assumption for a while (a wall clock set
an hour off), the plan leaves out what the assumption is needed for.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from consumer.core.model import CheckRules
from tests.simulation.bad_luck import SLOW, Trouble, hot_troubles, troubles_of
from tests.simulation.hub import MS, SECOND, START_US
from tests.simulation.load import (
    Arrival,
    arrivals_of,
    busy_arrivals,
    hot_arrivals,
    probes_of,
    seldom_probes,
    wide_arrivals,
)

SCARCE_SHARE: Final = 0.02
"""So many seeds have more rooms due than slots, also when all is well."""

WIDE_SHARE: Final = 0.04
"""So many seeds have more answered offsets than the broker takes metadata for."""

HOT_SHARE: Final = 0.3
"""So many seeds are about the limit: more is due in one room than it allows, all the time, and
pods come and go."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is drawn beforehand."""

    seed: int
    partitions: int
    pods: int
    static: bool
    rooms: int
    games: int
    rules: CheckRules
    session_ms: int
    transaction_ms: int
    outage_max_ms: int
    commit_interval_ms: int
    first_delay_us: int
    cleanup_us: int
    latency_us: tuple[int, int]
    marker_us: tuple[int, int]
    api_latency_us: tuple[int, int]
    metadata_max: int
    message_bytes_max: int
    lag_max_ms: int
    skew_max_us: int
    dates: bool
    stale: float
    faults_end_us: int
    quiet_us: int
    arrivals: tuple[Arrival, ...] = ()
    probes: tuple[Arrival, ...] = ()
    troubles: tuple[Trouble, ...] = field(default=())


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(f"giftcheck {seed}")
    profile = random.random()
    hot = profile < HOT_SHARE
    scarce = HOT_SHARE <= profile < HOT_SHARE + SCARCE_SHARE
    wide = profile > 1 - WIDE_SHARE
    rules = _rules(random, hot=hot, wide=wide)
    timeout_ms, settle_ms = rules.timeout_ms, rules.settle_ms
    pods = random.choice((1, 2, 2, 3))
    rooms = random.choice((1, 2, 4, 8))
    length_us = (20 if hot else random.choice((20, 45, 120))) * SECOND
    faults_end_us = START_US + 3 * SECOND + length_us
    # Streams of their own: a change of one part leaves the others of a seed as they are.
    bad_luck, load = Random(f"troubles {seed}"), Random(f"load {seed}")
    if hot:
        troubles = hot_troubles(bad_luck, pods, faults_end_us)
    else:
        troubles = troubles_of(bad_luck, rules, pods, rooms, faults_end_us)
    steps = any(one.kind == "clock step" for one in troubles)
    slow = any(one.kind in SLOW for one in troubles)
    # A room whose first check after a hand-over is lost has all permits unknown, and waits for as
    # long as those are held (design §5), with nobody else to show that the server is done.
    held_us = rules.unknown_hold_max_ms * MS + 8 * SECOND
    quiet_us = faults_end_us + (100 * SECOND if slow else max(45 * SECOND, held_us))
    request_timeout_ms = rules.request_timeout_ms
    # There and back within the request's time-out, as long as all is well.
    api_us = random.choice((10, 80, min(300, 2 * request_timeout_ms // 5))) * MS
    plan = Plan(
        seed=seed,
        partitions=1 if wide else random.choice((1, 2, 3, 4)),
        pods=pods,
        static=random.random() < 0.8,
        rooms=rooms,
        games=random.choice((1, 2, 3)),
        rules=rules,
        session_ms=max(6_000, rules.lease_ms + request_timeout_ms + 500),
        transaction_ms=random.choice((3_000, 6_000, 15_000)),
        outage_max_ms=random.choice((10_000, 30_000)),
        commit_interval_ms=random.choice((20, 50, 200)),
        first_delay_us=random.choice((0, 200, 3_000)) * MS,
        cleanup_us=random.choice((500, 2_000, 10_000)) * MS,
        latency_us=(200, random.choice((1_500, 6_000) if hot else (1_500, 6_000, 40_000))),
        marker_us=(100, random.choice((3, 20) if hot else (3, 60, 400)) * MS),
        api_latency_us=(1_000, 10 * MS if hot else api_us),
        metadata_max=200 if wide else 4_096,
        message_bytes_max=random.choice((1_048_588, 1_048_588, 80_000)),
        lag_max_ms=random.choice((0, settle_ms // 3)),
        skew_max_us=random.choice((0, 50, settle_ms // 3)) * MS,
        # Without a `Date` our own clock alone decides: that is when its steps matter.
        dates=random.random() < (0.3 if steps else 0.7),
        stale=random.choice((0.0, 0.5)),
        faults_end_us=faults_end_us,
        quiet_us=quiet_us,
        arrivals=(
            hot_arrivals(load, timeout_ms, troubles)
            if hot
            else wide_arrivals(load, timeout_ms, rooms)
            if wide
            else arrivals_of(load, timeout_ms, rooms, troubles, faults_end_us)
        ),
        probes=probes_of(load, timeout_ms, rooms, quiet_us),
        troubles=troubles,
    )
    return _scarce(plan, load) if scarce else plan


def _scarce(plan: Plan, load: Random) -> Plan:
    """Seven busy rooms and one with a gift now and then, and two slots for all of them."""
    rules = replace(plan.rules, requests_in_flight_max=2, request_timeout_ms=3_000)
    rules = replace(rules, batch_size_max=100, pending_gifts_max=100_000)
    return replace(
        plan,
        pods=1,
        rooms=8,
        games=1,
        rules=replace(rules, replay_records_max=100_000),
        session_ms=rules.lease_ms + rules.request_timeout_ms + 500,
        api_latency_us=(350 * MS, 450 * MS),
        arrivals=busy_arrivals(load, plan.quiet_us, rooms=7),
        probes=seldom_probes(load, plan.quiet_us, room=7),
        troubles=(),
    )


def _rules(random: Random, *, hot: bool, wide: bool) -> CheckRules:
    timeout_ms = random.choice((1_500, 2_500, 4_000, 8_000))
    if hot or wide:
        timeout_ms = 8_000
    settle_ms = random.choice((300, 600, 1_000))
    give_up_ms = random.choice((2_000, 15_000, 60_000))
    gives_up = random.random() < 0.7
    pending_max = 100_000 if hot or wide else random.choice((15, 60, 100_000))
    return CheckRules(
        timeout_ms=timeout_ms,
        settle_ms=settle_ms,
        give_up_after_ms=timeout_ms + settle_ms + give_up_ms if gives_up else 0,
        request_price_ms=5.0 if hot else random.choice((10.0, 30.0, 200.0)),
        request_timeout_ms=random.choice((500, 1_000, 2_000, 3_000)),
        requests_in_flight_max=256 if hot else random.choice((8, 16, 256)),
        batch_size_max=3 if hot else 100 if wide else random.choice((3, 5, 20, 100)),
        room_permits=random.choice((10, 20, 20)),
        lease_ms=3_000,
        unknown_hold_min_ms=2_000,
        unknown_hold_max_ms=random.choice((20_000, 60_000)),
        pending_gifts_max=pending_max,
        overdue_gifts_max=max(5, pending_max // random.choice((2, 4))),
        replay_records_max=max(pending_max, random.choice((60, 300, 100_000))),
    )
