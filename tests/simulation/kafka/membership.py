"""What a consumer does in the background to be a member of its group.

Joining, syncing, heartbeats; what the application has to hear of is put into `events` and
served by its `poll`. As librdkafka does it: a group that rebalances is joined again at once,
with everything still owned; only a share that has become smaller asks the application to give
something back, and then follows a second round.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from confluent_kafka import KafkaError

from tests.simulation.hub import MS, Process, Timer
from tests.simulation.kafka.broker import Broker
from tests.simulation.kafka.calls import AWAY_US, Request
from tests.simulation.kafka.group import JoinReply, SyncReply

BACK_OFF_US = 100 * MS


class Kind(Enum):
    """What the application is told."""

    ASSIGN = auto()
    REVOKE = auto()
    LOST = auto()


class Event(NamedTuple):
    """A change of the assignment, to be served in the application's thread."""

    kind: Kind
    partitions: frozenset[int]


class Membership:
    """One consumer's place in the group; owns its member id and its share."""

    def __init__(
        self,
        process: Process,
        broker: Broker,
        *,
        instance: str | None,
        session_us: int,
        heartbeat_us: int,
        on_event: Callable[[], None],
        on_fatal: Callable[[KafkaError], None],
    ) -> None:
        self._process = process
        self._broker = broker
        self._session_us = session_us
        self._heartbeat_us = heartbeat_us
        self._on_event = on_event
        self._on_fatal = on_fatal
        self.instance = instance
        self.member_id = ""
        self.generation = -1
        self.share: frozenset[int] = frozenset()
        self.events: deque[Event] = deque()
        self._subscribed = False
        self._joining = False
        self._rejoin = False
        self._dead = False
        self._heard_us = 0
        self._round = 0
        self._beat: Timer | None = None

    def subscribe(self) -> None:
        """Join, and stay."""
        self._subscribed = True
        self._join()

    def unsubscribe(self) -> None:
        """Give everything back, then leave."""
        self._subscribed = False
        self._round += 1
        self._joining = False
        if self._beat is not None:
            self._beat.cancel()
        self.events.clear()
        if self.share:
            self._tell(Event(Kind.REVOKE, self.share))
        else:
            self._leave()

    def close(self) -> None:
        """Go away without a word: a static member does."""
        self._dead = True
        self._round += 1
        if self._beat is not None:
            self._beat.cancel()
        if self.instance is None and self.member_id:
            self._leave()

    def served(self, event: Event) -> None:
        """The application has dealt with this event."""
        if event.kind is Kind.ASSIGN:
            self._after_event()
            return
        self.share -= event.partitions
        if not self._subscribed:
            self._leave()
            return
        if event.kind is Kind.LOST:
            self._join()
            return
        self._rejoin = True
        self._after_event()

    def _after_event(self) -> None:
        if not self.events and self._rejoin and self._subscribed:
            self._join()

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self._on_event()

    # --- rounds ---------------------------------------------------------------------------------

    def _join(self) -> None:
        if self._dead or self._joining or not self._subscribed:
            return
        self._joining, self._rejoin = True, False
        self._round += 1
        round_ = self._round
        group, instance = self._broker.group, self.instance
        member_id, claim = self.member_id, (self.generation, self.share)

        def answer(reply: JoinReply) -> None:
            latency_us = self._broker.latency_us("group")
            self._process.after(latency_us, self._joined, round_, reply)

        def arrive() -> None:
            group.join(member_id, instance, self._session_us, claim, answer)

        self._send(round_, arrive)

    def _joined(self, round_: int, reply: JoinReply) -> None:
        if round_ != self._round or self._dead:
            return
        if reply.error is not None:
            self._joining = False
            if reply.error == KafkaError.UNKNOWN_MEMBER_ID:
                # As librdkafka 2.16 does: here alone it is not told as a loss, the share is kept.
                self.member_id = ""
                self._join()
            else:
                self._failed(reply.error)
            return
        self.member_id, self.generation = reply.member_id, reply.generation
        self._heard_us = self._process.hub.now_us
        self._plan_heartbeat()
        group = self._broker.group

        def answer(reply: SyncReply) -> None:
            self._process.after(self._broker.latency_us("group"), self._synced, round_, reply)

        def arrive() -> None:
            group.sync(reply.member_id, self.instance, reply.generation, answer)

        self._send(round_, arrive)

    def _synced(self, round_: int, reply: SyncReply) -> None:
        if round_ != self._round or self._dead:
            return
        self._joining = False
        error, share = reply
        if error is not None:
            self._failed(error)
            return
        self._heard_us = self._process.hub.now_us
        revoked, added = self.share - share, share - self.share
        if revoked:
            self._tell(Event(Kind.REVOKE, revoked))
        self.share |= added
        if added or not revoked:
            self._tell(Event(Kind.ASSIGN, added))

    def _send(self, round_: int, arrive: Callable[[], None]) -> None:
        """Send what is answered later; while the broker is away, again and again."""

        def reach() -> None:
            if round_ != self._round:
                return
            if self._broker.weather.away:
                self._process.after(AWAY_US, reach)
            else:
                arrive()

        self._broker.hub.after(self._broker.latency_us("group"), reach)

    def _failed(self, error: int) -> None:
        """A round, or a heartbeat, did not work."""
        if error == KafkaError.FENCED_INSTANCE_ID:
            self._dead = True
            if self._beat is not None:
                self._beat.cancel()
            text = KafkaError(error).str()
            self._on_fatal(KafkaError(KafkaError._FATAL, f"Fatal consumer error: {text}"))
            return
        if error == KafkaError.REBALANCE_IN_PROGRESS:
            if not self.events:
                self._join()
            else:
                self._rejoin = True
            return
        if error in {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION}:
            self._lose(forget=error == KafkaError.UNKNOWN_MEMBER_ID)
            return
        self._process.after(BACK_OFF_US, self._join)

    def _lose(self, *, forget: bool) -> None:
        """Our share is somebody else's by now, for all we know."""
        if forget:
            self.member_id = ""
        self.generation = -1
        self._round += 1
        self._joining = False
        self.events.clear()
        if self.share:
            self._tell(Event(Kind.LOST, self.share))
        else:
            self._join()

    def _leave(self) -> None:
        member_id, self.member_id, self.generation = self.member_id, "", -1
        self.share = frozenset()
        if member_id:
            Request(
                self._process,
                self._broker,
                "group",
                lambda: self._broker.group.leave(member_id),
                lambda: None,
            )

    # --- heartbeats -----------------------------------------------------------------------------

    def _plan_heartbeat(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        self._beat = self._process.after(self._heartbeat_us, self._heartbeat)

    def _heartbeat(self) -> None:
        if self._dead or not self._subscribed or not self.member_id:
            return
        self._plan_heartbeat()
        # Only in between rounds does librdkafka look how old its session is.
        steady = not (self._joining or self._rejoin or self.events)
        if steady and self._process.hub.now_us - self._heard_us > self._session_us:
            self._lose(forget=True)
            return
        if not self._joining:
            hub, latency_us = self._broker.hub, self._broker.latency_us("group")
            hub.after(latency_us, self._reach_heartbeat, self._round)

    def _reach_heartbeat(self, round_: int) -> None:
        if self._broker.weather.away or not self.member_id:
            return
        error = self._broker.group.heartbeat(self.member_id, self.instance, self.generation)
        self._process.after(self._broker.latency_us("group"), self._beaten, round_, error)

    def _beaten(self, round_: int, error: int | None) -> None:
        if round_ != self._round or self._dead or self._broker.weather.away:
            return
        if error is None or error == KafkaError.REBALANCE_IN_PROGRESS:
            self._heard_us = self._process.hub.now_us
        if error is not None and not self._joining:
            self._failed(error)
