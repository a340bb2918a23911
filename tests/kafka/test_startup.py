"""What a wrong set-up says at the start, against a Kafka with TLS, passwords and rules."""

import ssl
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from consumer.adapters.kafka import KafkaConfig, create_topics
from consumer.adapters.kafka.config import REFUSED_PROPERTIES
from consumer.clock import SystemClock
from consumer.demo.kafka_broker import KafkaBroker
from consumer.demo.kafka_security import allow
from consumer.errors import ConfigurationError, RestartNeeded
from tests.kafka.fake_host import WAIT_S, FakeHost, config_for, running, started
from tests.kafka.secured import PASSWORD, needed, secured_config
from tests.kafka.topics import TopicNames, create, produce

pytestmark = pytest.mark.kafka

ONE_LINE_S = 15.0


def refused(config: KafkaConfig) -> str:
    """The one line of the ConfigurationError that a start ends with, in time."""
    began = time.monotonic()
    error = started(config, FakeHost("a")).finished.exception(WAIT_S)
    assert isinstance(error, ConfigurationError), error
    assert time.monotonic() - began < ONE_LINE_S
    assert "\n" not in str(error)
    assert PASSWORD not in str(error)
    return str(error)


def test_these_rights_are_enough(secured_broker: KafkaBroker, topics: TopicNames) -> None:
    """With TLS, a password out of a file and the rights README names, and no other, it runs."""
    create(secured_broker.bootstrap_servers, topics)
    allow(secured_broker.bootstrap_servers, "user0", needed(topics))
    produce(secured_broker.bootstrap_servers, topics.gift_sent, [b"m0", b"!"])
    host = FakeHost("a")
    config = secured_config(secured_broker, topics, "user0")
    properties = dict(config.properties)
    password = {"sasl.password": properties.pop("sasl.password")}
    with running(replace(config, properties=properties, file_properties=password), host):
        host.wait_for(lambda: host.offsets_read() == [0, 1] and host.all_committed, "a result")


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (0, 'topic "{0.gift_sent}": this user may not READ it'),
        (1, 'topic "{0.gift_result}": this user may not WRITE it'),
        (2, 'topic "{0.dead_letters}": this user may not WRITE it'),
        (3, 'group "{0.group_id}": this user may not READ it'),
        (4, 'transactional id "{0.group_id}/a": this user may not WRITE with it'),
    ],
)
def test_each_missing_right_is_named(
    secured_broker: KafkaBroker, topics: TopicNames, missing: int, says: str
) -> None:
    """Any one of them taken away ends the start with a line that says which."""
    create(secured_broker.bootstrap_servers, topics)
    rights = needed(topics)
    del rights[missing]
    allow(secured_broker.bootstrap_servers, "user1", rights)

    assert says.format(topics) in refused(secured_config(secured_broker, topics, "user1"))


def test_a_wrong_password_is_said(secured_broker: KafkaBroker, topics: TopicNames) -> None:
    """The client would try for ever and raise nothing."""
    config = secured_config(secured_broker, topics, "user2", sasl_password="wrong")

    message = refused(config)
    assert "Authentication failed" in message
    assert "kafka.properties" in message
    assert "wrong" not in message


def test_a_wrong_authority_is_said(secured_broker: KafkaBroker, topics: TopicNames) -> None:
    """A broker's certificate that the configured authority did not sign."""
    other = ssl.get_default_verify_paths().openssl_cafile
    config = secured_config(secured_broker, topics, "user2", ssl_ca_location=other)

    assert "certificate verify failed" in refused(config)


def test_a_missing_topic_is_named(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """All that are missing, and how to make them."""
    message = refused(config_for(kafka_broker.bootstrap_servers, topics))

    assert f'topic "{topics.gift_sent}" does not exist' in message
    assert f'topic "{topics.dead_letters}" does not exist' in message
    assert "giftcheck topics create" in message


def test_a_property_the_client_does_not_know_is_named(topics: TopicNames) -> None:
    """In the client's own words."""
    config = config_for("127.0.0.1:1", topics, properties={"no.such.property": "1"})

    assert 'kafka.properties: No such configuration property: "no.such.property"' in refused(config)


def test_a_value_that_came_out_of_a_file_is_never_quoted(topics: TopicNames) -> None:
    """The client's own words quote what it does not understand."""
    files = {"security.protocol": PASSWORD}
    config = config_for("127.0.0.1:1", topics, file_properties=files)

    assert 'kafka.property_files: Invalid value "…" for' in refused(config)


@pytest.mark.parametrize("name", sorted(REFUSED_PROPERTIES))
def test_a_property_that_would_void_a_promise_is_refused(topics: TopicNames, name: str) -> None:
    """By name, and with the reason."""
    in_text = refused(config_for("127.0.0.1:1", topics, properties={name: "1"}))
    in_file = refused(config_for("127.0.0.1:1", topics, file_properties={name: "1"}))

    assert f"kafka.properties may not hold {name}: {REFUSED_PROPERTIES[name]}" in in_text
    assert f"kafka.property_files may not hold {name}: {REFUSED_PROPERTIES[name]}" in in_file


def test_brokers_that_do_not_answer_are_waited_for(topics: TopicNames) -> None:
    """One line when the start-up time is over, and an end when the longest outage is."""
    config = config_for("127.0.0.1:1", topics, startup_ms=500, outage_max_ms=2_500)
    with capture_logs() as logs:
        error = started(config, FakeHost("a")).finished.exception(WAIT_S)

    assert isinstance(error, RestartNeeded)
    assert "127.0.0.1:1: no answer for" in str(error)
    told = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert told == ["the brokers do not answer, waiting"]


def test_a_broker_that_comes_late_is_found(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """The start goes on by itself."""
    servers = kafka_broker.bootstrap_servers
    create(servers, topics)
    kafka_broker.stop()
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        kafka_broker.start()
        host.wait_for(lambda: len(host.partitions) == 1 and host.all_committed, "the first commit")


def test_topics_are_created_and_those_that_exist_are_told(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Outputs get gift-sent's number of partitions; a second call changes nothing."""
    config = config_for(kafka_broker.bootstrap_servers, topics)
    with pytest.raises(ConfigurationError, match="does not exist"):
        create_topics(config, SystemClock())

    first = create_topics(config, SystemClock(), gift_sent_partitions=3)
    second = create_topics(config, SystemClock(), gift_sent_partitions=5)

    names = [topics.gift_sent, topics.gift_result, topics.dead_letters]
    assert [one.name for one in first] == names
    assert [(one.partitions_count, one.replicas_count, one.created) for one in first] == [
        (3, 1, True)
    ] * 3
    assert [(one.name, one.partitions_count, one.created) for one in second] == [
        (name, 3, False) for name in names
    ]


def test_topics_that_this_user_may_not_create_are_named(
    secured_broker: KafkaBroker, topics: TopicNames
) -> None:
    """One line with the topic and the right that is missing."""
    config = secured_config(secured_broker, topics, "user3")

    with pytest.raises(ConfigurationError, match="may not CREATE it"):
        create_topics(config, SystemClock(), gift_sent_partitions=1)
