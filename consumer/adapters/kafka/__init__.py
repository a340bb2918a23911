"""Kafka: read gift-sent, commit results and progress in one transaction (design §4).

One thread alone calls the consumer and the producer (`thread`); it says what happened through
`Host` and pulls cuts from it. Reading order: `config` (what the clients are told), `startup`
(what is checked before the first record), `transactional_id` (whose producer we are), `thread` (the
loop), `assignment` and `start` (which partitions, from where), `intake` (messages to records),
`transaction` (a cut to Kafka), `client_reports` (what librdkafka says by itself), `clients` (where
it comes from), `topics` (creating them).
"""

from consumer.adapters.kafka.clients import Clients
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.ports import Codec, Host
from consumer.adapters.kafka.state import KafkaState
from consumer.adapters.kafka.thread import KafkaThread
from consumer.adapters.kafka.topics import TopicReport, create_topics

__all__ = [
    "Clients",
    "Codec",
    "Host",
    "KafkaConfig",
    "KafkaState",
    "KafkaThread",
    "TopicReport",
    "create_topics",
]
