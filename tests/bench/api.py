"""The simulated API as a process of its own; it learns of gifts by reading gift-sent itself.

A fate is drawn from the seed and a gift's identity, so whoever sends the gifts knows the same
truth without asking. Run by `run`; prints its base URL once it listens.
"""

import asyncio
import sys
from typing import Final

import uvloop
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from consumer.adapters.avro import AvroCodec
from consumer.core.model import GiftRead
from consumer.demo.load import gift_of
from consumer.simulator import Fault, Kind, Simulator, SimulatorSettings, TruthSettings, serve

APP_ID: Final = 12345
SECRET: Final = "secret-of-the-bench"
TRUTH: Final = TruthSettings(seed=1)
ONE_WAY_MS: Final = 15

_LOOK_EVERY_S: Final = 0.01
_BATCH_MAX: Final = 500


def settings() -> SimulatorSettings:
    """One app, the usual fates, 30 ms of latency."""
    return SimulatorSettings(
        apps={APP_ID: SECRET},
        truth=TRUTH,
        faults=(
            Fault(kind=Kind.LATENCY_IN, delay_ms=ONE_WAY_MS),
            Fault(kind=Kind.LATENCY_OUT, delay_ms=ONE_WAY_MS),
        ),
    )


async def main(bootstrap_servers: str, topic: str) -> None:
    """Serve until killed."""
    simulator = Simulator(settings())
    async with serve(simulator) as server:
        print(server.base_url, flush=True)
        await _learn(simulator, bootstrap_servers, topic)


async def _learn(simulator: Simulator, bootstrap_servers: str, topic: str) -> None:
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench-api-never-commits",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
        }
    )
    partitions = reader.list_topics(topic, 10).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    codec = AvroCodec(frozenset({APP_ID}))
    while True:
        messages = reader.consume(_BATCH_MAX, 0)
        for message in messages:
            offset, value = message.offset() or 0, message.value()
            record = codec.decode(offset=offset, timestamp_ms=0, key=None, value=value, headers=())
            if isinstance(record, GiftRead):
                simulator.truth.send(gift_of(record.sent), record.sent.sent_at)
        await asyncio.sleep(0 if len(messages) == _BATCH_MAX else _LOOK_EVERY_S)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
