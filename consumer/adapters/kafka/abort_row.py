"""Aborted transactions in a row: when to stop trying (design §4, "Errors").

An abort is nothing special; an abort that comes again and again is a fault that trying does not
mend: a right that was taken away, a record no broker takes. It must become visible.
"""

from typing import Final

from confluent_kafka import KafkaError

from consumer.adapters.kafka.errors import error_text
from consumer.errors import RestartNeeded

ABORTS_MAX: Final = 20
SAME_ERROR_MS: Final = 60_000


class AbortRow:
    """Counts them, and for how long their error has been the same."""

    def __init__(self) -> None:
        self._name = ""
        self._since_ms = 0
        self.aborts_count = 0

    def add(self, error: KafkaError, now_ms: int) -> None:
        """One more abort, because of `error`.

        Raises:
            RestartNeeded: it is the `ABORTS_MAX`-th in a row, or the same error for
                `SAME_ERROR_MS`; the message names the error.
        """
        if self.aborts_count == 0 or self._name != error.name():
            self._name, self._since_ms = error.name(), now_ms
        self.aborts_count += 1
        same_ms = now_ms - self._since_ms
        if self.aborts_count >= ABORTS_MAX or same_ms >= SAME_ERROR_MS:
            raise RestartNeeded(
                f"{self.aborts_count} transactions in a row were aborted, the last ones over"
                f" {same_ms} ms with {error_text(error)}"
            )

    def end(self) -> None:
        """A transaction was committed."""
        self.aborts_count = 0
