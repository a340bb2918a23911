"""The reader: what a `read_committed` consumer of gift-result sees, and when.

A result is visible when the client's `poll` hands it over; that instant is what delay is
measured by, taken before anything is decoded. The client is called from a thread of its own, for
it blocks; batches go to the event loop.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Self

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from consumer.core.model import GiftResult

BATCH_MAX: Final = 1_000
"""Results handed to the loop at once: bounds how long one turn may take."""

_POLL_S: Final = 0.1
"""How long the thread waits for the first result before it looks whether it shall stop."""

_METADATA_S: Final = 10.0

_METADATA_TRIES: Final = 100
_METADATA_AGAIN_S: Final = 0.1
"""A topic that is not there is waited for as long, ten seconds."""


class VisibleResult(NamedTuple):
    """A result and the instant at which it became visible (Unix time)."""

    result: GiftResult
    visible_us: int


class ResultReader:
    """Reads a topic from its beginning to wherever it grows, within a `with` block.

    Args:
        topic: gift-result's name.
        properties: librdkafka's, the bootstrap servers among them.
        decode: turns a record's value into a result.
        clock_us: Unix time in microseconds; called from the thread.
        on_results: gets every batch, in the event loop that runs when the block begins.
        on_error: gets what ended the thread, in that loop too; after it comes nothing more.
    """

    def __init__(
        self,
        topic: str,
        properties: Mapping[str, str | int | float | bool],
        *,
        decode: Callable[[bytes], GiftResult],
        clock_us: Callable[[], int],
        on_results: Callable[[Sequence[VisibleResult]], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._topic = topic
        self._decode = decode
        self._clock_us = clock_us
        self._on_results = on_results
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gift-result reader", daemon=True)
        self._consumer = Consumer(
            {
                "group.id": f"{topic}-reader",  # asked for by the client; nothing joins or commits
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",  # a gap would look like missing results
                **properties,
            }
        )

    def __enter__(self) -> Self:
        """Take hold of every partition of the topic and begin.

        Raises:
            KafkaException: there is no such topic.
        """
        self._consumer.assign(
            [
                TopicPartition(self._topic, partition, OFFSET_BEGINNING)
                for partition in self._partitions()
            ]
        )
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the thread and close the client."""
        self._stopping.set()
        self._thread.join()
        self._consumer.close()

    def _partitions(self) -> list[int]:
        """The topic's partitions, once the broker knows it: not each does as soon as it is made."""
        tries = 1
        while True:
            topic = self._consumer.list_topics(self._topic, _METADATA_S).topics[self._topic]
            if topic.error is None:
                return list(topic.partitions)
            if tries == _METADATA_TRIES:
                raise KafkaException(topic.error)
            tries += 1
            time.sleep(_METADATA_AGAIN_S)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._read()
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop must hear of it
            self._loop.call_soon_threadsafe(self._on_error, error)

    def _read(self) -> None:
        first = self._consumer.poll(_POLL_S)
        if first is None:
            return
        # With a time-out of 0 `consume` takes what is there; with any other it would wait for
        # the batch to fill.
        messages = [first, *self._consumer.consume(BATCH_MAX - 1, 0)]
        visible_us = self._clock_us()
        results = [
            VisibleResult(self._decode(value), visible_us)
            for message in messages
            if (value := _value_of(message)) is not None
        ]
        if results:
            self._loop.call_soon_threadsafe(self._on_results, results)


def _value_of(message: Message) -> bytes | None:
    """The value of a record; None for what the client only reports, and mends by itself."""
    error = message.error()
    if error is None:
        return message.value()
    if error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - a constant
        raise KafkaException(error)
    return None
