"""The transaction coordinator, as far as clients of protocol version 1 see it.

    empty ──first write──► ongoing ──EndTxn──► ending ──all markers──► empty
                              └──time-out: next epoch, aborted by the coordinator

The outcome is decided when EndTxn is taken; the markers follow, each partition on its own, and
until the last is written the next transaction of this id is told to come again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import KafkaError

from tests.simulation.hub import MS, Hub
from tests.simulation.kafka.errors import AgainError, fatal
from tests.simulation.kafka.log import Log, Owner, Record

CONCURRENT_US = 20 * MS
"""How soon a client comes again where the transaction before is not over."""

Offsets = dict[int, tuple[int, str]]
"""Partition of gift-sent to offset and metadata."""


class OffsetStore(Protocol):
    """The group coordinator, as far as transactions concern it."""

    def decide(self, owner: Owner, *, commit: bool) -> None:
        """A marker has reached the offsets: pending ones are committed or dropped."""
        ...

    def pending(self, owner: Owner) -> Offsets:
        """What a transaction will commit."""
        ...


Listener = Callable[[list[Record], Offsets], None]
"""Is told what a transaction holds at the instant in which it is committed."""


@dataclass(slots=True)
class Transaction:
    """What the coordinator knows of a transactional id."""

    producer_id: int
    timeout_us: int = 0
    epoch: int = -1
    began_us: int | None = None
    ending: bool = False
    committed: bool | None = None
    logs: dict[Log, None] = field(default_factory=dict)
    has_offsets: bool = False

    @property
    def owner(self) -> Owner:
        """The name under which logs know it."""
        return self.producer_id, self.epoch


class Transactions:
    """All transactional ids; owns epochs and outcomes."""

    def __init__(
        self,
        hub: Hub,
        offsets: OffsetStore,
        *,
        cleanup_us: int,
        marker_us: Callable[[], int],
        on_commit: Listener,
    ) -> None:
        self._hub = hub
        self._offsets = offsets
        self._marker_us = marker_us
        self._on_commit = on_commit
        self._by_id: dict[str, Transaction] = {}
        self._cleanup_us = cleanup_us
        self._hub.after(cleanup_us, self._clean_up)

    def init(self, name: str, timeout_us: int) -> Owner:
        """A new epoch of this id; what an older one has open is aborted first."""
        found = self._by_id.setdefault(name, Transaction(len(self._by_id) + 1))
        if found.ending:
            raise AgainError(CONCURRENT_US)
        if found.began_us is not None:
            self._end(found, commit=False, next_epoch=True)
            raise AgainError(CONCURRENT_US)
        found.epoch += 1
        found.timeout_us = timeout_us
        found.committed = None
        return found.owner

    def enter(self, name: str, owner: Owner) -> Transaction:
        """The id's transaction, begun if it was not, for a request of this owner."""
        found = self.check(name, owner)
        if found.ending:
            raise AgainError(CONCURRENT_US)
        if found.began_us is None:
            found.began_us = self._hub.now_us
            found.committed = None
        return found

    def check(self, name: str, owner: Owner) -> Transaction:
        """The id, for its newest owner; an older one is fenced."""
        found = self._by_id.get(name)
        if found is None or found.owner != owner:
            raise fatal(KafkaError._FENCED, "Local: This instance has been fenced by a newer one")
        return found

    def end(self, name: str, owner: Owner, *, commit: bool) -> None:
        """Decide; a repetition of what has been decided already is fine."""
        found = self.check(name, owner)
        if found.ending or found.committed is not None:
            if found.committed is not commit:
                raise fatal(KafkaError.INVALID_TXN_STATE, "Broker: it ended the other way")
            if found.ending:
                raise AgainError(CONCURRENT_US)
            return
        if found.began_us is None:
            raise fatal(KafkaError.INVALID_TXN_STATE, "Broker: nothing is open")
        self._end(found, commit=commit)

    def open_count(self) -> int:
        """How many transactions are open or being ended."""
        return sum(found.began_us is not None for found in self._by_id.values())

    def _end(self, found: Transaction, *, commit: bool, next_epoch: bool = False) -> None:
        owner = found.owner
        found.ending, found.committed = True, commit
        if commit:
            records = [record for log in found.logs for record in log.open_records(owner)]
            self._on_commit(records, self._offsets.pending(owner))
        if next_epoch:
            found.epoch += 1
        last_us = self._hub.now_us
        for log in found.logs:
            at_us = self._hub.now_us + self._marker_us()
            last_us = max(last_us, at_us)
            self._hub.at(at_us, self._mark, log, owner, commit)
        if found.has_offsets:
            at_us = self._hub.now_us + self._marker_us()
            last_us = max(last_us, at_us)
            self._hub.at(at_us, self._decide, owner, commit)
        self._hub.at(last_us, self._complete, found)

    def _mark(self, log: Log, owner: Owner, commit: bool) -> None:  # noqa: FBT001  private
        log.mark(owner, commit=commit)

    def _decide(self, owner: Owner, commit: bool) -> None:  # noqa: FBT001  private
        self._offsets.decide(owner, commit=commit)

    def _complete(self, found: Transaction) -> None:
        found.ending = False
        found.began_us = None
        found.logs.clear()
        found.has_offsets = False

    def _clean_up(self) -> None:
        """Abort what has been open for too long; its producer is fenced by the next epoch."""
        for found in self._by_id.values():
            began_us = found.began_us
            if (
                began_us is not None
                and not found.ending
                and self._hub.now_us - began_us > found.timeout_us
            ):
                self._end(found, commit=False, next_epoch=True)
        self._hub.after(self._cleanup_us, self._clean_up)
