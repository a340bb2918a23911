"""How a membership ends when the client can do no more; the client is scripted."""

import threading
from queue import SimpleQueue
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from consumer.adapters.kafka import KafkaConfig
from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.clients import LIBRDKAFKA
from consumer.adapters.kafka.session import Session
from consumer.errors import GiftcheckError, NameTaken, RestartNeeded
from tests.kafka.fake_host import FakeHost, TextCodec
from tests.kafka.fake_producer import FakeProducer, SettableClock

CONFIG = KafkaConfig(bootstrap_servers="nowhere", group_id="g", instance="a")
FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", fatal=True)


class DeadConsumer:
    """After a fatal error: it refuses to leave the group."""

    def unsubscribe(self) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL, "Failed to remove subscription"))


def leave(reports: ClientReports, clock: SettableClock) -> None:
    """Leave the group with such a client."""
    session = Session(
        cast("Consumer", DeadConsumer()),
        cast("Producer", FakeProducer(clock)),
        CONFIG,
        reports,
        clients=LIBRDKAFKA,
        codec=TextCodec(),
        host=FakeHost("a"),
        clock=clock,
        wanted=threading.Event(),
        orders=SimpleQueue(),
        taken_count=lambda: 0,
        orphans=None,
    )
    session._give_back()


@pytest.mark.parametrize(
    ("lines", "ends"), [((), NameTaken), (("FAIL [a#consumer-1]: gone",), RestartNeeded)]
)
def test_a_client_that_was_fenced_while_leaving_says_so(
    lines: tuple[str, ...], ends: type[GiftcheckError]
) -> None:
    """By a twin, or, where brokers were away, perhaps by itself; no error of ours is called a bug."""
    clock = SettableClock()
    reports = ClientReports(clock)
    for line in lines:
        reports.logger.info(line)
    reports.on_error(FENCED)
    with pytest.raises(ends, match='"a" in group "g"'):
        leave(reports, clock)


def test_without_a_report_the_clients_own_words_are_told() -> None:
    """A restart is all that can be done."""
    clock = SettableClock()
    with pytest.raises(RestartNeeded, match="Failed to remove subscription"):
        leave(ClientReports(clock), clock)
