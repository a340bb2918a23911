"""What the Kafka thread needs from outside: somebody to talk to, and a codec."""

from concurrent.futures import Future
from typing import Protocol

from consumer.core.messages import Input
from consumer.core.model import Cut, GiftRead, GiftResult, Headers, RecordRefused


class Host(Protocol):
    """The loop that owns the core; both methods are called from the Kafka thread."""

    def feed(self, *inputs: Input) -> None:
        """Hand in what happened, in order; returns at once."""
        ...

    def request_cut(
        self, partitions: frozenset[int] | None, *, drain: bool
    ) -> "Future[Cut | None]":
        """Ask for the cut of these partitions (None: of all); None as answer: nothing to say.

        With `drain` no new checks are sent for them and those in flight are awaited, up to a
        second, before the answer.
        """
        ...


class Codec(Protocol):
    """Turns values into gifts and results into values."""

    def decode(
        self,
        *,
        offset: int,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> GiftRead | RecordRefused:
        """Read one record; what cannot be read comes back as a `RecordRefused`. Never raises."""
        ...

    def encode(self, result: GiftResult) -> bytes:
        """Write one result."""
        ...
