"""Pulling cuts and committing them: one outstanding, whoever asked (design §4, "Cuts are pulled").

The Kafka thread asks, the loop answers in one turn and never waits for the Kafka thread. If an
answer is late, the thread goes on polling and the question stays: the next one waits for it. The
core says how long after a cut the next one is due, at the earliest: large maps stretch that. A
cut made before a rebalance may hold partitions that are gone by now; it is not sent but given
back as aborted, and the core drops what is gone.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import structlog
from confluent_kafka import Consumer

from consumer.adapters.kafka.assignment import Assignment
from consumer.adapters.kafka.clients import wait_for
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.ports import Host
from consumer.adapters.kafka.transaction import Transactions
from consumer.clock import Clock
from consumer.core.messages import CutAborted, CutCommitted
from consumer.core.model import Cut
from consumer.errors import RestartNeeded

ANSWER_S: Final = 0.05
"""How long a turn waits for the loop; a healthy one needs a few milliseconds."""

BACK_OFF_MS_MAX: Final = 1_000
"""Between aborted transactions the interval doubles up to here: twenty in a row then span some
15 s, which a rebalance or a moving coordinator does not last."""

LAST_CUT_TRIES: Final = 2
"""After an abort the next commit may abort once more (OUT_OF_ORDER_SEQUENCE_NUMBER: seen)."""

log = structlog.get_logger()


class Cuts:
    """Asks the host for cuts, commits them and says what became of them.

    Args:
        wanted: set by whoever has something to say, from any thread.
        wait: blocks until a future is done or the seconds are over.
    """

    def __init__(
        self,
        *,
        host: Host,
        transactions: Transactions,
        consumer: Consumer,
        assignment: Assignment,
        config: KafkaConfig,
        clock: Clock,
        wanted: threading.Event,
        wait: Callable[[Future[Any], float], bool] = wait_for,
    ) -> None:
        self._host = host
        self._transactions = transactions
        self._consumer = consumer
        self._assignment = assignment
        self._config = config
        self._clock = clock
        self._wanted = wanted
        self._wait = wait
        self._outstanding: Future[Cut | None] | None = None
        self._rest = False
        self._asked_ms = self._next_ms = clock.now_ms()

    def pull_if_due(self) -> None:
        """Ask if somebody wants it and the interval is over; commit what has been answered."""
        if self._outstanding is None:
            now_ms = self._clock.now_ms()
            if not self._wanted.is_set() or now_ms < self._next_ms:
                return
            if not self._assignment.is_member():
                return
            self._wanted.clear()
            self._asked_ms = now_ms
            self._next_ms = now_ms + self._config.commit_interval_ms
            self._outstanding = self._host.request_cut(None, drain=False)
        self._settle(ANSWER_S)

    def pull_last(self, partitions: frozenset[int] | None, budget_ms: int) -> None:
        """Commit the drained cuts of these partitions (None: all) before they go.

        There is more than one where their maps are more than one transaction takes. What is not
        answered or committed in `budget_ms` is left to the successor, which does it again: nothing
        of it was committed.
        """
        deadline_ms = self._clock.now_ms() + budget_ms
        if self._outstanding is not None and not self._settle(budget_ms / 1_000):
            return
        tries = 0
        while tries < LAST_CUT_TRIES:
            self._rest = False
            self._outstanding = self._host.request_cut(partitions, drain=True)
            left_ms = deadline_ms - self._clock.now_ms()
            if not self._settle(max(0, left_ms) / 1_000):
                return
            if self._transactions.aborts_in_row:
                tries += 1
            elif not self._rest:
                return

    def _settle(self, timeout_s: float) -> bool:
        """Wait for the outstanding answer, commit it, say so; False if it has not come."""
        outstanding = self._outstanding
        if outstanding is None or not self._wait(outstanding, timeout_s):
            return False
        self._outstanding = None
        cut = outstanding.result()
        if cut is None:
            return True
        self._rest = cut.rest
        if self._commit(cut):
            self._next_ms = max(self._next_ms, self._asked_ms + cut.interval_ms)
            self._host.feed(CutCommitted(cut.cut_id))
            return True
        self._host.feed(CutAborted(cut.cut_id, self._transactions.metadata_refused))
        self._wanted.set()
        back_off_ms = self._config.commit_interval_ms << min(10, self._transactions.aborts_in_row)
        self._next_ms = self._clock.now_ms() + min(BACK_OFF_MS_MAX, back_off_ms)
        return True

    def _commit(self, cut: Cut) -> bool:
        owned = self._assignment.owned
        gone = [
            at.partition
            for at in cut.offsets
            if at.partition not in owned or owned[at.partition].epoch != at.epoch
        ]
        if gone:
            log.info("cut given back: partitions are gone", partitions=gone)
            return False
        group_metadata = self._consumer.consumer_group_metadata()
        if not self._assignment.is_member():
            return False  # no member, no fence
        committed = self._transactions.commit(cut, group_metadata)
        if not committed and self._config.embedded_broker:
            raise RestartNeeded(
                "the embedded broker cannot show this: a transaction was aborted, and it shows"
                " aborted results; use a real Kafka"
            )
        return committed
