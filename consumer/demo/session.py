"""The measured part of a demo: from the consumer's first assignment to its stop.

    ready ─► load ─► drain ─► linger ─► stop

Times are read from the simulated API's clock alone, so that what was produced, consumed, asked
and seen lies on one axis. Whatever breaks a session (the consumer ends, a client fails) becomes
its outcome, and everything else is given up then. `interrupt` ends the load early; without a load
it ends the session. `press` injects faults while there is a load; they end with it, so that all
gifts can be answered, and the report names them.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from consumer.adapters.avro import decode_result, encode_sent
from consumer.core.model import GiftResult, Status
from consumer.demo.cluster import Cluster
from consumer.demo.configuration import APP_ID, SETTLE_MS
from consumer.demo.faults import (
    FLOOD_FACTOR,
    FLOOD_KEY,
    FLOOD_NAME,
    KEYS_HINT,
    Flood,
    Switch,
    Switchboard,
    api_switches,
)
from consumer.demo.figures import Observer
from consumer.demo.load import Load, planned_gifts
from consumer.demo.options import DemoOptions
from consumer.demo.process import ConsumerProcess
from consumer.demo.producer import GiftProducer
from consumer.demo.reader import ResultReader, VisibleResult
from consumer.demo.screen import Screen
from consumer.demo.summary import Ledger, Run, Summary, sum_up
from consumer.errors import GiftcheckError
from consumer.simulator import Gift, Simulator, false_verdict

DRAIN_GRACE_MS: Final = 10_000
"""What has no result by timeout + settle + this is missing."""

RECOVERY_MS: Final = 90_000
"""After injected faults so much more: the consumer tries what has to be mended every 75 s."""

LINGER_MS: Final = 1_000
"""So long after the last result a second one for the same gift would show."""


class DemoFailed(GiftcheckError):
    """A client of the demo itself failed: the run shows nothing."""

    exit_code = 1


class Session:
    """One run against a consumer that has been started; `run` it once.

    Made within a running event loop.
    """

    def __init__(
        self,
        options: DemoOptions,
        cluster: Cluster,
        simulator: Simulator,
        consumer: ConsumerProcess,
        screen: Screen,
        *,
        keys: bool = False,
    ) -> None:
        self._options = options
        self._cluster = cluster
        self._simulator = simulator
        self._consumer = consumer
        self._screen = screen
        self._keys = keys
        self._load_ms = options.load_ms(watched=screen.watched)
        self._ledger = Ledger(timeout_ms=options.timeout_ms, settle_ms=SETTLE_MS, judge=self._judge)
        self._outcome: asyncio.Future[Summary] = asyncio.get_running_loop().create_future()
        self._sending: asyncio.Task[None] | None = None
        self._nothing_missing = asyncio.Event()
        self._switchboard = Switchboard((), simulator.clock_us)

    def press(self, key: str) -> None:
        """A key was pressed; while gifts are sent some of them make trouble, or take it back."""
        if self._sending is not None and not self._sending.done():
            self._switchboard.press(key)

    def interrupt(self) -> None:
        """End the load; when there is none (any more), end everything."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
        else:
            self._outcome.cancel()

    async def run(self) -> Summary:
        """Wait for the consumer, load it, await the results, stop it, and sum up.

        Raises:
            GiftcheckError: the session broke.
            asyncio.CancelledError: it was interrupted while there was no load.
        """
        steps = (self._measure(), self._consumer.watch(), self._screen.show())
        tasks = [asyncio.create_task(step) for step in steps]
        for task in tasks:
            task.add_done_callback(self._note_error)
        try:
            return await self._outcome
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _measure(self) -> None:
        self._screen.enter("the consumer starts")
        await self._consumer.ready()
        cluster, now_us = self._cluster, self._simulator.clock_us
        properties = cluster.client_properties
        producer = GiftProducer(
            cluster.topics.gift_sent,
            properties,
            encode=encode_sent,
            on_error=lambda reason: self._break(DemoFailed(f"gift-sent: {reason}")),
        )
        reader = ResultReader(
            cluster.topics.gift_result,
            {**properties, **cluster.consumer_properties},
            decode=decode_result,
            clock_us=now_us,
            on_results=self._take,
            on_error=lambda error: self._break(DemoFailed(f"gift-result: {error}")),
        )
        load = self._load(producer, rate=self._options.rate, seed=self._options.seed)
        self._switchboard = self._switches(producer)
        if self._keys:
            self._screen.show_faults(self._switchboard)
        with reader, producer:
            started_us = now_us()
            observer = Observer(self._ledger, self._simulator.arrivals, started_us)
            self._screen.watch(observer, self._consumer.backlog)
            await self._send(load)
            loaded_ms = (now_us() - started_us) // 1_000
            await asyncio.to_thread(producer.flush)
            await self._drain()
            exit_code = await self._consumer.stop()
        run = self._run(load, loaded_ms, exit_code)
        self._outcome.set_result(sum_up(self._ledger, run, self._switchboard.history()))

    def _load(self, producer: GiftProducer, *, rate: float, seed: int, name: str = "gift") -> Load:
        rooms = self._options.rooms
        return Load(
            planned_gifts(app_id=APP_ID, rate=rate, rooms=rooms, seed=seed, name=name),
            truth=self._simulator.truth,
            produce=producer.produce,
            clock_us=self._simulator.clock_us,
            on_produced=self._ledger.produced,
        )

    def _switches(self, producer: GiftProducer) -> Switchboard:
        def make_load(number: int) -> Load:
            rate, seed = self._options.rate * (FLOOD_FACTOR - 1), self._options.seed + number
            return self._load(producer, rate=rate, seed=seed, name=f"flood-{number}")

        def on_end(error: BaseException | None) -> None:
            self._switchboard.off(FLOOD_KEY)
            if error is not None:
                self._break(error)

        flood = Flood(make_load, on_end)
        switch = Switch(FLOOD_NAME, flood.begin, flood.end)
        switches = (*api_switches(self._simulator.faults), (FLOOD_KEY, switch))
        return Switchboard(switches, self._simulator.clock_us)

    async def _send(self, load: Load) -> None:
        """Send gifts until the time is over or somebody interrupts; faults end with them."""
        hint = f"{KEYS_HINT if self._keys else ''}Ctrl-C: no more gifts"
        self._screen.enter("gifts are sent", self._load_ms, hint=hint)
        self._sending = asyncio.create_task(load.run(self._load_ms))
        try:
            await asyncio.wait((self._sending,))
        finally:
            self._sending.cancel()
            self._switchboard.all_off()
        if not self._sending.cancelled():
            self._sending.result()  # raises what ended it

    async def _drain(self) -> None:
        """Await every result, within bounds, and the duplicates that may follow."""
        drain_ms = self._options.timeout_ms + SETTLE_MS + DRAIN_GRACE_MS
        if self._switchboard.history():
            drain_ms += RECOVERY_MS
        self._screen.enter("results come in", drain_ms)
        if self._ledger.missing:
            self._nothing_missing.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(drain_ms / 1_000):
                    await self._nothing_missing.wait()
        self._screen.enter("nothing twice?", LINGER_MS)
        await asyncio.sleep(LINGER_MS / 1_000)

    def _run(self, load: Load, loaded_ms: int, exit_code: int) -> Run:
        options, arrivals = self._options, self._simulator.arrivals
        return Run(
            broker=self._cluster.name,
            seed=options.seed,
            rate=options.rate,
            rooms=options.rooms,
            timeout_ms=options.timeout_ms,
            latency_ms=options.latency_ms,
            duration_ms=loaded_ms,
            load_late_ms_max=load.late_us_max // 1_000,
            requests=arrivals.count,
            room_requests_per_second_max=arrivals.room_requests_per_second_max(),
            consumer_exit_code=exit_code,
        )

    def _take(self, results: Sequence[VisibleResult]) -> None:
        try:
            for result, visible_us in results:
                self._ledger.visible(result, visible_us)
        except Exception as error:  # noqa: BLE001 - raised here, the loop would only log it
            self._break(error)
        if not self._ledger.missing:
            self._nothing_missing.set()

    def _judge(self, gift: Gift, result: GiftResult) -> str | None:
        if result.status is Status.UNVERIFIED and self._switchboard.history():
            return None  # what else, where the API could not be asked
        return false_verdict(
            self._simulator.truth,
            self._simulator.arrivals,
            gift,
            status=result.status.value,
            result_code=result.result_code,
            request_id=result.request_id,
        )

    def _break(self, error: BaseException) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)

    def _note_error(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)
