"""When this process may check a partition's rooms: hand-over first, then the lease (design §5).

A room's limit is kept by its partition's owner alone, so two owners must never ask at once.

- **Lease**: checks go out only within `lease` of the last *committed* cut that held the
  partition. Only a commit proves membership; `poll()` proves nothing.
- **Hand-over**: what the predecessor still has under way must be over first.
  *Drained* (it had nothing under way): its last answers lie before this assignment, so one permit
  window suffices. *Not drained*: wait until it can write nothing any more, and then assume the
  server still holds its requests: one free permit, the others unknown. *The very same name*: it
  is dead, we are it; one permit window since this process began, for it may have asked until just
  before, and the same suspicion about its requests. What this process itself asked before it lost
  and got back the partition, the limiter still knows.
"""

from dataclasses import dataclass, field
from typing import Final

from consumer.core.backlog import Backlog
from consumer.core.limiter import PERMIT_WINDOW_MS, ROUNDING_MS, Limiter, Loss
from consumer.core.model import CheckRules, PartitionMetadata

CLOCKS_AND_WINDOW_MS: Final = 2_000
"""One second for the vendor's window, one for the difference between two pods' wall clocks."""


@dataclass(eq=False, slots=True)
class Lease:
    """One partition's permission to check, from `opens_ms` (inclusive) to `until_ms` (exclusive).

    Within that, windows wait for their `backlog` to be read. `hand_over` is what new rooms of the
    partition must assume about the predecessor's requests. `losses` and `in_flight` are this
    partition's own checks.
    """

    opens_ms: int
    hand_over: Loss | None = None
    until_ms: int = -1
    draining: bool = False
    in_flight: int = 0
    losses: list[Loss] = field(default_factory=list)
    backlog: Backlog = field(default_factory=Backlog)

    def held(self, now_ms: int) -> bool:
        """Whether a check may be written now, as far as membership goes."""
        return now_ms < self.until_ms and not self.draining

    def is_drained(self, now_ms: int) -> bool:
        """Whether no request for this partition is on its way, and none will be sent any more."""
        self.losses = [loss for loss in self.losses if loss.release_ms > now_ms]
        inherited = self.hand_over is not None and self.hand_over.release_ms > now_ms
        return self.draining and not (self.in_flight or self.losses or inherited)


def take_over(
    metadata: PartitionMetadata | None,
    *,
    instance: str,
    began_ms: int | None,
    now_ms: int,
    wall_ms: int,
    rules: CheckRules,
    limiter: Limiter,
) -> Lease:
    """The lease of a partition assigned now, given what its predecessor left written.

    `began_ms` is when this process began, and so every other one of its name had ended; None: not
    known, so only now.
    """
    if metadata is None:  # nobody has ever checked it
        return Lease(opens_ms=now_ms)
    window_over_ms = now_ms + ROUNDING_MS + PERMIT_WINDOW_MS
    if metadata.drained:
        return Lease(opens_ms=window_over_ms)
    if metadata.instance == instance:
        since_ms = now_ms if began_ms is None else began_ms
        opens_ms = max(now_ms, since_ms + ROUNDING_MS + PERMIT_WINDOW_MS)
        return _suspecting(opens_ms, limiter)
    silence_ms = rules.lease_ms + rules.request_timeout_ms + CLOCKS_AND_WINDOW_MS
    # A predecessor's clock that runs ahead must not silence the rooms for longer than the rule.
    left_ms = min(metadata.cut_wall_ms - wall_ms, CLOCKS_AND_WINDOW_MS) + silence_ms
    return _suspecting(now_ms + max(0, left_ms), limiter)


def _suspecting(opens_ms: int, limiter: Limiter) -> Lease:
    """The lease of a partition whose predecessor's requests may still be at the server."""
    return Lease(opens_ms, limiter.hand_over(opens_ms), backlog=Backlog(one_permit=True))
