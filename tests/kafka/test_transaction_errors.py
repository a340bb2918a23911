"""What each kind of client error does to a transaction; the client is scripted, so is time."""

from functools import partial
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer

from consumer.adapters.kafka import KafkaConfig
from consumer.adapters.kafka.abort_row import ABORTS_MAX, SAME_ERROR_MS
from consumer.adapters.kafka.client_reports import AWAY_ECHO_MS, ClientReports
from consumer.adapters.kafka.transaction import Transactions
from consumer.core.metadata import METADATA_CHARACTERS_MAX
from consumer.core.model import Cut, CutOffset, DeadLetter, Reason, RecordRefused
from consumer.errors import NameTaken, RestartNeeded
from tests.kafka.fake_host import TextCodec
from tests.kafka.fake_producer import FakeProducer, SettableClock, abortable, fatal, retriable

CONFIG = KafkaConfig(bootstrap_servers="nowhere", group_id="g", instance="a", outage_max_ms=1_000)
CUT = Cut(1, (CutOffset(0, 1, 5, "text"),), (), ())


class Bench:
    """Transactions over a scripted producer."""

    def __init__(self, config: KafkaConfig = CONFIG) -> None:
        self.clock = SettableClock()
        self.producer = FakeProducer(self.clock)
        self.reports = ClientReports(self.clock)
        self.transactions = Transactions(
            cast("Producer", self.producer), config, TextCodec(), self.reports, self.clock
        )

    def commit(self, cut: Cut = CUT) -> bool:
        """Send a cut."""
        return self.transactions.commit(cut, object())


def letter_cut(*sizes_bytes: int) -> Cut:
    """A cut with one dead letter for each size, at offsets from 0 on."""
    letters = [
        DeadLetter(0, RecordRefused(offset, 1, Reason.TOO_LARGE, "big", b"key", b"v" * size))
        for offset, size in enumerate(sizes_bytes)
    ]
    return Cut(1, (CutOffset(0, 1, len(letters), "text"),), (), tuple(letters))


def test_a_transaction_begins_sends_offsets_and_commits() -> None:
    """The calls come in this order, and it counts as committed."""
    bench = Bench()

    assert bench.commit()
    assert bench.producer.calls == ["begin", "send_offsets", "commit"]
    assert (bench.transactions.commits_count, bench.transactions.failing_since_ms) == (1, None)


@pytest.mark.parametrize("call", ["send_offsets", "commit"])
def test_an_abortable_error_is_aborted_and_the_next_cut_goes_on(call: str) -> None:
    """The cut is certainly not committed; the trouble is visible until the next success."""
    bench = Bench()
    began_ms = bench.clock.at_ms
    bench.producer.script[call] = [abortable()]

    assert not bench.commit()
    assert bench.producer.calls[-1] == "abort"
    assert bench.transactions.failing_since_ms == began_ms
    assert bench.transactions.aborts_in_row == 1

    assert bench.commit()
    assert bench.transactions.failing_since_ms is None
    assert bench.transactions.aborts_in_row == 0


@pytest.mark.parametrize("call", ["send_offsets", "commit"])
def test_a_retriable_error_repeats_the_same_call(call: str) -> None:
    """The call is made again, and nothing before it."""
    bench = Bench()
    bench.producer.script[call] = [retriable(), retriable()]

    assert bench.commit()
    assert bench.producer.calls.count(call) == 3
    assert bench.producer.calls.count("begin") == 1


def test_an_abort_is_repeated_too() -> None:
    """An abort that times out is made again until it is through."""
    bench = Bench()
    bench.producer.script["commit"] = [abortable()]
    bench.producer.script["abort"] = [retriable()] * 3

    assert not bench.commit()
    assert bench.producer.calls.count("abort") == 4


def test_an_outage_longer_than_allowed_needs_a_restart() -> None:
    """Retriable errors end the process only after `outage_max_ms`, and the message says so."""
    bench = Bench()
    bench.producer.script["commit"] = [retriable()] * 200
    began_ms = bench.clock.at_ms

    with pytest.raises(RestartNeeded, match=r"kafka\.outage_max.*_TIMED_OUT"):
        bench.commit()
    assert bench.clock.at_ms - began_ms >= CONFIG.outage_max_ms


