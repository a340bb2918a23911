"""The audit's rules: what is missing, doubled, contradicting, foreign, and what is not."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.audit.claims import Claim
from consumer.audit.judgement import Audit
from consumer.audit.model import FINDINGS_KEPT_MAX, Kind, Place, Range, Report
from consumer.core.model import GiftRead, RecordRefused, Status
from tests.audit.builders import (
    GIVE_UP_MS,
    LONG_AGO_MS,
    NOW_MS,
    found,
    new_audit,
    read,
    refused,
    result,
    result_id,
)

WRONG = tuple(kind.value for kind in Kind)


def counts(report: Report, *names: str) -> dict[str, int]:
    """The counts of these names, and of all that is wrong."""
    return {name: asdict(report.counts)[name] for name in (*names, *WRONG)}


def nothing_wrong(**others: int) -> dict[str, int]:
    """What `counts` says where nothing is wrong."""
    return {**others, **dict.fromkeys(WRONG, 0)}


def test_one_right_answer_for_each_record_passes() -> None:
    """Two gifts with their results, and a record that is no gift with its dead letter."""
    audit = new_audit()
    audit.result(3, 7, result((0, 100), "a"))
    audit.result(3, 9, result((1, 0), "b", Status.UNCONSUMED))
    audit.dead_letter(0, 0, 0, 102)
    audit.sent(0, read(100, "a"))
    audit.sent(0, refused(102))
    audit.sent(1, read(0, "b"))
    report = audit.report()
    assert report.passed
    assert report.exit_code == 0
    expected = nothing_wrong(records=3, gifts=2, results=2, dead_letters=1, pending=0, outside=0)
    assert expected == counts(
        report, "records", "gifts", "results", "dead_letters", "pending", "outside"
    )


@pytest.mark.parametrize(
    ("start_ms", "missing"), [(LONG_AGO_MS, 1), (LONG_AGO_MS + 1, 0), (NOW_MS + 1, 0)]
)
def test_without_progress_a_record_is_missing_once_it_should_have_been_given_up(
    start_ms: int, missing: int
) -> None:
    """At the millisecond; until then it is pending."""
    audit = new_audit()
    audit.sent(1, read(3, "a", start_ms, timestamp_ms=start_ms))
    report = audit.report()
    assert (missing, 1 - missing) == (report.counts.missing, report.counts.pending)
    assert missing * [("missing", "gift-sent", 1, 3)] == found(report)


def test_a_time_that_is_still_to_come_does_not_keep_a_record_pending() -> None:
    """A sender's microseconds: the record's own time stands for it."""
    audit = new_audit()
    audit.sent(1, read(3, "a", NOW_MS * 1_000, timestamp_ms=LONG_AGO_MS))
    assert audit.report().counts.missing == 1


def test_the_later_of_sent_at_and_record_time_is_the_start() -> None:
    """As the consumer counts it."""
    audit = new_audit()
    audit.sent(1, read(3, "a", LONG_AGO_MS - 5, timestamp_ms=LONG_AGO_MS + 1))
    assert audit.report().counts.pending == 1


def test_what_the_groups_progress_calls_answered_is_missing_at_once() -> None:
    """Below the committed offset or in the map; above it, it is pending."""
    # Offset 12 is committed; the map begins at 8, and its bits say 13 and 15.
    audit = new_audit({1: Claim(12, bytes([0b10100000]))})
    for offset in (11, 12, 13, 14, 15, 16):
        audit.sent(1, read(offset, f"gift-{offset}"))
    report = audit.report()
    assert [11, 13, 15] == [finding.at.offset for finding in report.findings]
    assert counts(report, "pending") == {**nothing_wrong(pending=3), "missing": 3}


def test_a_dead_letter_that_is_missing_is_found_as_a_result_is() -> None:
    """A record that is no valid gift wants one, too."""
    audit = new_audit({1: Claim(4)})
    audit.sent(1, refused(3))
    audit.sent(1, refused(4))
    audit.sent(1, refused(5, timestamp_ms=NOW_MS - GIVE_UP_MS))
    report = audit.report()
    assert found(report) == [("missing", "gift-sent", 1, 3), ("missing", "gift-sent", 1, 5)]
    assert report.counts.pending == 1


def test_records_of_one_gift_share_the_result_of_the_lowest_offset() -> None:
    """Pending together they have one; so the later ones are not missing."""
    audit = new_audit({1: Claim(20)})
    audit.result(0, 0, result((1, 2), "a"))
    for offset in (2, 5, 9):
        audit.sent(1, read(offset, "a"))
    assert counts(audit.report(), "shared") == nothing_wrong(shared=2)


@pytest.mark.parametrize(
    ("source", "why"),
    [((1, 6), "a later record of the gift"), ((0, 102), "another partition's record")],
)
def test_no_other_result_is_shared(source: tuple[int, int], why: str) -> None:
    """A result speaks for the records after its source, in its partition."""
    audit = new_audit({1: Claim(20)})
    audit.result(0, 0, result(source, "a"))
    audit.sent(1, read(5, "a"))
    audit.sent(*source[:1], read(source[1], "a"))
    assert found(audit.report()) == [("missing", "gift-sent", 1, 5)], why


def test_a_foreign_result_is_not_shared() -> None:
    """It names a lower offset, but that record is another gift: the later one has nothing."""
    audit = new_audit({1: Claim(20)})
    audit.result(0, 0, result((1, 2), "a"))
    audit.result(0, 1, result((1, 3), "b"))
    audit.sent(1, read(2, "b"))
    audit.sent(1, read(3, "b"))
    audit.sent(1, read(5, "a"))
    assert found(audit.report()) == [
        ("missing", "gift-sent", 1, 2),
        ("missing", "gift-sent", 1, 5),
        ("foreign", "gift-result", 0, 0),
    ]


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.UNCONSUMED])
def test_a_second_answer_to_one_record_is_a_duplicate(status: Status) -> None:
    """Where both lie is told; if they say different things, they contradict each other, too."""
    audit = new_audit()
    audit.result(2, 50, result((0, 101), "a"))
    audit.result(2, 60, result((0, 101), "a", status))
    audit.sent(0, read(101, "a"))
    report = audit.report()
    duplicate, *contradicting = report.findings
    assert (duplicate.kind, duplicate.at) == (Kind.DUPLICATE, Place("gift-result", 2, 60))
    assert duplicate.source == Place("gift-sent", 0, 101)
    assert "gift-result 2/50" in duplicate.detail
    assert len(contradicting) == (status is Status.UNCONSUMED)


def test_a_result_and_a_dead_letter_for_one_record_are_one_too_many() -> None:
    """Whichever comes first."""
    audit = new_audit()
    audit.result(2, 50, result((0, 101), "a"))
    audit.dead_letter(1, 4, 0, 101)
    audit.sent(0, read(101, "a"))
    assert found(audit.report()) == [("duplicate", "gift-sent.dlq", 1, 4)]


def test_a_gift_asked_about_anew_repeats_its_result() -> None:
    """The same result_id from another offset: allowed and counted."""
    audit = new_audit()
    for source, offset in [((0, 101), 50), ((0, 104), 60), ((1, 4), 70)]:
        audit.result(2, offset, result(source, "a"))
    audit.sent(0, read(101, "a"))
    audit.sent(0, read(104, "a"))
    audit.sent(1, read(4, "a"))
    assert counts(audit.report(), "repeated", "shared") == nothing_wrong(repeated=2, shared=0)


def test_a_repeated_result_with_another_status_contradicts_the_first() -> None:
    """Downstream keeps the first, and shall know."""
    audit = new_audit()
    audit.result(2, 50, result((0, 101), "a", Status.UNCONSUMED))
    audit.result(2, 60, result((0, 104), "a", Status.SUCCEEDED))
    audit.sent(0, read(101, "a"))
    audit.sent(0, read(104, "a"))
    report = audit.report()
    [finding] = report.findings
    assert (finding.kind, finding.at) == (Kind.CONTRADICTING, Place("gift-result", 2, 60))
    expected = "says SUCCEEDED, but the gift's result at gift-result 2/50 says UNCONSUMED"
    assert expected == finding.detail
    assert report.counts.repeated == 1


Feed = Callable[[Audit], None]


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (lambda audit: audit.result(2, 50, result((7, 0), "a")), ("gift-result", 2, 50)),
        (lambda audit: audit.result(2, 50, result((0, 120), "a")), ("gift-result", 2, 50)),
        (lambda audit: audit.result(2, 50, result((0, 105), "a")), ("gift-result", 2, 50)),
        (lambda audit: audit.result(2, 50, result((0, 119), "a")), ("gift-result", 2, 50)),
        (lambda audit: audit.result(2, 50, result((0, 106), "other")), ("gift-result", 2, 50)),
        (lambda audit: audit.result(2, 50, result((0, 107), "a")), ("gift-result", 2, 50)),
        (lambda audit: audit.dead_letter(1, 4, 0, 106), ("gift-sent.dlq", 1, 4)),
        (lambda audit: audit.dead_letter(1, 4, 0, 105), ("gift-sent.dlq", 1, 4)),
        (lambda audit: audit.unreadable_result(2, 50, "no Avro"), ("gift-result", 2, 50)),
        (lambda audit: audit.unreadable_letter(1, 4, "no headers"), ("gift-sent.dlq", 1, 4)),
        (
            lambda audit: audit.result(
                2, 50, result((0, 106), "a")._replace(result_id="not hexadecimal")
            ),
            ("gift-result", 2, 50),
        ),
    ],
    ids=[
        "no such partition",
        "behind the end",
        "a gap",
        "a gap at the end",
        "another gift",
        "no valid gift",
        "a dead letter of a valid gift",
        "a dead letter of a gap",
        "unreadable",
        "a letter from nowhere",
        "no result_id",
    ],
)
def test_an_answer_to_no_such_record_is_foreign(feed: Feed, expected: tuple[str, int, int]) -> None:
    """Partition 0 holds the gift "a" at 106, what is no gift at 107, and nothing else."""
    audit = new_audit()
    feed(audit)
    audit.sent(0, read(106, "a"))
    audit.sent(0, refused(107))
    assert ("foreign", *expected) in found(audit.report())
    assert audit.report().exit_code == 1


def test_an_answer_to_a_record_that_is_not_audited_is_outside() -> None:
    """Below the range, above it, or gone from the log: nobody can say it is wrong."""
    audit = new_audit(sources={0: Range(105, 110)}, log={0: Range(102, 120)})
    for offset in (101, 104, 110, 119):
        audit.result(0, offset, result((0, offset), "a"))
        audit.result(0, offset + 100, result((0, offset), "a", Status.FAILED))
    assert counts(audit.report(), "outside", "results") == nothing_wrong(outside=8, results=8)


def test_findings_are_counted_beyond_those_that_are_kept() -> None:
    """A wrong topic makes each record one; memory stays bounded."""
    count = FINDINGS_KEPT_MAX + 10
    audit = new_audit({0: Claim(count)}, sources={0: Range(0, count)})
    for offset in range(count):
        audit.sent(0, read(offset, f"gift-{offset}"))
    report = audit.report()
    assert (count, FINDINGS_KEPT_MAX) == (report.counts.missing, len(report.findings))


def test_the_state_takes_21_to_27_bytes_for_each_offset() -> None:
    """As the module says; so 10 million gifts take 270 MB at most."""
    for count in (1_000, 1_500, 2_000, 100_000, 195_000, 200_000):
        size = new_audit(sources={0: Range(0, count)}).size_bytes / count
        assert 21 <= size <= 27, count


# --- any order of anything, against the rules written down once more, plainly --------------------


class Written(NamedTuple):
    """A record of an output: its source, the gift and status of a result, None of a letter."""

    source: tuple[int, int]
    gift: str | None
    status: Status = Status.SUCCEEDED


GIFTS = st.sampled_from("abc")
SOURCES = st.tuples(st.sampled_from([0, 1]), st.integers(0, 7))
OUTPUTS = st.lists(
    st.builds(
        Written,
        SOURCES,
        st.one_of(st.none(), GIFTS),
        st.sampled_from([Status.SUCCEEDED, Status.FAILED]),
    ),
    max_size=12,
)
LOGS = st.dictionaries(SOURCES, st.one_of(st.none(), GIFTS), max_size=12)


def expected_counts(
    outputs: Sequence[Written], log: dict[tuple[int, int], str | None], claimed: int
) -> dict[str, int]:
    """The rules, with dictionaries and no thought of memory."""
    wrong = dict.fromkeys((*WRONG, "shared", "repeated", "pending"), 0)
    first: dict[tuple[int, int], Written] = {}
    by_gift: defaultdict[str, list[Written]] = defaultdict(list)
    for written in outputs:
        before = first.setdefault(written.source, written)
        if before is not written:
            wrong["duplicate"] += 1
            same = written.gift is not None and before.gift == written.gift
            wrong["contradicting"] += same and before.status is not written.status
        elif written.gift is not None:
            results = by_gift[written.gift]
            if results:
                wrong["repeated"] += 1
                wrong["contradicting"] += contradicts(written, results)
            results.append(written)
    for source, written in first.items():
        wrong["foreign"] += source not in log or log[source] != written.gift
    for source, gift in log.items():
        if source in first and first[source].gift == gift:
            continue
        in_partition = [
            each for each in (by_gift[gift] if gift else []) if each.source[0] == source[0]
        ]
        lowest = min((each.source for each in in_partition), default=source)
        if lowest < source and log.get(lowest) == gift:
            wrong["shared"] += 1
        else:
            wrong["missing" if source[1] < claimed else "pending"] += 1
    return wrong


def contradicts(written: Written, results: Sequence[Written]) -> bool:
    """Whether it says another thing than the result it is compared with.

    That is the lowest source so far of the partition whose first result came first.
    """
    partition = results[0].source[0]
    of_partition = [each for each in results if each.source[0] == partition]
    return min(of_partition).status is not written.status


@given(OUTPUTS, LOGS, st.integers(0, 8))
def test_whatever_is_fed_the_counts_are_those_of_the_plain_rules(
    outputs: list[Written], log: dict[tuple[int, int], str | None], claimed: int
) -> None:
    """Doubled, foreign, shared and contradicting results in any mixture and order."""
    audit = new_audit(
        {0: Claim(claimed), 1: Claim(claimed)}, sources={0: Range(0, 8), 1: Range(0, 8)}
    )
    for offset, written in enumerate(outputs):
        if written.gift is None:
            audit.dead_letter(0, offset, *written.source)
        else:
            audit.result(0, offset, result(written.source, written.gift, written.status))
    for partition, offset in sorted(log):
        gift = log[partition, offset]
        record: GiftRead | RecordRefused = refused(offset) if gift is None else read(offset, gift)
        audit.sent(partition, record)
    expected = expected_counts(outputs, log, claimed)
    report = audit.report()
    assert expected == {name: asdict(report.counts)[name] for name in expected}
    assert report.passed == (not any(expected[name] for name in WRONG))


def test_the_identity_is_that_of_the_result() -> None:
    """A result with the right source and another gift's result_id is foreign."""
    audit = new_audit({1: Claim(20)})
    wrong = result((1, 2), "a")._replace(result_id=result_id("b"))
    audit.result(0, 0, wrong)
    audit.sent(1, read(2, "a"))
    assert found(audit.report()) == [
        ("missing", "gift-sent", 1, 2),
        ("foreign", "gift-result", 0, 0),
    ]
