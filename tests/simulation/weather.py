"""Troubles as they come and go: each kind of `bad_luck.Trouble`, and what it does to the world."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from consumer.simulator import Fault, Kind
from tests.simulation.bad_luck import Trouble
from tests.simulation.hub import MS, SECOND

if TYPE_CHECKING:
    from tests.simulation.world import World

Undo = Callable[[], None]


class Weather:
    """Begins and ends troubles; where two of a kind overlap, the last end ends both."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._hub = world.hub
        self._broker = world.broker.weather
        self._faults = world.api.simulator.faults
        self._begin: dict[str, Callable[[Trouble], Undo | None]] = {
            "kill": self._kill,
            "kill in transaction": self._kill_in_transaction,
            "term": self._term,
            "freeze": self._freeze,
            "leave": self._leave,
            "late loop": self._late_loop,
            "clock step": self._clock_step,
            "broker away": self._broker_away,
            "group slow": self._slow("group"),
            "transactions slow": self._slow("transactions"),
            "data slow": self._slow("data"),
            "answers lost": self._share("answer_lost", 0.3),
            "moved": self._share("moved", 0.5),
            "unknown": self._share("unknown", 0.8),
            "out of order": self._share("out_of_order", 0.4),
            "queue full": self._share("queue_full", 0.3),
            "api outage": self._outage,
            "api garbled": self._garbled,
            "api write": self._write,
            "api date": self._date,
            "api credentials": self._credentials,
            "api clock": self._api_clock,
        }

    def plan(self, troubles: tuple[Trouble, ...]) -> None:
        """Let these come when it is their time."""
        for trouble in troubles:
            self._hub.at(trouble.at_us, self._start, trouble)
            begin_ms = trouble.at_us // MS
            end_ms = begin_ms + trouble.length_us // MS
            self._world.history.troubles.append((trouble.kind, begin_ms, end_ms))

    def _start(self, trouble: Trouble) -> None:
        self._world.trace("trouble", f"{trouble.kind} for {trouble.length_us / SECOND} s")
        begin = self._begin.get(trouble.kind, self._api_fault)
        undo = begin(trouble)
        if undo is not None:
            self._hub.after(trouble.length_us, self._stop, trouble, undo)

    def _stop(self, trouble: Trouble, undo: Undo) -> None:
        self._world.trace("trouble", f"{trouble.kind} is over")
        undo()

    # --- pods -----------------------------------------------------------------------------------

    def _name(self, trouble: Trouble) -> str:
        return f"pod-{trouble.who % len(self._world.pods)}"

    def _kill(self, trouble: Trouble) -> None:
        self._world.kill(self._name(trouble), max(300 * MS, trouble.length_us))

    def _kill_in_transaction(self, trouble: Trouble) -> None:
        """Kill it some turns of its requests later, in the middle of a transaction if there is one."""
        world, name = self._world, self._name(trouble)
        tries = 40

        def look(left: int) -> None:
            pod = world.pods[name]
            if pod is not None and pod.alive and pod.in_transaction and not pod.process.stopped:
                delay_us = world.random.randint(0, 2 * world.plan.latency_us[1])
                self._hub.after(delay_us, self._kill, trouble)
            elif left:
                self._hub.after(world.random.randint(1, 20) * MS, look, left - 1)

        look(tries)

    def _term(self, trouble: Trouble) -> None:
        pod = self._world.pods[self._name(trouble)]
        if pod is not None:
            self._world.trace(pod.name, "is told to stop")
            pod.stop()

    def _leave(self, trouble: Trouble) -> Undo | None:
        """Scaled down, and up again later."""
        name = self._name(trouble)
        if len(self._world.pods) == 1 or name in self._world.away:
            return None
        self._world.away.add(name)
        self._term(trouble)

        def come_back() -> None:
            self._world.away.discard(name)
            self._world.start(name)

        return come_back

    def _freeze(self, trouble: Trouble) -> Undo | None:
        """SIGSTOP, and SIGCONT later; nobody is started in its place."""
        pod = self._world.pods[self._name(trouble)]
        if pod is None or pod.process.stopped:
            return None
        pod.process.stop()
        return pod.process.go_on

    def _late_loop(self, trouble: Trouble) -> Undo | None:
        pod = self._world.pods[self._name(trouble)]
        if pod is None:
            return None
        # A loop that gets no processor: for some milliseconds as a rule, for seconds at worst.
        pod.loop.late_us = int(trouble.value**3 * 5_000) * MS

        def undo() -> None:
            pod.loop.late_us = 0

        return undo

    def _clock_step(self, trouble: Trouble) -> Undo | None:
        """Somebody sets the wall clock, and sets it back.

        Before its first partition a pod has read no clock: setting it then would be no step, but a
        wrong clock from the start, and setting it right the step.
        """
        pod = self._world.pods[self._name(trouble)]
        if pod is None or not pod.core.status(pod.clock.now_ms()).partitions:
            return None
        # One that leads by more than the world takes to settle would rightly keep gifts pending for
        # as long, where answers have no `Date`.
        choices = (-3_600, -30, 5, 30, 60)
        step_us = choices[int(trouble.value * len(choices))] * SECOND
        pod.clock.skew_us += step_us

        def undo() -> None:
            pod.clock.skew_us -= step_us

        return undo

    # --- Kafka ----------------------------------------------------------------------------------

    def _broker_away(self, trouble: Trouble) -> Undo:
        self._world.broker.go_away()
        return self._world.broker.come_back

    def _slow(self, part: str) -> Callable[[Trouble], Undo]:
        def begin(trouble: Trouble) -> Undo:
            self._broker.slow_us[part] = int(trouble.value**3 * 4_000) * MS

            def undo() -> None:
                self._broker.slow_us.pop(part, None)

            return undo

        return begin

    def _share(self, name: str, most: float) -> Callable[[Trouble], Undo]:
        def begin(trouble: Trouble) -> Undo:
            setattr(self._broker, name, trouble.value * most)
            return lambda: setattr(self._broker, name, 0.0)

        return begin

    # --- the API --------------------------------------------------------------------------------

    def _api_fault(self, trouble: Trouble) -> Undo:
        fault = self._fault(trouble)
        self._faults.add(fault)
        return lambda: self._faults.remove(fault)

    def _outage(self, trouble: Trouble) -> Undo:
        """Connections are reset now and then, or none can be made at all."""
        weather, over = self._world.api.weather, self._api_fault(trouble)
        weather.refuses = trouble.value > 0.4

        def undo() -> None:
            weather.refuses = False
            over()

        return undo

    def _fault(self, trouble: Trouble) -> Fault:
        """A fault of the simulator's own kind; a value decides whom it strikes, and how often."""
        room = None if trouble.value < 0.4 else f"r{trouble.who % self._world.plan.rooms}"
        share = 1.0 if trouble.value < 0.7 else 0.3
        wait_ms = self._world.plan.rules.request_timeout_ms
        # Later than anybody waits for, and within what the promise assumes.
        late_ms = min(wait_ms + 800, 1_900)
        gifts = self._world.gifts
        msg_id = gifts[-1].msg_id if gifts else "m1"
        fields: dict[str, dict[str, Any]] = {
            "api outage": {"kind": Kind.OUTAGE, "share": share},
            "api late": {"kind": Kind.LATENCY_IN, "share": share, "jitter_ms": late_ms},
            "api stall": {"kind": Kind.STALL},
            "api hang": {"kind": Kind.HANG, "share": share, "room_id": room},
            "api reset": {"kind": Kind.RESET, "share": share, "room_id": room},
            "api 503": {"kind": Kind.STATUS, "share": share, "room_id": room},
            "api 429": {"kind": Kind.STATUS, "status": 429, "retry_after": "1", "share": 0.5},
            "api busy": {"kind": Kind.CODE, "code": 1, "share": share, "room_id": room},
            "api limited": {"kind": Kind.CODE, "code": 7, "share": share, "room_id": room},
            "api bad": {"kind": Kind.CODE, "code": 2, "mini_game_id": "g0"},
            "api poison": {"kind": Kind.CODE, "code": 2, "msg_id": msg_id},
            "api size": {"kind": Kind.CODE, "code": 7_200_004, "ids_above": 1 + trouble.who},
            "api game": {"kind": Kind.CODE, "code": 7_202_001, "mini_game_id": "g0"},
            "api slow answers": {
                "kind": Kind.LATENCY_OUT,
                "share": share,
                "jitter_ms": wait_ms + 500,
            },
        }
        return Fault(**fields[trouble.kind])

    def _garbled(self, trouble: Trouble) -> Undo:
        self._world.api.weather.garbled = 1.0 if trouble.value > 0.5 else trouble.value

        def undo() -> None:
            self._world.api.weather.garbled = 0.0

        return undo

    def _write(self, trouble: Trouble) -> Undo:
        """What is decided is written late: the lease may be over by then."""
        self._world.api.weather.write_us = int(trouble.value * 4_000) * MS

        def undo() -> None:
            self._world.api.weather.write_us = 0

        return undo

    def _date(self, trouble: Trouble) -> Undo:
        """The vendor's clock is wrong, a little or by minutes: `Date` and signatures judge by it."""
        simulator = self._world.api.simulator
        simulator.clock_offset_ms = -int(trouble.value * 100_000)

        def undo() -> None:
            simulator.clock_offset_ms = 0

        return undo

    def _api_clock(self, trouble: Trouble) -> Undo:
        """The vendor's clock is off by more than it tolerates of a signature."""
        simulator = self._world.api.simulator
        simulator.clock_offset_ms = -1_000_000 - int(trouble.value * 10_000)

        def undo() -> None:
            simulator.clock_offset_ms = 0

        return undo

    def _credentials(self, trouble: Trouble) -> Undo:
        """The vendor knows another secret for a while."""
        apps = self._world.api.server_secrets
        before = dict(self._world.api.secrets)
        for app_id in before:
            apps[app_id] = "another"

        def undo() -> None:
            apps.update(before)

        return undo