@pytest.mark.parametrize(
    "error",
    [fatal(KafkaError._INCONSISTENT), KafkaError(KafkaError._STATE, "neither this nor that")],
)
def test_an_unknown_outcome_of_a_commit_needs_a_restart_at_once(error: KafkaError) -> None:
    """Nothing is aborted, nothing is sent again: only Kafka knows."""
    bench = Bench()
    bench.producer.script["commit"] = [error]

    with pytest.raises(RestartNeeded, match="outcome is unknown"):
        bench.commit()
    assert "abort" not in bench.producer.calls


def test_an_odd_error_before_the_commit_is_aborted() -> None:
    """Nothing can have been committed yet, so an error that is not fatal is no reason to end."""
    bench = Bench()
    bench.producer.script["produce"] = [KafkaError(KafkaError._STATE, "a delivery failed before")]

    assert not bench.commit(letter_cut(1))
    assert bench.producer.calls == ["begin", "produce", "abort"]


def test_an_abort_that_fails_for_good_needs_a_restart() -> None:
    """That one is required does not promise that it works; both errors are named."""
    bench = Bench()
    bench.producer.script["commit"] = [abortable(KafkaError.TOPIC_AUTHORIZATION_FAILED)]
    bench.producer.script["abort"] = [fatal(KafkaError.INVALID_TXN_STATE)]

    with pytest.raises(RestartNeeded, match=r"INVALID_TXN_STATE.*TOPIC_AUTHORIZATION_FAILED"):
        bench.commit()


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.PRODUCER_FENCED])
def test_a_fenced_producer_says_whose_name_is_taken(code: int) -> None:
    """The message names the instance and the group."""
    bench = Bench()
    bench.producer.script["send_offsets"] = [fatal(code)]

    with pytest.raises(NameTaken, match='"a" in group "g"'):
        bench.commit()


def test_a_fenced_member_aborts_first_and_then_says_whose_name_is_taken() -> None:
    """What it had open must not stall the readers until it times out."""
    bench = Bench()
    bench.producer.script["send_offsets"] = [abortable(KafkaError.FENCED_INSTANCE_ID)]

    with pytest.raises(NameTaken):
        bench.commit()
    assert bench.producer.calls[-1] == "abort"


def test_fenced_while_brokers_were_away_a_restart_decides() -> None:
    """Our own join, repeated because its answer was lost, looks like a twin; later it is one."""
    bench = Bench()
    bench.reports.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    bench.clock.at_ms += AWAY_ECHO_MS // 2
    bench.producer.script["send_offsets"] = [fatal(KafkaError.PRODUCER_FENCED)]
    with pytest.raises(RestartNeeded, match='"a" in group "g"'):
        bench.commit()

    bench.clock.at_ms += AWAY_ECHO_MS // 2
    bench.producer.script["send_offsets"] = [fatal(KafkaError.PRODUCER_FENCED)]
    with pytest.raises(NameTaken):
        bench.commit()


@pytest.mark.parametrize(
    "line",
    [
        "FAIL [a#consumer-3] [thrd:GroupCoordinator]: 10.0.0.3:9092: Disconnected: by peer",
        "SESSTMOUT [a#consumer-3] [thrd:main]: Consumer group session timed out after 10123 ms",
    ],
)
def test_a_coordinator_that_went_away_is_told_of_by_log_lines_alone(line: str) -> None:
    """One broker of three: the client has others, so it calls nothing an error."""
    bench = Bench()
    bench.reports.logger.info(line)
    bench.clock.at_ms += AWAY_ECHO_MS // 2
    bench.producer.script["send_offsets"] = [abortable(KafkaError.FENCED_INSTANCE_ID)]
    with pytest.raises(RestartNeeded, match="while brokers were away"):
        bench.commit()


def test_other_log_lines_say_nothing_about_brokers() -> None:
    """A rebalance is no outage: whoever is fenced then has a twin."""
    bench = Bench()
    bench.reports.logger.warning("TXNERR [a#producer-2] [thrd:main]: FAIL or not, all are there")
    bench.producer.script["send_offsets"] = [abortable(KafkaError.FENCED_INSTANCE_ID)]
    with pytest.raises(NameTaken):
        bench.commit()


