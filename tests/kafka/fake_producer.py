"""A producer whose calls answer what a test scripted, and a clock that a test moves."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException


class SettableClock:
    """Both axes are `at_ms`."""

    def __init__(self, at_ms: int = 1_000_000) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        """The monotonic axis."""
        return self.at_ms

    def wall_ms(self) -> int:
        """The wall axis."""
        return self.at_ms


class FakeProducer:
    """Plays `confluent_kafka.Producer`: each call takes the next of its scripted answers.

    An answer is an error to raise, a function to call, or None for success, which is also what
    comes after the script's end.
    """

    def __init__(self, clock: SettableClock, call_ms: int = 10) -> None:
        self._clock = clock
        self._call_ms = call_ms
        self.script: defaultdict[str, list[KafkaError | Callable[[], None] | None]] = defaultdict(
            list
        )
        self.calls: list[str] = []
        self.records: list[dict[str, Any]] = []

    def begin_transaction(self) -> None:
        """Begin."""
        self._answer("begin")

    def produce(self, topic: str, **record: Any) -> None:
        """Take a record."""
        self._answer("produce")
        self.records.append({"topic": topic, **record})

    def send_offsets_to_transaction(
        self, offsets: Any, group_metadata: Any, timeout: float
    ) -> None:
        """Take the offsets."""
        del offsets, group_metadata, timeout
        self._answer("send_offsets")

    def commit_transaction(self, timeout: float) -> None:
        """Commit."""
        del timeout
        self._answer("commit")

    def abort_transaction(self, timeout: float) -> None:
        """Abort."""
        del timeout
        self._answer("abort")

    def flush(self, timeout: float) -> int:
        """Wait for deliveries: there are none."""
        del timeout
        return 0

    def poll(self, timeout: float) -> int:
        """Serve callbacks: there are none."""
        del timeout
        return 0

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        self._clock.at_ms += self._call_ms
        answer = self.script[call].pop(0) if self.script[call] else None
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        if answer is not None:
            answer()


def abortable(code: int = KafkaError.ILLEGAL_GENERATION) -> KafkaError:
    """An error after which the transaction must be aborted."""
    return KafkaError(code, "a test's abortable error", txn_requires_abort=True)


def retriable(code: int = KafkaError._TIMED_OUT) -> KafkaError:
    """An error after which the same call may be made again."""
    return KafkaError(code, "a test's retriable error", retriable=True)


def fatal(code: int = KafkaError._FENCED) -> KafkaError:
    """An error after which the producer is of no use."""
    return KafkaError(code, "a test's fatal error", fatal=True)
