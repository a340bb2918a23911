"""What can be chosen for a demo; the numbers are those the promises are measured at."""

from dataclasses import dataclass
from typing import Final, Literal

BATCH_RUN_MS: Final = 20_000
"""How long the load lasts if nobody says and nobody watches: without a terminal, or with `json`."""

LONGEST_RUN_MS: Final = 1_800_000
"""A run without a duration ends after half an hour at the latest: every gift, request and result
is kept to be judged, and takes 2 to 3 KB together (seen): 1.5 GB at 300 gifts a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of `giftcheck demo`.

    `duration_ms` is how long gifts are sent, None: until Ctrl-C. `rate` is gifts a second over
    all `rooms`. `timeout_ms` is the consumer's `check.timeout`. `latency_ms` is what the
    simulated API's answers take, half of it on the way in and half on the way out.
    `bootstrap_servers` names a Kafka that is there already and outranks `broker`. `json` prints
    one JSON object instead of the live view.
    """

    duration_ms: int | None = None
    rate: float = 300.0
    rooms: int = 100
    timeout_ms: int = 5_000
    seed: int = 1
    json: bool = False
    bootstrap_servers: str | None = None
    broker: Literal["embedded", "kafka"] = "embedded"
    latency_ms: int = 30

    def load_ms(self, *, watched: bool) -> int:
        """How long the load lasts; `watched`: somebody sits at a terminal and can end it."""
        if self.duration_ms is not None:
            return self.duration_ms
        return LONGEST_RUN_MS if watched and not self.json else BATCH_RUN_MS
