"""How a figure becomes a metric: prefix, help, labels."""

from collections import Counter
from collections.abc import Mapping
from enum import Enum

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


def gauge(name: str, text: str, value: float) -> Metric:
    """One figure as it is now."""
    return GaugeMetricFamily(f"giftcheck_{name}", text, value=value)


def counter(name: str, text: str, value: int) -> Metric:
    """One figure that only grows."""
    return CounterMetricFamily(f"giftcheck_{name}", text, value=value)


def counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    """Figures that only grow, told apart by a label."""
    family = CounterMetricFamily(f"giftcheck_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def per_partition(name: str, text: str) -> GaugeMetricFamily:
    """Figures of partitions, to be added by their number."""
    return GaugeMetricFamily(f"giftcheck_{name}", text, labels=["partition"])


def of_all(names: type[Enum], counted: Counter[str]) -> dict[str, int]:
    """The counts of all there can be, also of those that have not been met."""
    return {name.value: counted[name.value] for name in names}
