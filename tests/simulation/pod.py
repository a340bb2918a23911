"""One pod: the production core, runner and Kafka adapter in a simulated process."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from random import Random
from typing import Any, cast

from consumer.adapters.avro import AvroCodec
from consumer.adapters.kafka import Clients, KafkaConfig, KafkaThread
from consumer.core.learning import LearnedHazards
from consumer.core.model import Check, CheckRules, Cut
from consumer.core.scheduler import Scheduler
from consumer.errors import GiftcheckError
from consumer.runner import Runner
from tests.simulation.check_api import ApiHost, Sender
from tests.simulation.clocks import PodClock
from tests.simulation.hub import SECOND, Hub, Process
from tests.simulation.kafka.admin import SimulatedAdmin
from tests.simulation.kafka.broker import Broker
from tests.simulation.kafka.consumer import Idle, SimulatedConsumer
from tests.simulation.kafka.producer import SimulatedProducer
from tests.simulation.loop import VirtualLoop


class SimulatedEvent:
    """A `threading.Event` for one greenlet that waits."""

    def __init__(self, process: Process, idle: Idle) -> None:
        self._process = process
        self._idle = idle
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._idle.touch()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float) -> bool:
        if not self._is_set:
            self._process.block(self._process.hub.now_us + round(timeout * SECOND))
        return self._is_set


class NoMeter:
    """Observes nothing."""

    def check_ended(self, ids_count: int, duration_ms: int) -> None: ...

    def cut_committed(self, cut: Cut, duration_ms: int, wall_ms: int) -> None: ...


class Port:
    """What the runner tells the Kafka thread; wakes it where it sleeps."""

    def __init__(self, kafka: KafkaThread, idle: Idle) -> None:
        self._kafka = kafka
        self._idle = idle
        self.want_cut = kafka.want_cut
        self.taken = kafka.taken

    def pause(self, partition: int, epoch: int) -> None:
        self._kafka.pause(partition, epoch)
        self._idle.touch()

    def resume(self, partition: int, epoch: int) -> None:
        self._kafka.resume(partition, epoch)
        self._idle.touch()


Ended = Callable[["Pod", "GiftcheckError | None"], None]


class Pod:
    """A process from its start to its end; a restart is another Pod of the same name.

    Attributes:
        bug: what the core or the loop failed with; nothing may.
    """

    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        api: ApiHost,
        random: Random,
        *,
        config: KafkaConfig,
        rules: CheckRules,
        clock: PodClock,
        codec: AvroCodec,
        stale: float,
        trace: Callable[[str, str], None],
        on_written: Callable[[str, Check], None],
        on_end: Ended,
    ) -> None:
        self.name = config.instance
        self.process = Process(hub, self.name)
        self.loop = VirtualLoop(self.process)  # type: ignore[abstract]  # what is not used
        self.clock = clock
        self.bug: BaseException | None = None
        self._trace = trace
        self._on_end = on_end
        self.core = Scheduler(
            rules,
            instance=self.name,
            hazards=LearnedHazards(),
            jitter=random.random,
            began_ms=clock.now_ms(),
        )
        self.sender = Sender(
            self.process,
            self.loop,
            api,
            clock,
            request_timeout_ms=rules.request_timeout_ms,
            on_written=lambda check: on_written(self.name, check),
        )
        self.runner: Runner = self.loop.within(
            lambda: Runner(self.core, clock=clock, check_api=self.sender, meter=NoMeter())
        )
        self._idle = Idle(self.process)
        events: list[SimulatedEvent] = []

        def event() -> Any:
            events.append(SimulatedEvent(self.process, self._idle))
            return events[-1]

        self._producers: list[SimulatedProducer] = []

        def producer(properties: dict[str, Any], **_: object) -> Any:
            made = SimulatedProducer(
                self.process, broker, self._idle, properties, trace=self._on_transaction
            )
            self._producers.append(made)
            return made

        clients = Clients(
            consumer=lambda properties, logger: cast(  # noqa: ARG005  called by name
                "Any", SimulatedConsumer(self.process, broker, self._idle, properties, stale=stale)
            ),
            producer=producer,
            admin=lambda properties, logger: cast("Any", SimulatedAdmin(self.process, broker)),  # noqa: ARG005
            event=event,
            wait=self._wait,
        )
        self.kafka = KafkaThread(
            config, codec=codec, host=self.runner, clock=clock, clients=clients
        )
        for made in events:
            self._idle.busy.append(made.is_set)
        self.kafka.finished.add_done_callback(self._finished)
        self._task: asyncio.Task[None] = self.loop.within(
            lambda: self.loop.create_task(self.runner.run(Port(self.kafka, self._idle)))
        )
        self._task.add_done_callback(self._turned)
        self.process.start(self.kafka.run)

    @property
    def alive(self) -> bool:
        """Whether it runs, or could."""
        return self.process.alive

    @property
    def in_transaction(self) -> bool:
        """Whether its producer has begun a transaction and not ended it."""
        return any(producer.is_open for producer in self._producers)

    def stop(self) -> None:
        """SIGTERM."""
        self.process.after(0, self.kafka.stop)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process.alive:
            self.process.die()
            self.loop.end(self._task)

    def _wait(self, future: "Future[Any]", timeout_s: float) -> bool:
        if not future.done() and timeout_s > 0:
            hub = self.process.hub
            until_us = hub.now_us + round(timeout_s * SECOND)
            future.add_done_callback(lambda _future: self.process.wake())
            while not future.done() and hub.now_us < until_us:
                self.process.block(until_us)
        return future.done()

    def _on_transaction(self, what: str) -> None:
        self._trace(self.name, what)

    def _finished(self, finished: "Future[None]") -> None:
        error = finished.exception()
        assert error is None or isinstance(error, GiftcheckError)
        self.process.hub.after(0, self._end, error)

    def _end(self, error: GiftcheckError | None) -> None:
        if self.process.alive:
            self.kill()
            self._on_end(self, error)

    def _turned(self, task: "asyncio.Task[None]") -> None:
        if self.process.alive and not task.cancelled():
            self.bug = task.exception()
