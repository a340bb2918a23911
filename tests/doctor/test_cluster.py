"""What the doctor says of Kafka: of a good one, and of each thing that can be wrong with it."""

import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AclOperation,
    AdminClient,
    NewPartitions,
    ResourceType,
)

from consumer.adapters.avro import AvroCodec, encode_sent
from consumer.adapters.kafka import KafkaConfig
from consumer.clock import SystemClock
from consumer.core.model import GiftSent
from consumer.demo.kafka_broker import KafkaBroker
from consumer.demo.kafka_security import allow
from consumer.doctor.cluster import CONNECT_MS, INSTANCE, ClusterCheck
from consumer.doctor.findings import Finding, Level
from tests.core.builders import APP_ID
from tests.kafka.fake_host import FakeHost, config_for, running
from tests.kafka.secured import PASSWORD, Right, needed, secured_config
from tests.kafka.topics import CALL_S, TopicNames, commit_by_tool, create, produce

pytestmark = pytest.mark.kafka

Found = dict[str, Finding]


def found(config: KafkaConfig) -> Found:
    """The doctor's findings, by what was looked at, and that none shows the password."""
    codec = AvroCodec(frozenset({APP_ID}))
    findings = list(ClusterCheck(config, codec, SystemClock()).look())
    by_check = {finding.check: finding for finding in findings}
    assert len(by_check) == len(findings)
    assert PASSWORD not in str(findings)
    return by_check


def levels(findings: Found) -> dict[str, Level]:
    """What is not well."""
    return {
        check: finding.level for check, finding in findings.items() if finding.level is not Level.OK
    }


def set_up(broker: KafkaBroker, topics: TopicNames) -> KafkaConfig:
    """Three topics of two partitions, and the doctor's configuration."""
    create(broker.bootstrap_servers, topics, partitions=2)
    return config_for(broker.bootstrap_servers, topics, INSTANCE)


