"""A world from a plan: broker, API, pods, producers, troubles, and the judge who watches.

Faults end at `plan.faults_end_us`, all pods are back soon after; from `plan.quiet_us` on gifts
measure promptness, and in the end nothing may be left to do.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

from consumer.adapters.avro import AvroCodec, decode_result, encode_sent
from consumer.adapters.kafka import KafkaConfig
from consumer.core.metadata import decode_metadata
from consumer.core.model import Check, GiftSent
from consumer.errors import GiftcheckError, RestartNeeded
from consumer.simulator import Gift
from consumer.simulator.truth import Fate
from tests.simulation.check_api import ApiHost
from tests.simulation.checkers import (
    BATCH_MAX,
    FOREIGN_ROOM,
    ROOM_IN_FLIGHT_MAX,
    Judge,
    Violation,
)
from tests.simulation.clocks import PodClock
from tests.simulation.history import History, Sent
from tests.simulation.hub import MS, SECOND, START_US, BusyLoopError, Hub
from tests.simulation.kafka.broker import Broker, BrokerSettings
from tests.simulation.kafka.log import Log, Record
from tests.simulation.kafka.transactions import Offsets
from tests.simulation.load import Arrival
from tests.simulation.plan import Plan
from tests.simulation.pod import Pod
from tests.simulation.weather import Weather

APP_ID: Final = 7
SECRET: Final = "secret"
DAY_MS: Final = 86_400_000

ABORTING: Final = frozenset({"out of order", "group slow", "data slow", "broker away", "moved"})
ABORTS_MS: Final = 60_000
"""What may abort transactions again and again, and for how long before somebody gives up."""

SETTLE_US: Final = 150 * SECOND
"""How long after the last gift everything must be done."""


@lru_cache(maxsize=1)
def _codec() -> AvroCodec:
    return AvroCodec(frozenset({APP_ID}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    violations: tuple[Violation, ...]
    trace: str
    simulated_s: float
    results: int
    restarts: int
    latest_ms: int


class World:
    """Runs one plan; `line` gets every line of the trace, for people."""

    def __init__(self, plan: Plan, line: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.random = Random(f"world {plan.seed}")
        self._line = line
        self._digest = hashlib.blake2b(digest_size=16)
        self.hub = Hub(START_US)
        self.history = History()
        self.broker = Broker(
            self.hub, _broker_settings(plan), self.random, on_commit=self._on_commit
        )
        self.broker.group.metadata_max = plan.metadata_max
        self.broker.group.on_committed = self._on_committed
        self.api = ApiHost(
            self.hub,
            self.random,
            apps={APP_ID: SECRET},
            per_second_max=plan.rules.room_permits,
            lag_max_ms=plan.lag_max_ms,
            latency_us=plan.api_latency_us,
            dates=plan.dates,
        )
        self.judge = Judge(plan, self.history, self.api.truth, self.api.simulator.arrivals)
        self.pods: dict[str, Pod | None] = {f"pod-{n}": None for n in range(plan.pods)}
        self.away: set[str] = set()
        self.restarts = 0
        self._results = 0
        self.gifts: list[GiftSent] = []
        self._seen: dict[int, int] = {}
        self._numbers = 0

    # --- running --------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """From the first record until everything has settled, or something is wrong."""
        plan, hub = self.plan, self.hub
        for log in self.broker.topics[self.broker.settings.gift_result]:
            self._seen[log.partition] = 0
            log.listen(lambda log=log: self._on_log(log))  # type: ignore[misc]
        for name in self.pods:
            hub.at(START_US + self.random.randint(0, 2 * SECOND), self.start, name)
        for arrival in (*plan.arrivals, *plan.probes):
            hub.at(arrival.at_us, self._arrive, arrival)
        Weather(self).plan(plan.troubles)
        hub.at(plan.faults_end_us, self._all_back)
        last_us = plan.probes[-1].at_us
        end_us = last_us + SETTLE_US
        now_us = START_US
        while now_us < end_us and not self.judge.violations:
            now_us += SECOND
            self._live_until(now_us)
            if now_us > last_us and self._is_settled():
                break
        if not self.judge.violations:
            self._end()
        for pod in self.pods.values():
            if pod is not None:
                pod.kill()
        return Outcome(
            plan.seed,
            tuple(self.judge.violations),
            self._digest.hexdigest(),
            (now_us - START_US) / SECOND,
            self._results,
            self.restarts,
            self.judge.prompt.latest_ms,
        )

    def _live_until(self, now_us: int) -> None:
        try:
            self.hub.run_until(now_us)
        except BusyLoopError as error:
            self.judge.tell("P5 bounded", str(error))
        except Exception as error:
            # Of what was committed, or of the simulation itself.
            self.judge.tell("no bug", f"what happens cannot be judged: {error!r}")
            if self._line is not None:
                raise
        self._look()

    def trace(self, who: str, what: str) -> None:
        """Something happened."""
        text = f"{(self.hub.now_us - START_US) / SECOND:12.6f} {who:8} {what}"
        self._digest.update(text.encode())
        if self._line is not None:
            self._line(text)

    # --- pods -----------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start the pod of this name, unless it runs."""
        if self.pods[name] is not None or name in self.away:
            return
        self.trace(name, "starts")
        plan, random = self.plan, self.random
        clock = PodClock(
            self.hub,
            origin_us=random.randint(0, 10**12),
            drift=random.uniform(-0.002, 0.002),
            skew_us=random.randint(-plan.skew_max_us, plan.skew_max_us),
        )
        self.pods[name] = Pod(
            self.hub,
            self.broker,
            self.api,
            random,
            config=_kafka_config(plan, name),
            rules=plan.rules,
            clock=clock,
            codec=_codec(),
            stale=plan.stale,
            trace=self.trace,
            on_written=self._on_written,
            on_end=self._on_end,
        )

    def kill(self, name: str, back_us: int) -> None:
        """SIGKILL, and a start of the same name so much later."""
        pod = self.pods[name]
        if pod is not None:
            self.trace(name, "is killed")
            pod.kill()
            self.pods[name] = None
            self.restarts += 1
        self.hub.after(back_us, self.start, name)

    def _on_end(self, pod: Pod, error: GiftcheckError | None) -> None:
        """A pod has ended by itself; it is started again as a supervisor would."""
        self.trace(pod.name, f"ends: {error!r}")
        self.pods[pod.name] = None
        self.restarts += 1
        now_ms = self.hub.now_us // MS
        if isinstance(error, RestartNeeded) and "a fault in the Kafka thread" in str(error):
            self.judge.tell("no bug", str(error))
        elif error is not None and not isinstance(error, RestartNeeded):
            self.judge.tell("nobody is needed", f"{pod.name} ended: {error}")
        elif error is not None and "in a row were aborted" in str(error):
            if not self.history.had(ABORTING, now_ms - ABORTS_MS, now_ms):
                self.judge.tell("all is well", f"{pod.name} ended without need: {error}")
        elif error is not None and self.hub.now_us > self.plan.quiet_us:
            self.judge.tell("all is well", f"{pod.name} ended though all is well: {error}")
        self.hub.after(self.random.randint(300, 2_000) * MS, self.start, pod.name)

    def _all_back(self) -> None:
        """Faults are over: every pod runs again."""
        self.trace("world", "faults are over")
        self.away.clear()
        for name in self.pods:
            self.hub.after(self.random.randint(0, 3 * SECOND), self.start, name)

    # --- records --------------------------------------------------------------------------------

    def _arrive(self, arrival: Arrival) -> None:
        now_ms = self.hub.now_us // MS
        kind = arrival.kind
        self._numbers += 1
        if kind in {"garbage", "tombstone", "large", "invalid"}:
            self._write(kind, f"r{arrival.room}".encode(), self._refused(kind), None)
            return
        if kind == "repeat" and self.gifts:
            sent = self.random.choice(self.gifts)
            if self.random.random() < 0.3:  # the same MsgId with another Timestamp: the same gift
                sent = sent._replace(sent_at=min(now_ms, max(sent.sent_at + 1, now_ms - 5)))
        else:
            age_ms = {"old": 35 * DAY_MS, "ancient": 100 * DAY_MS}.get(kind, 0)
            room = f"{'x' if kind == 'foreign' else 'r'}{arrival.room}"
            game = f"g{arrival.room % self.plan.games}"
            sent_at = now_ms - age_ms - arrival.sent_before_ms
            sent = GiftSent(room, game, f"m{self._numbers}", sent_at, user_id="u", num=1)
            self.gifts.append(sent)
        gift = Gift(APP_ID, sent.room_id, sent.mini_game_id, sent.msg_id, sent.sent_at)
        consumed_ms = None if arrival.delay_ms is None else now_ms + arrival.delay_ms
        told_ms = min(now_ms, sent.sent_at)
        self.api.truth.send(gift, told_ms, fate=Fate(told_ms, consumed_ms, arrival.result_code))
        key = f"k{self._numbers % 5}" if kind == "foreign" else sent.room_id
        self._write(kind, key.encode(), encode_sent(sent), gift)

    def _refused(self, kind: str) -> bytes | None:
        match kind:
            case "tombstone":
                return None
            case "large":
                return bytes([self._numbers % 251]) * self.random.choice((70_000, 90_000, 200_000))
            case "invalid":
                return encode_sent(GiftSent("r0", "g0", "no good id", 1))
        return b"\x05garbage %d" % self._numbers

    def _write(self, kind: str, key: bytes, value: bytes | None, gift: Gift | None) -> None:
        """Append to gift-sent; now and then within a transaction that is over a little later."""
        log = self.broker.partition_of(self.broker.settings.gift_sent, key)
        now_ms = self.hub.now_us // MS
        if kind != "aborted" and self.random.random() < 0.95:
            record = log.append(now_ms, key, value)
        else:
            owner = (-self._numbers, 0)
            record = log.append(now_ms, key, value, (), owner)
            over_us = self.random.randint(1, 300) * MS
            self.hub.after(over_us, lambda: log.mark(owner, commit=kind != "aborted"))
        place = log.partition, record.offset
        self.trace("sender", f"writes {kind} {place} {'' if gift is None else gift.msg_id}")
        if kind != "aborted":
            self.history.record(Sent(place, kind, now_ms, gift, key, value))

    # --- what is seen ---------------------------------------------------------------------------

    def _on_written(self, name: str, check: Check) -> None:
        pod = self.pods[name]
        if pod is not None:
            log = self.broker.partition_of(self.broker.settings.gift_sent, check.room_id.encode())
            self.judge.lease.written(name, log.partition, check.room_id, pod.clock.wall_ms())
        self.history.asked(check, self.hub.now_us // MS)
        self.trace(check.room_id, f"is asked about: {' '.join(check.msg_ids)}")

    def _on_commit(self, records: list[Record], offsets: Offsets) -> None:
        settings = self.broker.settings
        results = [
            decode_result(record.value or b"")
            for record in records
            if record.topic == settings.gift_result
        ]
        letters = [record for record in records if record.topic == settings.dead_letters]
        self._results += len(results)
        for result in results:
            place = result.source_partition, result.source_offset
            self.trace("kafka", f"commits {result.status.value} {place} {result.sent.msg_id}")
        at = " ".join(f"{partition}:{offset}" for partition, (offset, _) in offsets.items())
        self.trace("kafka", f"commits offsets {at}, {len(letters)} letters")
        self._look_at_hand_over(offsets)
        self.judge.transaction(results, letters, offsets, self.hub.now_us // MS)

    def _look_at_hand_over(self, offsets: Offsets) -> None:
        """A cut says `drained` only where no check is under way: the successor relies on it."""
        for partition, (_, text) in offsets.items():
            written = decode_metadata(text)
            pod = self.pods.get(written.instance)
            if pod is None or not written.drained:
                continue
            for _, room in pod.sender.under_way():
                log = self.broker.partition_of(self.broker.settings.gift_sent, room.encode())
                if log.partition == partition and not room.startswith(FOREIGN_ROOM):
                    self.judge.tell(
                        "P2 honest hand-over",
                        f"{pod.name} hands partition {partition} over, asking about {room}",
                    )

    def _on_committed(self, partition: int, offset: int, _metadata: str) -> None:
        self.judge.progress.committed(partition, offset)

    def _on_log(self, log: Log) -> None:
        begin, end = self._seen[log.partition], log.stable_end
        self._seen[log.partition] = end
        for record in log.committed(begin, end):
            self.judge.visible(record, self.hub.now_us // MS)

    def _look(self) -> None:
        """Once a second: the bounds of everything that could grow (P5)."""
        rules = self.plan.rules
        for pod in self.pods.values():
            if pod is None:
                continue
            bugs = [bug for bug in (pod.bug, *pod.loop.failures) if bug is not None]
            if bugs:
                self.judge.tell("no bug", f"{pod.name}: {bugs[0]!r}")
            if pod.sender.of_room_max > ROOM_IN_FLIGHT_MAX:
                self.judge.tell("P5 bounded", f"{pod.sender.of_room_max} of a room in flight")
            status = pod.core.status(pod.clock.now_ms())
            if pod.sender.in_flight_max > rules.requests_in_flight_max:
                self.judge.tell("P5 bounded", f"{pod.sender.in_flight_max} requests in flight")
            if status.pending_gifts > rules.pending_gifts_max + BATCH_MAX:
                self.judge.tell("P5 bounded", f"{status.pending_gifts} gifts are pending")

    def _is_settled(self) -> bool:
        """Whether nothing is left to do, and everybody knows."""
        for pod in self.pods.values():
            if pod is None:
                return False
            status = pod.core.status(pod.clock.now_ms())
            if status.pending_gifts or pod.core.wants_cut() or status.requests_in_flight:
                return False
        return next(self.judge.progress.pending(), None) is None and not (
            self.broker.transactions.open_count()
        )

    def _end(self) -> None:
        """Everything must have settled."""
        owned: list[int] = []
        for name, pod in self.pods.items():
            if pod is None:
                self.judge.tell("P5 settles", f"{name} does not run")
                continue
            status = pod.core.status(pod.clock.now_ms())
            owned += [one.partition for one in status.partitions]
            paused = [one.partition for one in status.partitions if one.paused_for]
            if status.pending_gifts or status.windows or paused:
                text = f"{status.pending_gifts} gifts pending, partitions {paused} paused"
                self.judge.tell("P5 settles", f"{name}: {text}")
        if sorted(owned) != list(range(self.plan.partitions)):
            self.judge.tell("P5 settles", f"partitions owned: {sorted(owned)}")
        self.judge.end()


def _broker_settings(plan: Plan) -> BrokerSettings:
    return BrokerSettings(
        partitions=plan.partitions,
        latency_us=plan.latency_us,
        marker_us=plan.marker_us,
        cleanup_us=plan.cleanup_us,
        first_delay_us=plan.first_delay_us,
        message_bytes_max=plan.message_bytes_max,
    )


def _kafka_config(plan: Plan, name: str) -> KafkaConfig:
    return KafkaConfig(
        bootstrap_servers="simulated",
        group_id="g",
        instance=name,
        static_member=plan.static,
        outage_max_ms=plan.outage_max_ms,
        commit_interval_ms=plan.commit_interval_ms,
        session_timeout_ms=plan.session_ms,
        transaction_timeout_ms=plan.transaction_ms,
    )
