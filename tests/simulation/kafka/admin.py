"""An administrator's client, as far as start-up and the look for orphans use it."""

import struct
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import TopicCollection

from tests.simulation.hub import Process
from tests.simulation.kafka.broker import Broker
from tests.simulation.kafka.calls import Calls
from tests.simulation.kafka.consumer import describe

FUTURE_S = 5.0


class DescribedTopic(NamedTuple):
    """A topic on which everything is allowed."""

    partitions: tuple[int, ...]
    authorized_operations: tuple[()] = ()


class DescribedMember(NamedTuple):
    """A member and its share, as Kafka writes it."""

    id: str
    assignment: bytes


class DescribedGroup(NamedTuple):
    """A group at one instant."""

    id: str
    state: str
    members: tuple[DescribedMember, ...]


class SimulatedAdmin:
    """One administrator's client; for one group, whatever its id."""

    def __init__(self, process: Process, broker: Broker) -> None:
        self._broker = broker
        self._calls = Calls(process, broker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is held."""

    def poll(self, timeout: float) -> int:
        assert timeout == 0
        return 0

    def list_topics(self, topic: str | None = None, timeout: float = FUTURE_S) -> Any:
        return self._ask("topics", lambda: describe(self._broker, topic), timeout)

    def describe_topics(
        self,
        topics: TopicCollection,
        *,
        include_authorized_operations: bool,
        request_timeout: float,
    ) -> dict[str, "Future[DescribedTopic]"]:
        del include_authorized_operations
        answers: dict[str, Future[DescribedTopic]] = {}
        for name in topics.topic_names:
            answers[name] = Future()
        try:
            self._ask("describe", lambda: None, request_timeout)
        except Exception as error:  # noqa: BLE001  it is told through the futures
            for answer in answers.values():
                answer.set_exception(error)
        else:
            partitions = tuple(range(self._broker.settings.partitions))
            for answer in answers.values():
                answer.set_result(DescribedTopic(partitions))
        return answers

    def list_groups(self, group: str, timeout: float) -> list[DescribedGroup]:
        topic = self._broker.settings.gift_sent

        def look() -> list[DescribedGroup]:
            state, shares = self._broker.group.described()
            members = tuple(
                DescribedMember(name, _written(topic, share) if state == "Stable" else b"")
                for name, share in shares.items()
            )
            return [DescribedGroup(group, state, members)]

        return list(self._ask("groups", look, timeout))

    def _ask(self, name: str, apply: Callable[[], Any], timeout_s: float) -> Any:
        try:
            return self._calls.call(name, "data", apply, timeout_s)
        except Exception:
            self._calls.drop(name)
            raise


def _written(topic: str, share: frozenset[int]) -> bytes:
    """A member's assignment as Kafka's ConsumerProtocolAssignment, version 0."""
    if not share:
        return struct.pack(">hii", 0, 0, -1)
    name = topic.encode()
    partitions = sorted(share)
    return (
        struct.pack(">hih", 0, 1, len(name))
        + name
        + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        + struct.pack(">i", -1)
    )
