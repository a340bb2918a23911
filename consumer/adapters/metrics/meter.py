"""What is observed as it happens, and the registry of everything."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from consumer.adapters.metrics.kafka import KafkaFigures
from consumer.adapters.metrics.scrape import Scrape
from consumer.core.model import Cut, Status
from consumer.core.tally import CoreStatus


class Metrics:
    """A registry of its own, and what is observed while it happens.

    Args:
        check_timeout_ms: from a gift's start to its deadline.
        check_settle_ms: from there until its absence can be proven.
        version: the application's.
    """

    def __init__(self, *, check_timeout_ms: int, check_settle_ms: int, version: str) -> None:
        self._check_timeout_ms = check_timeout_ms
        self._check_settle_ms = check_settle_ms
        self._registry = CollectorRegistry()
        self._registry.register(_Build(version))
        ProcessCollector(namespace="giftcheck", registry=self._registry)
        self._transaction_seconds = Histogram(
            "giftcheck_transaction_duration_seconds",
            "From making a cut to knowing it committed, queues included; aborted ones are counted.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
            registry=self._registry,
        )
        self._result_seconds = Histogram(
            "giftcheck_result_delay_seconds",
            "From a gift's start (sent, or its record written) to its verdict, by status.",
            labelnames=["status"],
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600, 3_600),
            registry=self._registry,
        )
        self._result_seconds_of = {
            status: self._result_seconds.labels(status=status.value) for status in Status
        }
        self._lateness_seconds = Histogram(
            "giftcheck_result_lateness_seconds",
            "From the end of a gift's time (deadline and check.settle) until its result was"
            " committed; 0 if it was committed before.",
            buckets=(1, 2.5, 5, 10, 30, 60, 300, 900, 3_600),
            registry=self._registry,
        )
        self._check_seconds = Histogram(
            "giftcheck_check_duration_seconds",
            "From sending a check to its end; compare its upper quantiles with request_timeout.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self._registry,
        )
        self._check_ids = Histogram(
            "giftcheck_check_ids",
            "Ids in one check; always at batch_size_max means that rooms outgrow their limit.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self._registry,
        )

    def check_ended(self, ids_count: int, duration_ms: int) -> None:
        """A check for so many ids ended, with whatever outcome."""
        self._check_ids.observe(ids_count)
        self._check_seconds.observe(duration_ms / 1_000)

    def cut_committed(self, cut: Cut, duration_ms: int, wall_ms: int) -> None:
        """A cut is committed, so long after it was made, at this wall time."""
        self._transaction_seconds.observe(duration_ms / 1_000)
        for result in cut.results:
            delay_ms = result.decided_at - result.deadline + self._check_timeout_ms
            self._result_seconds_of[result.status].observe(delay_ms / 1_000)
            late_ms = wall_ms - result.deadline - self._check_settle_ms
            self._lateness_seconds.observe(max(0, late_ms) / 1_000)

    def watch(self, core: Callable[[], CoreStatus], kafka: Callable[[], KafkaFigures]) -> None:
        """Read core and Kafka thread at every scrape from now on."""
        self._registry.register(Scrape(core, kafka))

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Build:
    """What runs here."""

    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        family = GaugeMetricFamily(
            "giftcheck_build_info", "1; what runs is in the label.", labels=["version"]
        )
        family.add_metric([self._version], 1)
        yield family