def test_fenced_after_its_own_transaction_timed_out_is_no_twin() -> None:
    """The broker ended the transaction: a restart is needed, no pause and no wrong alarm."""
    bench = Bench()

    def stall() -> None:
        bench.clock.at_ms += CONFIG.transaction_timeout_ms

    bench.producer.script["send_offsets"] = [stall]
    bench.producer.script["commit"] = [fatal()]

    with pytest.raises(RestartNeeded, match="longer than its time-out"):
        bench.commit()


def test_twenty_aborts_in_a_row_are_the_end() -> None:
    """Whatever their errors are; the message names the last one."""
    bench = Bench()
    errors = [abortable(), abortable(KafkaError.UNKNOWN_MEMBER_ID)] * (ABORTS_MAX // 2)
    bench.producer.script["commit"] = list(errors)
    for _ in range(ABORTS_MAX - 1):
        assert not bench.commit()

    with pytest.raises(RestartNeeded, match=r"20 transactions in a row.*UNKNOWN_MEMBER_ID"):
        bench.commit()


def test_the_same_error_for_a_minute_is_the_end() -> None:
    """A few slow aborts with one error say as much as many quick ones."""
    bench = Bench()
    bench.producer.script["commit"] = [abortable()] * 2
    assert not bench.commit()
    bench.clock.at_ms += SAME_ERROR_MS

    with pytest.raises(RestartNeeded, match="ILLEGAL_GENERATION"):
        bench.commit()


def test_of_refused_dead_letters_the_largest_is_cut_first() -> None:
    """Each abort cuts one more, none of them counts as trouble, and a success forgets them."""
    bench = Bench()
    cut = letter_cut(100_000, 2_000_000, 1_500_000)

    def refuse() -> None:
        for record in bench.producer.records:
            if len(record["value"]) > 1_000_000:
                error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "too large")
                cast("partial[Any]", record["on_delivery"])(error, None)
        bench.producer.records.clear()

    def sizes() -> list[int]:
        return [len(record["value"]) for record in bench.producer.records]

    seen = []
    bench.producer.script["send_offsets"] = [lambda: seen.append(sizes())] * 3
    bench.producer.script["commit"] = [abortable(KafkaError._INCONSISTENT)] * 2
    bench.producer.script["abort"] = [refuse, refuse]

    outcomes = [bench.commit(cut) for _ in range(3)]
    assert outcomes == [False, False, True]
    assert seen == [
        [100_000, 2_000_000, 1_500_000],
        [100_000, 65_536, 1_500_000],
        [100_000, 65_536, 65_536],
    ]
    assert bench.transactions.aborts_in_row == 0


def test_metadata_refused_for_its_size_is_told_apart_from_other_aborts() -> None:
    """The core writes shorter texts then; the next transaction begins with a clean slate."""
    bench = Bench()
    bench.producer.script["send_offsets"] = [abortable(KafkaError.OFFSET_METADATA_TOO_LARGE)]

    assert not bench.commit()
    assert bench.transactions.metadata_refused
    bench.producer.script["commit"] = [abortable()]
    assert not bench.commit()
    assert not bench.transactions.metadata_refused


def test_a_full_queue_is_waited_for() -> None:
    """The producer says its queue is full; the record goes in when there is room."""
    bench = Bench()

    def full() -> None:
        raise BufferError

    bench.producer.script["produce"] = [full, full]

    assert bench.commit(letter_cut(1))
    assert len(bench.producer.records) == 1


@pytest.mark.parametrize(
    "offsets",
    [
        (),
        (CutOffset(1, 1, 5, "text"),),
        (CutOffset(0, 1, -1, "text"),),
        (CutOffset(0, 1, 5, "x" * (METADATA_CHARACTERS_MAX + 1)),),
    ],
)
def test_a_cut_that_would_not_be_fenced_is_never_sent(offsets: tuple[CutOffset, ...]) -> None:
    """Without an offset for each partition that has something in it nothing is begun."""
    bench = Bench()
    cut = Cut(1, offsets, (), letter_cut(1).dead_letters)

    with pytest.raises(AssertionError, match="cut 1"):
        bench.commit(cut)
    assert bench.producer.calls == []
