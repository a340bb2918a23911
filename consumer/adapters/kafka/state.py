"""What the Kafka thread tells about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KafkaState:
    """A snapshot for `/livez`, `/readyz`, `/metrics` and `/status`; times are monotonic.

    Attributes:
        last_turn_ms: when the thread last came round. It does not while a client call or its
            repetitions go on, so that a watchdog sees a call that never comes back; one turn
            lasts up to `outage_max_ms` where the brokers are away.
        joined: a member of the group, with partitions or without.
        assigned: the partitions owned, in order.
        waiting: partitions assigned whose start is not known yet (a predecessor's transaction
            is open, or the brokers do not answer).
        transaction_failing_since_ms: the beginning of the first transaction since the last
            success; None after a success. In health a few milliseconds ago.
        begun: partitions that became ours since the start; each hand-over to us counts.
        gift_sent_partitions: how many gift-sent had when the process started; None: not asked.
        intake_lag: records not yet read, by partition; as last heard from the broker.
        intake_lag_ms: for how long at most they have been unread, by partition; 0 where none is.
        commits: transactions committed since the start; `aborts` of those aborted.
        records: records read; `dead_letters`, `results`: those committed.
        last_error: the last thing the client or a transaction complained about.
    """

    last_turn_ms: int
    joined: bool = False
    assigned: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    begun: int = 0
    gift_sent_partitions: int | None = None
    transaction_failing_since_ms: int | None = None
    intake_lag: Mapping[int, int] = field(default_factory=dict)
    intake_lag_ms: Mapping[int, int] = field(default_factory=dict)
    commits: int = 0
    aborts: int = 0
    records: int = 0
    results: int = 0
    dead_letters: int = 0
    last_error: str | None = None
