"""The group coordinator: the classic protocol, with static members, and the group's offsets.

    empty ──join──► preparing ──all have joined──► completing ──leader's sync──► stable
                        ▲                                                          │
                        └──────────── join, leave, session over ───────────────────┘

A reply is a call with an error code (None: fine) and what belongs to it. What is simplified: a
dynamic member gets its id with its first join (KIP-394 makes it come twice).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from confluent_kafka import KafkaError

from tests.simulation.hub import MS, SECOND, Hub, Timer
from tests.simulation.kafka.assignor import Claim, assign
from tests.simulation.kafka.errors import AgainError, abortable, plain
from tests.simulation.kafka.log import Owner
from tests.simulation.kafka.transactions import Offsets

REBALANCE_US = 300 * SECOND
"""`max.poll.interval.ms`: how long a rebalance waits for members that do not join again."""

UNSTABLE_US = 50 * MS


class State(Enum):
    """Of the group."""

    EMPTY = auto()
    PREPARING = auto()
    COMPLETING = auto()
    STABLE = auto()


class JoinReply(NamedTuple):
    """An answer to a join: an error code, or who we are in which generation."""

    error: int | None
    member_id: str = ""
    generation: int = -1


SyncReply = tuple[int | None, frozenset[int]]
"""An answer to a sync: an error code, or our share."""


@dataclass(slots=True, eq=False)
class Member:
    """A member as the coordinator sees it."""

    member_id: str
    instance: str | None
    session_us: int
    claim: Claim
    joining: Callable[[JoinReply], None] | None = None
    syncing: Callable[[SyncReply], None] | None = None
    share: frozenset[int] = frozenset()
    expiry: Timer | None = None


@dataclass(slots=True)
class Committed:
    """A partition's offset: what holds, and what open transactions would make of it."""

    offset: int = -1
    metadata: str = ""
    pending: dict[Owner, tuple[int, str]] = field(default_factory=dict)


