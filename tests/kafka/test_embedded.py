"""The mode for the embedded broker: it runs, and it admits what it cannot show."""

from typing import Any

from consumer.demo.embedded_broker import EmbeddedBroker
from consumer.errors import RestartNeeded
from tests.kafka.fake_host import WAIT_S, FakeHost, config_for, running, started
from tests.kafka.topics import TopicNames, committed_values, produce

QUICK: dict[str, Any] = {
    "embedded_broker": True,
    "session_timeout_ms": 6_000,
    "heartbeat_interval_ms": 500,
    "fetch_wait_max_ms": 10,
}


def test_records_flow_through_the_embedded_broker(topics: TopicNames) -> None:
    """Every partition starts at its beginning, and results come out."""
    with EmbeddedBroker((topics.gift_sent, topics.gift_result, topics.dead_letters)) as broker:
        servers = broker.bootstrap_servers
        produce(servers, topics.gift_sent, [b"m0", b"m1"])
        host = FakeHost("a")
        with running(config_for(servers, topics, **QUICK), host):
            host.wait_for(lambda: host.offsets_read() == [0, 1], "the records")
            host.wait_for(lambda: host.all_committed, "the results")

        assert committed_values(servers, topics.gift_result) == [b"m0", b"m1"]


def test_a_second_assignment_is_admitted_to_be_beyond_it(topics: TopicNames) -> None:
    """It keeps no offsets: going on would show duplicates that a real Kafka does not have."""
    with EmbeddedBroker((topics.gift_sent, topics.gift_result, topics.dead_letters)) as broker:
        config = config_for(broker.bootstrap_servers, topics, **QUICK)
        host = FakeHost("a")
        thread = started(config, host)
        host.wait_for(lambda: len(host.partitions) == 4, "the assignment")
        guest = FakeHost("b")
        other = config_for(broker.bootstrap_servers, topics, "b", **QUICK)
        with running(other, guest):
            guest.wait_for(lambda: len(guest.partitions) == 2, "a share")
        error = thread.finished.exception(WAIT_S)

    assert isinstance(error, RestartNeeded)
    assert "the embedded broker cannot show this" in str(error)
