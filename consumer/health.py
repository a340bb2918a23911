"""Whether the process lives, is ready, and how it stands: what `/livez`, `/readyz`, `/status` say.

Alive means that the Kafka thread moves, and the loop, for it is the loop that answers; never that
Kafka or the API do, for a restart would mend neither. Ready means joined (an empty assignment
counts) and committing; never the API's credentials, for an unready pod would block the rollout
that mends them (design §9).
"""

from typing import Final, Protocol

from consumer.adapters.kafka import KafkaState
from consumer.clock import Clock
from consumer.core.scheduler import Scheduler
from consumer.core.tally import CoreStatus

FAILING_MAX_MS: Final = 10_000
"""A transaction takes 20 ms; one that fails for so long keeps results from their readers."""


class KafkaReporter(Protocol):
    """The Kafka thread, as far as its health goes."""

    def state(self) -> KafkaState:
        """How it stands now; from any thread."""
        ...


class Health:
    """Judges by what core and Kafka thread say of themselves; changes nothing.

    `stopping` is set by whoever stops the process: it is not ready any more.
    """

    def __init__(
        self,
        core: Scheduler,
        kafka: KafkaReporter,
        *,
        clock: Clock,
        instance: str,
        kafka_silence_max_ms: int,
    ) -> None:
        self._core = core
        self._kafka = kafka
        self._clock = clock
        self._instance = instance
        self._kafka_silence_max_ms = kafka_silence_max_ms
        self.stopping = False

    def alive(self) -> list[str]:
        """Why the process should be restarted; empty: it lives."""
        silence_ms = self._clock.now_ms() - self._kafka.state().last_turn_ms
        silent = silence_ms > self._kafka_silence_max_ms
        return ["the Kafka thread does not move"] if silent else []

    def ready(self) -> list[str]:
        """Why the process does not do its work; empty: it does."""
        kafka = self._kafka.state()
        reasons = []
        if self.stopping:
            reasons.append("stopping")
        if not kafka.joined:
            reasons.append("not yet a member of the group")
        failing_since_ms = kafka.transaction_failing_since_ms
        if (
            failing_since_ms is not None
            and self._clock.now_ms() - failing_since_ms > FAILING_MAX_MS
        ):
            reasons.append(f"transactions fail: {kafka.last_error}")
        return reasons

    def status(self) -> dict[str, object]:
        """Everything a person would ask for."""
        not_alive, not_ready = self.alive(), self.ready()
        return {
            "instance": self._instance,
            "alive": not not_alive,
            "ready": not not_ready,
            "reasons": [*not_alive, *not_ready],
            "core": self.core(),
            "kafka": self._kafka.state(),
        }

    def core(self) -> CoreStatus:
        """The core as it stands now."""
        return self._core.status(self._clock.now_ms())
