"""How fast `giftcheck audit` reads and what it holds: so many gifts, each with its result.

    .venv/bin/python -m tests.bench.audit [--gifts 2000000]

Both topics are filled on a real Kafka on this machine, then the command runs as a process of its
own; its memory is the highest it had. Prints one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import yaml
from confluent_kafka import Producer

from consumer.adapters.avro import AvroCodec, encode_sent
from consumer.core.gift import Identity
from consumer.core.model import GiftResult, GiftSent, Status
from consumer.demo.kafka_broker import KafkaBroker
from tests.kafka.topics import TopicNames, create

APP_ID: Final = 5
PARTITIONS: Final = 8
FLUSH_S: Final = 120.0


def fill(servers: str, topics: TopicNames, gifts_count: int) -> None:
    """Gifts round robin over the partitions, and the result of each."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,  # keeps the order, or results name the wrong sources
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 100_000,
        }
    )
    codec = AvroCodec(frozenset({APP_ID}))
    synthetic = False
    now_ms = time.time_ns() // 1_000_000
    for number in range(gifts_count):
        offset, partition = divmod(number, PARTITIONS)
        sent = GiftSent(
            f"room-{number % 2_000:04}", "game-1", f"gift-{number:08}", now_ms, APP_ID,
            "user-1234", "rose", "host-0001", 52, 1,
        )  # fmt: skip
        identity = Identity(APP_ID, *sent[:4])
        result = GiftResult(
            sent, identity.result_id(), Status.SUCCEEDED, synthetic, 0, "success", now_ms,
            "request-id-of-36-characters-or-about", 2, now_ms, now_ms, partition, offset,
        )  # fmt: skip
        key = sent.room_id.encode()
        put(producer, topics.gift_sent, key, encode_sent(sent), partition)
        put(producer, topics.gift_result, key, codec.encode(result), partition)
    assert producer.flush(FLUSH_S) == 0
    producer.close()


def put(producer: Producer, topic: str, key: bytes, value: bytes, partition: int) -> None:
    """Produce, and wait while the queue is full."""
    while True:
        try:
            producer.produce(topic, value, key=key, partition=partition)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def audit(servers: str, topics: TopicNames, folder: Path) -> dict[str, Any]:
    """Run the command; its time, CPU, highest memory and report."""
    config = folder / "giftcheck.yaml"
    document = {
        "kafka": {"bootstrap_servers": servers, "group_id": topics.group_id},
        "topics": {
            "gift_sent": topics.gift_sent,
            "gift_result": topics.gift_result,
            "dead_letters": topics.dead_letters,
        },
        "apps": [{"app_id": APP_ID, "server_secret": "secret"}],
    }
    config.write_text(yaml.safe_dump(document))
    report = folder / "report.json"
    command = [sys.executable, "-m", "consumer", "audit", "--config", str(config), "--json"]
    began_s = time.monotonic()
    with report.open("wb") as out:
        pid = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)],
        )
        _, status, usage = os.wait4(pid, 0)
    elapsed_s = time.monotonic() - began_s
    told = json.loads(report.read_text())
    assert os.waitstatus_to_exitcode(status) == 0, told["findings"][:3]
    gifts = told["gifts"]
    return {
        "gifts": gifts,
        "elapsed_s": round(elapsed_s, 1),
        "gifts_per_s": round(gifts / elapsed_s),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "resident_mib_max": round(usage.ru_maxrss / 1_024),
        "state_bytes_per_gift": round(told["state_bytes"] / gifts, 1),
        "passed": told["passed"],
    }


def main() -> None:
    """Fill, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gifts", type=int, default=2_000_000, help="how many (default 2000000)")
    wanted = parser.parse_args()
    topics = TopicNames.of_a_run("audit-bench")
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as folder:
        create(broker.bootstrap_servers, topics, partitions=PARTITIONS)
        fill(broker.bootstrap_servers, topics, wanted.gifts)
        print(json.dumps(audit(broker.bootstrap_servers, topics, Path(folder))))


if __name__ == "__main__":
    main()
