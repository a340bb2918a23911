"""The sender of gift-sent events: keyed by room, partitioned with murmur2, as Java clients do."""

from collections.abc import Callable, Mapping
from typing import Final, Self

from confluent_kafka import KafkaError, Message, Producer

from consumer.core.model import GiftSent

FLUSH_S: Final = 10.0


class GiftProducer:
    """Puts gifts on gift-sent, each at once, within a `with` block.

    Args:
        topic: gift-sent's name.
        properties: librdkafka's, the bootstrap servers among them.
        encode: turns an event into a record's value.
        on_error: is told, in a few words, of a record that the broker did not take; called from
            within `produce` and `flush`.
    """

    def __init__(
        self,
        topic: str,
        properties: Mapping[str, str | int | float | bool],
        *,
        encode: Callable[[GiftSent], bytes],
        on_error: Callable[[str], None],
    ) -> None:
        self._topic = topic
        self._encode = encode
        self._on_error = on_error
        self._producer = Producer(
            {
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 0,  # a gift's delay begins when it is produced
                "delivery.report.only.error": True,
                **properties,
            }
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the client; what the broker has not taken by now is given up."""
        self._producer.purge()  # else closing waits for a broker that may be gone
        self._producer.close()

    def produce(self, sent: GiftSent) -> None:
        """Hand an event to the client; does not wait for the broker."""
        self._producer.produce(
            self._topic,
            key=sent.room_id.encode(),
            value=self._encode(sent),
            timestamp=sent.sent_at,
            on_delivery=self._delivered,
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has everything, `FLUSH_S` at most."""
        waiting = self._producer.flush(FLUSH_S)
        if waiting:
            self._on_error(f"{waiting} gifts not taken within {FLUSH_S:.0f} s")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._on_error(error.str())