def test_a_good_cluster_passes_before_the_first_start(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Nothing to complain of, and nothing made or joined."""
    findings = found(set_up(kafka_broker, topics))

    assert levels(findings) == {}
    assert findings["brokers"].found == "1 answer"
    assert findings[f"topic {topics.gift_sent}"].found == ("2 partitions, 1 replicas, READ allowed")
    assert findings[f"group {topics.group_id}"].found == "READ allowed"
    assert findings["group members"].found == "none now"
    assert findings["progress"].found == "none yet: the group begins at earliest"
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    assert topics.group_id not in [group.id for group in admin.list_groups(timeout=CALL_S)]


def gift(number: int, *, app_id: int = APP_ID) -> bytes:
    """A gift into the room "room"."""
    return encode_sent(GiftSent("room", "game", f"gift-{number}", 1_700_000_000_000, app_id=app_id))


def test_good_gifts_are_read_and_counted(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """Their rooms, too, each in one partition."""
    config = set_up(kafka_broker, topics)
    produce(kafka_broker.bootstrap_servers, topics.gift_sent, map(gift, range(3)))

    findings = found(config)

    assert levels(findings) == {}
    assert findings["newest gifts"].found == "3 read, each a gift"
    assert findings["their keys"].found == "1 rooms, each in one partition"


def test_the_newest_of_a_long_log_are_looked_at(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """A thousand of all partitions together; what a producer did long ago is forgiven."""
    config = set_up(kafka_broker, topics)
    servers = kafka_broker.bootstrap_servers
    produce(servers, topics.gift_sent, map(gift, range(100)), key=b"old")
    produce(servers, topics.gift_sent, map(gift, range(100, 700)))

    findings = found(config)

    assert levels(findings) == {}
    assert findings["newest gifts"].found == "500 read, each a gift"


def test_gifts_with_another_key_are_told(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """How many, the first of them, and what to do."""
    config = set_up(kafka_broker, topics)
    servers = kafka_broker.bootstrap_servers
    produce(servers, topics.gift_sent, [gift(1)])
    produce(servers, topics.gift_sent, [gift(2), gift(3)], key=b"user")

    findings = found(config)

    assert levels(findings) == {"their keys": Level.WARN}
    keys = findings["their keys"]
    assert keys.found == (
        "2 of 3 have another key than their room, the first at partition 0, offset 1, room 'room'"
    )
    assert "key gift-sent by room_id with murmur2" in keys.advice


def test_a_room_in_two_partitions_is_told(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """As two producers with different partitioners make it."""
    config = set_up(kafka_broker, topics)
    for partition in (0, 1):
        produce(
            kafka_broker.bootstrap_servers, topics.gift_sent, [gift(partition)], partition=partition
        )

    findings = found(config)

    assert levels(findings) == {"their keys": Level.WARN}
    assert findings["their keys"].found.startswith("a room has gifts in two partitions")


def test_what_would_become_a_dead_letter_is_told(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Some: a warning. All: a wrong schema or app, and the service would take nothing."""
    config = set_up(kafka_broker, topics)
    servers = kafka_broker.bootstrap_servers
    produce(servers, topics.gift_sent, [gift(1, app_id=99), b"nonsense"])

    of_strangers = found(config)
    produce(servers, topics.gift_sent, [gift(2)])
    of_some = found(config)

    assert levels(of_strangers) == {"newest gifts": Level.FAIL}
    assert of_strangers["newest gifts"].found == (
        "2 of 2 would become dead letters, the first at partition 0, offset 0: app_unknown:"
        " app_id 99 is not configured"
    )
    assert levels(of_some) == {"newest gifts": Level.WARN}
    assert of_some["newest gifts"].found.startswith("2 of 3 would become dead letters")


def test_a_running_group_is_seen_and_not_disturbed(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Its member keeps its share, its transactions go on, and its progress is told."""
    servers = kafka_broker.bootstrap_servers
    config = set_up(kafka_broker, topics)
    host = FakeHost("a")
    with running(config_for(servers, topics), host):
        host.wait_for(lambda: len(host.partitions) == 2 and host.all_committed, "its share")
        epochs = [each.assigned.epoch for each in host.partitions.values()]
        findings = found(config)
        produce(servers, topics.gift_sent, [b"m0"])
        host.wait_for(lambda: host.offsets_read() == [0] and host.all_committed, "a result")
        assert epochs == [each.assigned.epoch for each in host.partitions.values()]

    assert levels(findings) == {}
    assert findings["group members"].found == "Stable, 1 members (partitions): a (2)"
    assert re.fullmatch(
        r"readable in 2 of 2 partitions, last written \d+ s ago by a", findings["progress"].found
    )


def test_asking_for_a_transactional_id_takes_it_from_nobody(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Even a process of the doctor's own name could go on: the request is refused for its time."""
    config = set_up(kafka_broker, topics)
    twin = Producer(
        {
            "bootstrap.servers": kafka_broker.bootstrap_servers,
            "transactional.id": config.transactional_id,
        }
    )
    twin.init_transactions(CALL_S)
    twin.begin_transaction()
    twin.produce(topics.gift_result, b"before")
    assert twin.flush(CALL_S) == 0

    assert levels(found(config)) == {}
    twin.commit_transaction(CALL_S)


def test_what_is_missing_is_named(kafka_broker: KafkaBroker, topics: TopicNames) -> None:
    """Each topic on its own line; the rest is asked all the same."""
    findings = found(config_for(kafka_broker.bootstrap_servers, topics, INSTANCE))

    names = [topics.gift_sent, topics.gift_result, topics.dead_letters]
    assert levels(findings) == {f"topic {name}": Level.FAIL for name in names} | {
        "group members, progress": Level.SKIP,
        "newest gifts": Level.SKIP,
    }
    assert "create it (giftcheck topics create)" in findings[f"topic {topics.gift_sent}"].found


def test_outputs_that_cannot_be_joined_with_the_input_are_told(
    kafka_broker: KafkaBroker, topics: TopicNames
) -> None:
    """gift-result needs gift-sent's number of partitions."""
    config = set_up(kafka_broker, topics)
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    more = admin.create_partitions([NewPartitions(topics.gift_result, 3)])
    more[topics.gift_result].result(CALL_S)
    findings = found(config)

    check = f"topic {topics.gift_result}"
    assert levels(findings) == {check: Level.FAIL}
    assert f"3 partitions, but {topics.gift_sent} has 2" in findings[check].found


@pytest.mark.parametrize(("on_loss", "level"), [("stop", Level.FAIL), ("continue", Level.WARN)])
def test_progress_that_is_not_ours_is_told_as_a_start_would(
    kafka_broker: KafkaBroker, topics: TopicNames, on_loss: str, level: Level
) -> None:
    """With the way on; where the way on is configured already, as a warning."""
    config = set_up(kafka_broker, topics)
    produce(kafka_broker.bootstrap_servers, topics.gift_sent, [gift(0)])
    commit_by_tool(kafka_broker.bootstrap_servers, topics, 0)
    findings = found(replace(config, on_data_loss=on_loss))  # type: ignore[arg-type]  # as listed

    assert levels(findings) == {"progress": level}
    assert "carries no progress of giftcheck" in findings["progress"].found
    assert "kafka.on_data_loss: continue" in findings["progress"].found


def doctors(topics: TopicNames) -> tuple[list[Right], list[Right]]:
    """The four rights: those with exact names, and the one for all names of the group."""
    prefix = (ResourceType.TRANSACTIONAL_ID, f"{topics.group_id}/", AclOperation.WRITE)
    return needed(topics)[:-1], [prefix]


def test_the_four_rights_are_enough(secured_broker: KafkaBroker, topics: TopicNames) -> None:
    """What more may not be asked is said, and is no fault."""
    servers = secured_broker.bootstrap_servers
    create(servers, topics)
    exact, prefix = doctors(topics)
    allow(servers, "user0", exact)
    allow(servers, "user0", prefix, prefixed=True)
    findings = found(secured_config(secured_broker, topics, "user0", INSTANCE))

    assert levels(findings) == {"brokers' limits": Level.SKIP}
    assert "needs DESCRIBE_CONFIGS" in findings[f"topic {topics.gift_result}"].found


@pytest.mark.parametrize(
    ("missing", "check", "wrong"),
    [
        (0, "topic {0.gift_sent}", (Level.FAIL, "this user may not READ it")),
        (1, "topic {0.gift_result}", (Level.FAIL, "this user may not WRITE it")),
        (2, "topic {0.dead_letters}", (Level.FAIL, "this user may not WRITE it")),
        (3, "group {0.group_id}", (Level.FAIL, "this user may not READ it")),
        (4, "transactional id", (Level.WARN, "no rule allows WRITE on those with the prefix")),
    ],
)
def test_each_missing_right_is_told(
    secured_broker: KafkaBroker,
    topics: TopicNames,
    missing: int,
    check: str,
    wrong: tuple[Level, str],
) -> None:
    """One line names it; a rule for an instance's own name cannot be seen, so that is a warning."""
    servers = secured_broker.bootstrap_servers
    create(servers, topics)
    exact, prefix = doctors(topics)
    allow(servers, "user1", [right for at, right in enumerate(exact) if at != missing])
    if missing < len(exact):
        allow(servers, "user1", prefix, prefixed=True)
    findings = found(secured_config(secured_broker, topics, "user1", INSTANCE))

    level, says = wrong
    assert findings[check.format(topics)].level is level
    assert says in findings[check.format(topics)].found
    failed = [each for each, at in levels(findings).items() if at is not Level.SKIP]
    assert failed == [check.format(topics)]


def test_a_client_that_breaks_off_costs_one_line(
    kafka_broker: KafkaBroker, topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that asks for the group's rights may be lost; everything else is told."""
    config = set_up(kafka_broker, topics)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    findings = found(config)

    assert levels(findings) == {f"group {topics.group_id}": Level.WARN}
    assert "the client broke off" in findings[f"group {topics.group_id}"].found


def test_random_names_need_a_rule_for_all(secured_broker: KafkaBroker, topics: TopicNames) -> None:
    """Without an instance id no rule for one name can help: that fails."""
    servers = secured_broker.bootstrap_servers
    create(servers, topics)
    allow(servers, "user2", needed(topics))
    config = secured_config(secured_broker, topics, "user2", INSTANCE)

    assert levels(found(config))["transactional id"] is Level.WARN
    assert levels(found(replace(config, static_member=False)))["transactional id"] is Level.FAIL


def test_a_wrong_password_is_said_in_the_clients_words(
    secured_broker: KafkaBroker, topics: TopicNames
) -> None:
    """Soon, and the rest is not asked."""
    began = time.monotonic()
    config = secured_config(secured_broker, topics, "user3", INSTANCE, sasl_password="wrong")
    findings = found(config)

    assert levels(findings) == {"brokers": Level.FAIL, "topics, rights, group": Level.SKIP}
    assert "Authentication failed" in findings["brokers"].found
    assert "kafka.property_files" in findings["brokers"].found
    assert time.monotonic() - began < CONNECT_MS / 1_000


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_brokers_that_say_nothing_are_given_up_in_time(topics: TopicNames) -> None:
    """Whoever waits for the doctor gets an answer."""
    began = time.monotonic()
    with silent_server() as servers:
        findings = found(config_for(servers, topics, INSTANCE))

    assert levels(findings) == {"brokers": Level.FAIL, "topics, rights, group": Level.SKIP}
    assert f"{servers}: no answer for" in findings["brokers"].found
    assert time.monotonic() - began < CONNECT_MS / 1_000 + 3
