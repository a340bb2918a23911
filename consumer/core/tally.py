"""What the core has seen and decided, counted since the start; read by metrics and `/status`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.core.limits import Limit


@dataclass(slots=True)
class Tally:
    """Counters; the core alone writes them, and nothing it decides depends on them."""

    gifts_read: int = 0
    records_shared: int = 0
    keys_foreign: int = 0
    rooms_in_two_partitions: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    checks_lost: Counter[str] = field(default_factory=Counter)
    checks_unwritten: int = 0
    entries_foreign: int = 0
    answers_incomplete: int = 0
    clauses_open: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition as people want to see it; `fill` is its metadata's, 0 to 1."""

    partition: int
    offset: int
    position: int
    pending_gifts: int
    fill: float
    paused_for: tuple[Limit, ...]
    lease_left_ms: int


@dataclass(frozen=True, slots=True)
class CoreStatus:
    """The core as people want to see it; `tally` goes on counting.

    `slots` is how many requests may be in flight now: fewer than configured while many rooms are
    told "too frequent" or the host is in trouble. `scopes_in_trouble` counts rooms, games and apps
    that back off; `troubles` are sentences about those of games and apps. `faults` says of each
    fault there can be what is wrong, None if nothing is. `batch_size_max` is how many ids a check
    may carry, as far as is known.
    """

    pending_gifts: int
    pending_gifts_max: int
    overdue_gifts: int
    overdue_gifts_max: int
    replay_records_max: int
    windows: int
    rooms: int
    requests_in_flight: int
    request_price_ms: float
    slots: int
    windows_queued: int
    scopes_in_trouble: int
    troubles: tuple[str, ...]
    faults: Mapping[str, str | None]
    batch_size_max: int
    partitions: tuple[PartitionStatus, ...]
    tally: Tally
