"""Prometheus metrics (design §9): prefix `giftcheck_`, base units, bounded labels.

Never a room or a MsgId as a label. Almost everything is counted by the core and the Kafka thread
anyhow, so it is read from them at the scrape; the series of a partition go when it goes. Only
durations and sizes of single checks are observed as they happen.

Counters are there from the start, at 0, with every label they can have: an alert sees a series
grow, but not that one begins. (Only of the API's codes nobody knows them all.)
"""

from consumer.adapters.metrics.meter import Metrics

__all__ = ["Metrics"]
