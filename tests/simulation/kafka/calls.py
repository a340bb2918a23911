"""One request of a client: its way to the broker and back.

It is applied in the instant in which it arrives, also if its sender is dead by then. An answer
that does not come is asked for again by the client's own threads; who called hears of it only
when its patience is over, as `_TIMED_OUT`, and may then go on waiting for the same request.
"""

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaException

from tests.simulation.hub import MS, SECOND, Process
from tests.simulation.kafka.broker import Broker
from tests.simulation.kafka.errors import AgainError, retriable

AWAY_US: Final = 100 * MS
MOVED_US: Final = 500 * MS


class Request:
    """A request under way; `listener` is called in the process when its answer is there."""

    def __init__(
        self,
        process: Process,
        broker: Broker,
        part: str,
        apply: Callable[[], Any],
        listener: Callable[[], None],
    ) -> None:
        self._process = process
        self._broker = broker
        self._part = part
        self._apply = apply
        self._listener = listener
        self.done = False
        self.cancelled = False
        self.value: Any = None
        self.error: Exception | None = None
        broker.hub.after(broker.latency_us(part), self._arrive)

    def result(self) -> Any:
        """The answer, once it is there."""
        if self.error is not None:
            raise self.error
        return self.value

    def _send(self) -> None:
        """Send it (again), from the client's own threads."""
        self._broker.hub.after(self._broker.latency_us(self._part), self._arrive)

    def _arrive(self) -> None:
        broker = self._broker
        weather = broker.weather
        if self.cancelled:
            return
        if weather.away:
            self._process.after(AWAY_US, self._send)
            return
        if weather.moved and broker.random.random() < weather.moved:
            self._process.after(MOVED_US, self._send)
            return
        try:
            self.value = self._apply()
        except AgainError as again:
            self._process.after(again.delay_us, self._send)
            return
        except KafkaException as error:
            self.error = error
        if weather.answer_lost and broker.random.random() < weather.answer_lost:
            self.error = None
            self._process.after(AWAY_US, self._send)
            return
        self._process.after(broker.latency_us(self._part), self._answer)

    def _answer(self) -> None:
        if self._broker.weather.away:  # the answer was on its way when the connection broke
            self._process.after(AWAY_US, self._send)
            self.error = None
            return
        self.done = True
        self._listener()


class Calls:
    """A client's blocking calls; one of each name at a time."""

    def __init__(self, process: Process, broker: Broker) -> None:
        self.process = process
        self.broker = broker
        self._open: dict[str, Request] = {}

    def call(self, name: str, part: str, apply: Callable[[], Any], timeout_s: float) -> Any:
        """What the broker says; the same call again goes on with a request that is under way.

        Raises:
            KafkaException: what the broker says, or `_TIMED_OUT`.
        """
        request = self._open.get(name)
        if request is None:
            request = self._open[name] = Request(
                self.process, self.broker, part, apply, self.process.wake
            )
        hub = self.process.hub
        until_us = hub.now_us + round(timeout_s * SECOND)
        while not request.done:
            if hub.now_us >= until_us:
                raise retriable()
            self.process.block(until_us)
        del self._open[name]
        return request.result()

    def drop(self, name: str) -> None:
        """Wait for this request no longer, and send it no more."""
        request = self._open.pop(name, None)
        if request is not None:
            request.cancelled = True