class Group:
    """One group that consumes one topic."""

    def __init__(self, hub: Hub, partitions: int, *, first_delay_us: int) -> None:
        self._hub = hub
        self._partitions = partitions
        self._first_delay_us = first_delay_us
        self._members: dict[str, Member] = {}
        self._by_instance: dict[str, str] = {}
        self._fenced: set[str] = set()
        self._count = 0
        self._leader = ""
        self._limit: Timer | None = None
        self.state = State.EMPTY
        self.generation = 0
        self.offsets = {partition: Committed() for partition in range(partitions)}
        self.metadata_max = 4_096
        self.on_committed: Callable[[int, int, str], None] = lambda _p, _o, _m: None

    # --- membership -----------------------------------------------------------------------------

    def join(
        self,
        member_id: str,
        instance: str | None,
        session_us: int,
        claim: Claim,
        reply: Callable[[JoinReply], None],
    ) -> None:
        """JoinGroup: the reply comes when the round is complete."""
        if member_id:
            error = self._refusal(member_id, instance)
            if error is not None:
                reply(JoinReply(error))
                return
            self._rejoin(self._members[member_id], claim, reply)
            return
        self._count += 1
        new = Member(f"{instance or 'member'}-{self._count}", instance, session_us, claim, reply)
        old_id = self._by_instance.get(instance) if instance is not None else None
        if old_id is not None:
            self._replace(old_id, new)
            return
        self._members[new.member_id] = new
        if instance is not None:
            self._by_instance[instance] = new.member_id
        self._prepare()

    def sync(
        self,
        member_id: str,
        instance: str | None,
        generation: int,
        reply: Callable[[SyncReply], None],
    ) -> None:
        """SyncGroup: the reply comes when the leader has said who gets what."""
        error = self._refusal(member_id, instance)
        if error is None and generation != self.generation:
            error = KafkaError.ILLEGAL_GENERATION
        if error is None and self.state is State.PREPARING:
            error = KafkaError.REBALANCE_IN_PROGRESS
        if error is not None:
            reply((error, frozenset()))
            return
        member = self._members[member_id]
        self._heard_of(member)
        if self.state is State.STABLE:
            reply((None, member.share))
            return
        member.syncing = reply
        if member_id == self._leader:
            self._become_stable()

    def heartbeat(self, member_id: str, instance: str | None, generation: int) -> int | None:
        """Heartbeat: an error code, or None."""
        error = self._refusal(member_id, instance)
        if error is not None:
            return error
        if generation != self.generation:
            return KafkaError.ILLEGAL_GENERATION
        self._heard_of(self._members[member_id])
        return KafkaError.REBALANCE_IN_PROGRESS if self.state is State.PREPARING else None

    def leave(self, member_id: str) -> None:
        """LeaveGroup."""
        if member_id in self._members:
            self._remove(self._members[member_id])

    def restarted(self) -> None:
        """The coordinator has loaded the group anew: all sessions begin again."""
        for member in self._members.values():
            self._heard_of(member)

    def described(self) -> tuple[str, dict[str, frozenset[int]]]:
        """The state's name, and each member's share, as an administrator sees them."""
        names = {
            State.EMPTY: "Empty",
            State.PREPARING: "PreparingRebalance",
            State.COMPLETING: "CompletingRebalance",
            State.STABLE: "Stable",
        }
        return names[self.state], {name: one.share for name, one in self._members.items()}

    # --- offsets --------------------------------------------------------------------------------

    def commit(
        self, owner: Owner, member_id: str, instance: str | None, generation: int, offsets: Offsets
    ) -> None:
        """TxnOffsetCommit: fenced by member and generation."""
        error = self._refusal(member_id, instance)
        if error is None and generation != self.generation:
            error = KafkaError.ILLEGAL_GENERATION
        if error is None and self.state is State.COMPLETING:
            error = KafkaError.REBALANCE_IN_PROGRESS
        if error is None and any(
            # The client adds a NUL.
            len(metadata) + 1 > self.metadata_max
            for _, metadata in offsets.values()
        ):
            error = KafkaError.OFFSET_METADATA_TOO_LARGE
        if error is not None:
            raise abortable(error, KafkaError(error).str())
        for partition, at in offsets.items():
            self.offsets[partition].pending[owner] = at

    def fetch(self, partitions: list[int]) -> Offsets:
        """OffsetFetch with require_stable: waits for open transactions."""
        if any(self.offsets[partition].pending for partition in partitions):
            raise AgainError(UNSTABLE_US)
        found = {partition: self.offsets[partition] for partition in partitions}
        return {partition: (at.offset, at.metadata) for partition, at in found.items()}

    def pending(self, owner: Owner) -> Offsets:
        """What a transaction will commit."""
        return {
            partition: at.pending[owner]
            for partition, at in self.offsets.items()
            if owner in at.pending
        }

    def decide(self, owner: Owner, *, commit: bool) -> None:
        """The marker of a transaction has come."""
        for partition, at in self.offsets.items():
            decided = at.pending.pop(owner, None)
            if decided is not None and commit:
                at.offset, at.metadata = decided
                self.on_committed(partition, at.offset, at.metadata)

    # --- inside ---------------------------------------------------------------------------------

    def _refusal(self, member_id: str, instance: str | None) -> int | None:
        if instance is not None:
            known = self._by_instance.get(instance)
            if known is not None and known != member_id:
                return KafkaError.FENCED_INSTANCE_ID
        if member_id not in self._members:
            return KafkaError.UNKNOWN_MEMBER_ID
        return None

    def _rejoin(self, member: Member, claim: Claim, reply: Callable[[JoinReply], None]) -> None:
        self._heard_of(member)
        changed = claim[1] != member.claim[1]
        member.claim = claim
        at_rest = self.state is State.STABLE and member.member_id != self._leader
        if not changed and (at_rest or self.state is State.COMPLETING):
            reply(JoinReply(None, member.member_id, self.generation))
            return
        member.joining = reply
        self._prepare()

    def _replace(self, old_id: str, new: Member) -> None:
        """A static member has come back under its name: its older self is fenced."""
        old = self._members.pop(old_id)
        self._stop_timer(old)
        if old.joining is not None:
            old.joining(JoinReply(KafkaError.FENCED_INSTANCE_ID))
        if old.syncing is not None:
            old.syncing((KafkaError.FENCED_INSTANCE_ID, frozenset()))
        assert new.instance is not None
        self._members[new.member_id] = new
        self._by_instance[new.instance] = new.member_id
        if self._leader == old_id:
            self._leader = new.member_id
        new.share = old.share
        self._heard_of(new)
        if self.state is State.STABLE and new.joining is not None:
            reply, new.joining = new.joining, None
            # The same protocol as before: no new round, and its old share.
            reply(JoinReply(None, new.member_id, self.generation))
            return
        self._prepare()

    def _prepare(self) -> None:
        if self.state is not State.PREPARING:
            was_empty = self.state is State.EMPTY
            for member in self._members.values():
                if member.syncing is not None:
                    reply, member.syncing = member.syncing, None
                    reply((KafkaError.REBALANCE_IN_PROGRESS, frozenset()))
            self.state = State.PREPARING
            limit_us = self._first_delay_us if was_empty else REBALANCE_US
            self._limit = self._hub.after(limit_us, self._complete)
            if was_empty:
                return
        self._complete_if_all_joined()

    def _complete_if_all_joined(self) -> None:
        waits_for_first = self.generation == 0 or not self._leader
        if (
            self.state is State.PREPARING
            and not waits_for_first
            and all(member.joining is not None for member in self._members.values())
        ):
            self._complete()

    def _complete(self) -> None:
        """Everybody has joined, or the time to do so is over."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        for member in list(self._members.values()):
            if member.joining is None and member.instance is None:
                self._forget(member)
        self.generation += 1
        if not self._members:
            self.state, self._leader = State.EMPTY, ""
            return
        joined = [name for name, member in self._members.items() if member.joining is not None]
        if self._leader not in joined:
            self._leader = joined[0] if joined else next(iter(self._members))
        self.state = State.COMPLETING
        for member in list(self._members.values()):
            if member.joining is not None:
                reply, member.joining = member.joining, None
                self._heard_of(member)
                reply(JoinReply(None, member.member_id, self.generation))

    def _become_stable(self) -> None:
        self.state = State.STABLE
        claims = {name: self._members[name].claim for name in sorted(self._members)}
        for name, share in assign(self._partitions, claims).items():
            self._members[name].share = share
        for member in list(self._members.values()):
            if member.syncing is not None:
                reply, member.syncing = member.syncing, None
                reply((None, member.share))

    def _heard_of(self, member: Member) -> None:
        self._stop_timer(member)
        member.expiry = self._hub.after(member.session_us, self._expire, member)

    def _expire(self, member: Member) -> None:
        if member.joining is not None:  # it waits for us, not we for it
            self._heard_of(member)
        elif self._members.get(member.member_id) is member:
            self._remove(member)

    def _remove(self, member: Member) -> None:
        self._forget(member)
        if not self._members:
            if self._limit is not None:
                self._limit.cancel()
            self.state, self._leader = State.EMPTY, ""
            self.generation += 1
            return
        if self.state is State.PREPARING:
            self._complete_if_all_joined()
        else:
            self._prepare()

    def _forget(self, member: Member) -> None:
        self._stop_timer(member)
        del self._members[member.member_id]
        if (
            member.instance is not None
            and self._by_instance.get(member.instance) == member.member_id
        ):
            del self._by_instance[member.instance]

    def _stop_timer(self, member: Member) -> None:
        if member.expiry is not None:
            member.expiry.cancel()
            member.expiry = None


def unknown_group(error: int) -> Exception:
    """What a request about a group that is not this one gets."""
    return plain(error, KafkaError(error).str())
