"""What the Kafka thread does not bring itself: librdkafka's clients, and waiting.

Everything that blocks the thread, or crosses the network, is one of these. Whoever hands in
others has the adapter run on another clock and over another broker: the simulation does.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient


def wait_for(future: "Future[Any]", timeout_s: float) -> bool:
    """Whether the future is done within this time."""
    return bool(wait([future], timeout_s).done)


@dataclass(frozen=True, slots=True)
class Clients:
    """How clients are made, with properties and `logger`, and how the thread waits.

    Attributes:
        event: a flag that other threads set and this one waits for.
        wait: blocks until the future is done or the seconds are over; whether it is done.
    """

    consumer: Callable[..., Consumer] = Consumer
    producer: Callable[..., Producer] = Producer
    admin: Callable[..., AdminClient] = AdminClient
    event: Callable[[], threading.Event] = threading.Event
    wait: Callable[["Future[Any]", float], bool] = wait_for


LIBRDKAFKA = Clients()
"""The real ones."""
