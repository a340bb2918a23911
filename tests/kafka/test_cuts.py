"""When cuts are pulled, and what the core is told of them; transactions and time are scripted."""

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

from consumer.adapters.kafka import KafkaConfig
from consumer.adapters.kafka.assignment import Assignment, OwnedPartition
from consumer.adapters.kafka.cuts import Cuts
from consumer.adapters.kafka.transaction import Transactions
from consumer.core.messages import CutAborted, CutCommitted, Input
from consumer.core.model import Cut, CutOffset
from tests.kafka.fake_producer import SettableClock

if TYPE_CHECKING:
    from confluent_kafka import Consumer

CONFIG = KafkaConfig(bootstrap_servers="nowhere", group_id="g", instance="a")


class FakeTransactions:
    """Commits, or aborts because metadata is too large."""

    def __init__(self) -> None:
        self.aborts_in_row = 0
        self.metadata_refused = False

    def commit(self, cut: Cut, group_metadata: object) -> bool:
        return not self.metadata_refused


class FakeMember:
    """A consumer that is a member of the group and owns partition 0."""

    def __init__(self) -> None:
        self.owned = {0: OwnedPartition(0, 1, 0, read_until_wall_ms=0)}
        self.known = True

    def is_member(self) -> bool:
        return self.known

    def consumer_group_metadata(self) -> object:
        return object()


class Bench:
    """Cuts over fakes; the host answers with the next of `cuts`, then with nothing to say."""

    def __init__(self, *cuts: Cut) -> None:
        self.clock = SettableClock()
        self.transactions = FakeTransactions()
        self.fed: list[Input] = []
        self.asked_ms: list[int] = []
        self.wanted = threading.Event()
        self._answers = list(cuts)
        member = FakeMember()
        self.cuts = Cuts(
            host=self,
            transactions=cast("Transactions", self.transactions),
            consumer=cast("Consumer", member),
            assignment=cast("Assignment", member),
            config=CONFIG,
            clock=self.clock,
            wanted=self.wanted,
        )

    def feed(self, *inputs: Input) -> None:
        self.fed.extend(inputs)

    def request_cut(
        self, partitions: frozenset[int] | None, *, drain: bool
    ) -> "Future[Cut | None]":
        self.asked_ms.append(self.clock.at_ms)
        answer: Future[Cut | None] = Future()
        answer.set_result(self._answers.pop(0) if self._answers else None)
        return answer

    def turn(self, for_ms: int) -> None:
        """Something is to be said all the time, and a turn comes every 10 ms."""
        for _ in range(for_ms // 10):
            self.wanted.set()
            self.cuts.pull_if_due()
            self.clock.at_ms += 10


def make_cut(number: int, *, rest: bool = False, interval_ms: int = 0) -> Cut:
    """A cut of partition 0."""
    return Cut(number, (CutOffset(0, 1, 5, "text"),), (), (), rest, interval_ms)


def test_the_core_may_put_the_next_cut_off() -> None:
    """Counted from the question before; the configured interval is the least."""
    bench = Bench(make_cut(1, interval_ms=300), make_cut(2, interval_ms=20), make_cut(3))
    began_ms = bench.clock.at_ms
    bench.turn(for_ms=400)
    assert [0, 300, 350] == [at_ms - began_ms for at_ms in bench.asked_ms]


def test_a_hand_over_asks_until_there_is_no_rest() -> None:
    """Whatever interval large maps would want: the partitions go."""
    bench = Bench(make_cut(1, rest=True, interval_ms=500), make_cut(2, rest=True), make_cut(3))
    bench.cuts.pull_last(None, budget_ms=1_000)
    assert [CutCommitted(1), CutCommitted(2), CutCommitted(3)] == bench.fed


def test_the_core_is_told_when_metadata_was_refused_for_its_size() -> None:
    """It writes shorter texts then."""
    bench = Bench(make_cut(1))
    bench.transactions.metadata_refused = True
    bench.turn(for_ms=10)
    assert [CutAborted(1, metadata_refused=True)] == bench.fed
