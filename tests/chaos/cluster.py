"""One cluster of three brokers, or a single one, that clients reach through proxies alone.

Brokers talk to each other past the proxies, and so do those clients that only watch: load,
reader, audit. Controllers and brokers share their processes, as small clusters do: killing one
takes a third of the quorum with it.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewTopic,
)

from consumer.demo.kafka_broker import KafkaBroker, Ports, free_ports
from tests.chaos.proxy import Proxy
from tests.kafka.topics import TopicNames

HEAP_MIB: Final = 320
CALL_S: Final = 30.0

COORDINATOR_PARTITIONS: Final = 4
"""Of `__consumer_offsets` and `__transaction_state`, each: as `KafkaBroker` sets them."""

PROPERTIES: Final = {
    "unclean.leader.election.enable": "false",
    # A dead producer's transaction is looked for every second instead of every ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running cluster; broker `n` is `brokers[n]`, its id is n + 1."""

    brokers: tuple[KafkaBroker, ...]
    proxies: tuple[Proxy, ...]

    @property
    def bootstrap_servers(self) -> str:
        """Past the proxies."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    @property
    def proxied_servers(self) -> str:
        """Through them."""
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)

    def create(self, topics: TopicNames, partitions: int) -> None:
        """Make the three topics, on every broker; of three replicas two are in sync at a write."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        names = (topics.gift_sent, topics.gift_result, topics.dead_letters)
        new = [
            NewTopic(
                name,
                partitions,
                len(self.brokers),
                config={"min.insync.replicas": _in_sync(len(self.brokers))},
            )
            for name in names
        ]
        for made in admin.create_topics(new, operation_timeout=CALL_S).values():
            made.result(CALL_S)

    def leader(self, topic: str, name: str) -> int | None:
        """Which broker coordinates what has this name, by one of the cluster's own topics."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        partitions = admin.list_topics(topic, timeout=CALL_S).topics[topic].partitions
        partition = partitions.get(coordinating_partition(name))
        if partition is None or not 1 <= partition.leader <= len(self.brokers):
            return None
        leader: int = partition.leader
        return leader - 1


def coordinating_partition(name: str) -> int:
    """Where a group or a transactional id is kept: Java's hash of its name, as Kafka takes it."""
    java_hash = 0
    for character in name:
        java_hash = (31 * java_hash + ord(character)) & 0xFFFFFFFF
    if java_hash >= 1 << 31:
        java_hash -= 1 << 32
    # Kafka's Utils.abs: the lowest number, which has no positive, counts as 0.
    return (0 if java_hash == -(1 << 31) else abs(java_hash)) % COORDINATOR_PARTITIONS


@asynccontextmanager
async def open_cluster(seed: int, count: int) -> AsyncIterator[Cluster]:
    """A cluster of so many brokers within an `async with` block.

    Raises:
        ConfigurationError: there is no Kafka to be had, or it does not come up.
    """
    ports = [free_ports(4) for _ in range(count)]
    async with AsyncExitStack() as stack:
        proxies = tuple(
            [
                await stack.enter_async_context(Proxy(clients, seed=seed + number))
                for number, (_, _, _, clients) in enumerate(ports)
            ]
        )
        voters = ",".join(
            f"{number + 1}@127.0.0.1:{controller}"
            for number, (_, _, controller, _) in enumerate(ports)
        )
        cluster_id = str(uuid.uuid4())
        brokers = tuple(
            KafkaBroker(
                properties=PROPERTIES
                | _replication(count)
                | _listeners(plain, controller, clients, proxies[number].port)
                | {"node.id": str(number + 1), "controller.quorum.voters": voters},
                ports=Ports(plain, secured, controller),
                cluster_id=cluster_id,
                heap_mib=HEAP_MIB,
                yields=True,
            )
            for number, (plain, secured, controller, clients) in enumerate(ports)
        )
        # At once, for one alone has no quorum; each is ended even if another does not come up.
        entered = await asyncio.gather(
            *(asyncio.to_thread(broker.__enter__) for broker in brokers), return_exceptions=True
        )
        for broker, result in zip(brokers, entered, strict=True):
            if not isinstance(result, BaseException):
                stack.push_async_callback(asyncio.to_thread, _end, broker)
        for result in entered:
            if isinstance(result, BaseException):
                raise result
        yield Cluster(brokers, proxies)


def _in_sync(brokers: int) -> str:
    return str(min(2, brokers))


def _replication(brokers: int) -> dict[str, str]:
    return {
        "offsets.topic.replication.factor": str(brokers),
        "transaction.state.log.replication.factor": str(brokers),
        "transaction.state.log.min.isr": _in_sync(brokers),
        "min.insync.replicas": _in_sync(brokers),
    }


def _end(broker: KafkaBroker) -> None:
    """Not gently: the last of three has no quorum to say goodbye to, and would wait for it."""
    broker.kill()
    broker.__exit__(None, None, None)


def _listeners(plain: int, controller: int, clients: int, proxy: int) -> dict[str, str]:
    return {
        "listeners": (
            f"PLAIN://127.0.0.1:{plain},CLIENTS://127.0.0.1:{clients},"
            f"CONTROLLER://127.0.0.1:{controller}"
        ),
        "advertised.listeners": f"PLAIN://127.0.0.1:{plain},CLIENTS://127.0.0.1:{proxy}",
        "listener.security.protocol.map": (
            "PLAIN:PLAINTEXT,CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
    }
