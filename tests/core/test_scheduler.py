"""The rules together: records in, checks out, answers in, results committed (design §4 to §7)."""

import itertools

import pytest

from consumer.core.limits import Limit
from consumer.core.messages import (
    CheckAnswered,
    CheckLost,
    CheckNotWritten,
    CutAborted,
    CutCommitted,
    DrainStarted,
    Fault,
    PartitionRevoked,
    PauseIntake,
    ReportFault,
    ReportTrouble,
    ResumeIntake,
)
from consumer.core.metadata import decode_metadata
from consumer.core.model import Answer, Check, CheckRules, PartitionMetadata, Status, Trouble
from consumer.core.verdict import TOO_OLD
from tests.core.builders import (
    NOW_MS,
    WALL_MS,
    Ending,
    Harness,
    make_assigned,
    make_entry,
    make_loss,
    make_metadata,
    make_record,
    make_refused,
    never_answer,
    say_absent,
    say_consumed,
)


def asked_once(*, rules: CheckRules | None = None, code: int | None = None) -> Harness:
    """Gift `m0` is pending and its first check in flight, or answered with `code`."""
    harness = Harness(rules=rules or CheckRules())
    harness.assign()
    harness.read(make_record(0))
    harness.run(300)
    assert len(harness.sent) == 1
    if code is not None:
        harness.answer(harness.sent[0][1], code=code)
    return harness


def statuses(harness: Harness) -> list[Status]:
    """The verdicts committed, in order."""
    return [result.status for result in harness.results]


# --- from record to result ----------------------------------------------------------------------


def test_a_consumed_gift_succeeds() -> None:
    """One check, one result, and the offset moves on."""
    harness = Harness(api=say_consumed)
    harness.assign()
    harness.read(make_record(0))
    harness.run(1_000)
    [result] = harness.results
    assert (
        result.status,
        result.synthetic,
        result.request_id,
        result.checks,
    ) == (Status.SUCCEEDED, False, "req", 1)
    assert harness.cuts[-1].offsets[0].offset == 1
    assert len(harness.sent) == 1


def test_a_gift_that_is_never_consumed_is_unconsumed_right_after_deadline_and_settle() -> None:
    """Decided by the first answer to a check sent from then on; its decision says when."""
    harness = Harness(api=say_absent)
    harness.assign()
    harness.read(make_record(0))
    harness.run(40_000)
    [result] = harness.results
    assert (result.status, result.synthetic) == (Status.UNCONSUMED, True)
    assert WALL_MS + 31_000 <= result.decided_at <= WALL_MS + 31_100
    assert len(harness.sent) == result.checks
    assert harness.sent[-1][0] >= NOW_MS + 31_000


def test_a_refused_record_is_a_dead_letter_in_the_cut_of_its_offset() -> None:
    """It waits for nothing."""
    harness = Harness()
    harness.assign()
    harness.read(make_refused(0))
    cut = harness.commit()
    assert ((make_refused(0),), 1) == (
        tuple(letter.record for letter in cut.dead_letters),
        cut.offsets[0].offset,
    )
    assert harness.scheduler.tally.dead_letters == {"not_avro": 1}


def test_gaps_are_committed_with_what_comes_next() -> None:
    """A batch without records moves the position; it is no news by itself."""
    harness = Harness()
    harness.assign()
    harness.read(next_offset=50)
    assert not harness.scheduler.wants_cut()
    harness.read(make_refused(50))
    assert harness.commit().offsets[0].offset == 51


def test_entries_for_ids_not_asked_are_ignored_and_counted() -> None:
    """Whatever the API adds decides nothing."""
    harness = asked_once()
    harness.read(make_record(1))
    harness.answer(harness.sent[0][1], make_entry("m1"), make_entry("m0"))
    assert [result.source_offset for result in harness.commit().results] == [0]
    assert harness.scheduler.tally.entries_foreign == 1


def test_other_apps_rooms_and_games_are_other_gifts() -> None:
    """The same MsgId in another game is asked about on its own."""
    harness = Harness(api=say_consumed)
    harness.assign()
    harness.read(make_record(0, msg_id="m"), make_record(1, msg_id="m", game="another"))
    harness.run(1_000)
    assert sorted(result.source_offset for result in harness.results) == [0, 1]
    assert len({result.result_id for result in harness.results}) == 2


# --- records of one gift ------------------------------------------------------------------------


def test_a_later_record_of_a_pending_gift_shares_its_result() -> None:
    """The lowest offset is the source, and all offsets are answered in that same cut."""
    harness = asked_once()
    harness.read(make_record(1), make_record(2, msg_id="m0"))
    harness.answer(harness.sent[0][1], make_entry("m0"))
    cut = harness.commit()
    assert [result.source_offset for result in cut.results] == [0]
    assert cut.offsets[0].offset == 1
    assert decode_metadata(cut.offsets[0].metadata).answered == b"\x05"
    assert harness.scheduler.tally.records_shared == 1


def test_a_later_record_shares_a_result_that_is_decided_but_not_cut() -> None:
    """Until its cut a gift is still pending for its records."""
    harness = asked_once()
    harness.answer(harness.sent[0][1], make_entry("m0"))
    harness.read(make_record(1, msg_id="m0"))
    cut = harness.commit()
    assert ([result.source_offset for result in cut.results], cut.offsets[0].offset) == ([0], 2)


def test_a_record_after_the_cut_is_a_new_gift_with_the_same_result_id() -> None:
    """Also if the cut aborts: downstream keeps the first."""
    harness = asked_once()
    harness.answer(harness.sent[0][1], make_entry("m0"))
    harness.abort()
    harness.read(make_record(1, msg_id="m0"))
    harness.api = say_consumed
    harness.run(2_000)
    assert [result.source_offset for result in harness.results] == [0, 1]
    assert len({result.result_id for result in harness.results}) == 1


# --- cuts ---------------------------------------------------------------------------------------


def test_an_aborted_cut_is_said_again_with_the_next() -> None:
    """Results stay, bits stay, and nothing is said twice."""
    harness = asked_once()
    harness.read(make_record(1))
    harness.answer(harness.sent[0][1], make_entry("m0"))
    aborted = harness.abort()
    assert harness.scheduler.wants_cut()
    again = harness.commit()
    assert aborted.results == again.results
    assert aborted.offsets[0].offset == again.offsets[0].offset == 1
    assert not harness.scheduler.wants_cut()


def test_a_partition_revoked_while_its_cut_is_open_leaves_no_trace() -> None:
    """Whether it was committed is its successor's affair."""
    harness = asked_once()
    harness.answer(harness.sent[0][1], make_entry("m0"))
    cut = harness.cut()
    harness.handle(PartitionRevoked(0, 1), CutCommitted(cut.cut_id))
    assert (
        harness.scheduler.status(NOW_MS).partitions,
        harness.scheduler.wants_cut(),
        harness.scheduler.status(NOW_MS).pending_gifts,
    ) == ((), False, 0)


def test_an_abort_after_a_revocation_says_nothing_again() -> None:
    """The results are the successor's."""
    harness = asked_once()
    harness.answer(harness.sent[0][1], make_entry("m0"))
    cut = harness.cut()
    harness.handle(PartitionRevoked(0, 1), CutAborted(cut.cut_id))
    assert harness.scheduler.cut(harness.now_ms, harness.wall_ms) is None


def test_what_belongs_to_an_older_assignment_is_dropped() -> None:
    """Records, revocations and answers carry the epoch they belong to."""
    harness = asked_once()
    harness.handle(PartitionRevoked(0, 1))
    harness.assign(make_assigned(epoch=2, metadata=make_metadata(instance="pod-0")))
    harness.read(make_record(0), epoch=1)
    harness.handle(PartitionRevoked(0, 1))
    harness.answer(harness.sent[0][1], make_entry("m0"))
    status = harness.scheduler.status(harness.now_ms)
    assert (status.pending_gifts, status.requests_in_flight, len(status.partitions)) == (0, 0, 1)
    assert not harness.scheduler.wants_cut()


@pytest.mark.parametrize(
    "ending",
    [
        CheckAnswered(1, Answer(7, "too many")),
        CheckLost(1, Trouble.TRANSIENT, "reset"),
        CheckLost(1, Trouble.TRANSIENT, "closed", stale_connection=True),
        CheckNotWritten(1, "stopping"),
    ],
)
def test_a_check_that_ends_after_the_revocation_frees_what_it_held(ending: Ending) -> None:
    """Its slot at once; its gifts are somebody else's."""
    harness = asked_once()
    harness.handle(PartitionRevoked(0, 1), ending)
    status = harness.scheduler.status(harness.now_ms)
    assert (status.requests_in_flight, status.pending_gifts, status.scopes_in_trouble) == (0, 0, 0)


# --- leases -------------------------------------------------------------------------------------


def test_no_check_goes_out_before_the_assignment_is_committed() -> None:
    """Only a commit proves membership."""
    harness = Harness(api=say_consumed)
    harness.handle(make_assigned())
    harness.commits = False
    harness.read(make_record(0))
    harness.run(5_000)
    assert harness.sent == []
    harness.commit()
    assert len(harness.turn()) == 1


def test_a_lease_is_renewed_every_second_while_something_is_pending() -> None:
    """And never while nothing is: an idle process is silent."""
    harness = Harness(api=never_answer)
    harness.assign()
    harness.run(10_000)
    assert harness.cut_instants == [NOW_MS]
    assert harness.scheduler.next_wakeup() is None
    harness.read(make_record(0))
    harness.run(5_000)
    gaps = [b - a for a, b in itertools.pairwise(harness.cut_instants[1:])]
    assert gaps[:5] == [1_000] * 5


def test_checks_stop_when_the_lease_runs_out_and_go_on_with_its_renewal() -> None:
    """Three seconds after the last committed cut was made; late commits count from their making."""
    harness = Harness(api=say_absent)
    harness.assign()
    harness.read(make_record(0))
    harness.commits = False
    harness.run(10_000)
    assert harness.sent
    assert all(at_ms < NOW_MS + 3_000 for at_ms, _ in harness.sent)
    before = len(harness.sent)
    cut = harness.cut()
    harness.run(2_999)
    harness.handle(CutCommitted(cut.cut_id))
    harness.run(10_000)
    assert {NOW_MS + 3_000 + 10_000} == {
        check.write_before_ms for _, check in harness.sent[before:]
    }
    assert harness.sent[-1][0] == NOW_MS + 10_000 + 2_999


def test_a_check_may_be_written_until_the_lease_ends() -> None:
    """The instant travels with the check; a renewal does not lengthen it."""
    harness = asked_once()
    assert harness.sent[0][1].write_before_ms == NOW_MS + 3_000


def test_a_check_not_written_for_lack_of_a_lease_is_due_again_with_the_next() -> None:
    """It is no trouble of the API's: no back-off, and the gift was not asked about."""
    harness = Harness(rules=CheckRules(give_up_after_ms=60_000))
    harness.assign()
    harness.read(make_record(0))
    harness.run(300)
    harness.commits = False
    harness.run(2_800)
    harness.handle(CheckNotWritten(1, "the lease is over", lease_over=True))
    assert harness.turn() == []
    harness.commit()
    assert harness.only_check().msg_ids == ("m0",)
    assert harness.scheduler.status(harness.now_ms).scopes_in_trouble == 0


def test_a_check_that_could_not_be_written_is_tried_again_later() -> None:
    """No connection: the permit is free, and the room backs off."""
    harness = asked_once()
    harness.handle(CheckNotWritten(1, "connection refused"))
    assert harness.turn() == []
    harness.run(200)
    assert len(harness.sent) == 2
    assert harness.scheduler.tally.checks_unwritten == 1


# --- hand-over ----------------------------------------------------------------------------------


def first_check_after(metadata: PartitionMetadata) -> int:
    """How long a gift that is overdue waits for its first check after such an assignment."""
    harness = Harness(api=say_absent)
    harness.assign(make_assigned(metadata=metadata))
    harness.read(make_record(0, sent_at=WALL_MS - 60_000))
    harness.run(20_000)
    return harness.sent[0][0] - NOW_MS


@pytest.mark.parametrize(
    ("metadata", "wait_ms"),
    [
        pytest.param(make_metadata(drained=True), 1_006, id="drained"),
        pytest.param(make_metadata(), 8_000, id="somebody else, just now"),
        pytest.param(make_metadata(cut_wall_ms=WALL_MS - 6_000), 2_000, id="6 s ago"),
        pytest.param(make_metadata(instance="pod-0"), 1_006, id="our own name"),
    ],
)
def test_a_new_owner_waits_for_its_predecessors_requests(
    metadata: PartitionMetadata, wait_ms: int
) -> None:
    """Then, or 30 ms after arrival where there is nothing to wait for, it asks."""
    assert wait_ms == first_check_after(metadata)


def test_after_a_hard_hand_over_one_answer_frees_the_other_permits() -> None:
    """Until then the room has a single check in flight, and nineteen permits are unknown."""
    harness = Harness(rules=CheckRules(batch_size_max=1))
    harness.assign(make_assigned(metadata=make_metadata(instance="pod-0")))
    harness.read(*(make_record(n, sent_at=WALL_MS - 60_000) for n in range(30)))
    harness.run(1_100)
    [(_, probe)] = harness.sent
    harness.answer(probe, make_entry(probe.msg_ids[0], timestamp_ms=WALL_MS - 60_000))
    harness.run(1_005)
    assert len(harness.sent) == 1
    harness.run(1_000)
    assert len(harness.sent) == 1 + 4


def test_drained_is_written_only_when_nothing_is_on_its_way() -> None:
    """The successor's rooms then cool for one window only."""
    harness = asked_once()
    harness.handle(DrainStarted(frozenset({0})))
    said = [decode_metadata(harness.abort().offsets[0].metadata).drained]
    harness.answer(harness.sent[0][1])
    said.append(decode_metadata(harness.commit([0]).offsets[0].metadata).drained)
    assert said == [False, True]


def test_a_lost_check_keeps_a_partition_from_being_drained() -> None:
    """Its request may still travel."""
    harness = asked_once()
    harness.handle(DrainStarted(None), make_loss(harness.sent[0][1]))
    assert not decode_metadata(harness.commit().offsets[0].metadata).drained


def test_draining_stops_new_checks_and_still_takes_answers() -> None:
    """Other partitions go on."""
    harness = Harness()
    for partition in (0, 1):
        harness.assign(make_assigned(partition))
    harness.read(make_record(0))
    harness.run(300)
    assert harness.scheduler.in_flight_of(frozenset({0})) == 1
    harness.handle(DrainStarted(frozenset({0})))
    harness.read(make_record(1), make_record(2))
    harness.read(make_record(0, room_id="another"), partition=1)
    harness.answer(harness.sent[0][1], make_entry("m0"))
    harness.run(1_000)
    assert [(c.room_id, c.msg_ids) for _, c in harness.sent[1:]] == [("another", ("m0",))]
    assert [result.source_offset for result in harness.results] == [0]
    assert (
        harness.scheduler.in_flight_of(frozenset({0})),
        harness.scheduler.in_flight_of(None),
    ) == (0, 1)


# --- trouble ------------------------------------------------------------------------------------


def test_while_the_api_is_down_nobody_is_called_unconsumed() -> None:
    """For three time-outs; then every gift gets its right verdict right after it comes back."""
    harness = Harness(api=never_answer)
    harness.assign()
    rooms = [f"room{n}" for n in range(20)]
    harness.read(*(make_record(n, room_id=room) for n, room in enumerate(rooms)))
    harness.run(90_000)
    assert harness.results == []
    assert harness.scheduler.status(harness.now_ms).pending_gifts == 20

    def half_consumed(check: Check, now_ms: int) -> tuple[int, Ending]:
        """Every second room's gift was consumed while nobody could ask."""
        return say_consumed(check, now_ms) if int(check.room_id[4:]) % 2 else say_absent(check, 0)

    harness.api = half_consumed
    harness.run(3_000 + 8_000 + 100)
    verdicts = {result.sent.room_id: result.status for result in harness.results}
    expected = [Status.UNCONSUMED, Status.SUCCEEDED] * 10
    assert dict(zip(rooms, expected, strict=True)) == verdicts


def test_an_outage_is_probed_not_stormed() -> None:
    """A lone gift in a lone room: 1, 2, 4, 8, 8 … s between a time-out and the next check."""
    harness = Harness(api=never_answer)
    harness.assign()
    harness.read(make_record(0))
    harness.run(60_000)
    instants = [at_ms for at_ms, _ in harness.sent]
    waits = [b - a - 3_000 for a, b in itertools.pairwise(instants)]
    assert waits[:5] == [1_000, 2_000, 4_000, 8_000, 8_000]


def test_a_stale_connection_is_tried_again_at_once() -> None:
    """A reused connection was closed before the first byte: it says nothing about the server."""
    harness = asked_once()
    harness.handle(make_loss(harness.sent[0][1], stale_connection=True))
    assert harness.only_check().msg_ids == ("m0",)
    assert harness.scheduler.status(harness.now_ms).scopes_in_trouble == 0


def test_too_frequent_halves_the_rooms_permits() -> None:
    """Told by the vendor's code or by HTTP; Retry-After is honoured."""
    for ending in (
        CheckAnswered(1, Answer(7, "too many requests", retry_after_ms=9_000)),
        CheckLost(1, Trouble.RATE_LIMITED, "HTTP 429", retry_after_ms=9_000),
    ):
        harness = asked_once()
        asked_ms = harness.now_ms
        harness.handle(ending)
        harness.run(8_999)
        assert len(harness.sent) == 1
        harness.run(1)
        assert asked_ms + 9_000 == harness.sent[1][0]
        room = next(iter(harness.scheduler._limiter._rooms.values()))
        assert room.cap == 10


def test_a_games_trouble_is_reported_once_and_its_other_rooms_wait_too() -> None:
    """Somebody has to mend it; rooms of other games go on."""
    harness = Harness()
    harness.assign()
    harness.read(make_record(0))
    harness.run(300)
    harness.answer(harness.sent[0][1], code=7_202_001)
    harness.turn()
    expected = [ReportTrouble(Trouble.THIS_GAME, 7, "game", "Code 7202001: said")]
    assert expected == harness.told
    harness.read(make_record(1, room_id="b"), make_record(2, room_id="c", game="another"))
    harness.run(4_000)
    assert [check.mini_game_id for _, check in harness.sent[1:]] == ["another"]
    status = harness.scheduler.status(harness.now_ms)
    assert status.troubles == ("(7, 'game'): this_game: Code 7202001: said",)


def test_an_apps_trouble_is_reported_for_the_app() -> None:
    """No game is named: none of them can be asked about."""
    harness = asked_once(code=100_000_005)
    harness.turn()
    expected = [ReportTrouble(Trouble.CREDENTIALS, 7, None, "Code 100000005: said")]
    assert expected == harness.told


def test_a_success_ends_the_trouble() -> None:
    """The next gifts are asked about as if nothing had been."""
    harness = asked_once(code=1)
    harness.api = say_consumed
    harness.run(1_000)
    assert harness.scheduler.status(harness.now_ms).scopes_in_trouble == 0
    assert statuses(harness) == [Status.SUCCEEDED]


@pytest.mark.parametrize("in_answer", [True, False])
def test_retry_after_is_honoured_whatever_carries_it(*, in_answer: bool) -> None:
    """A transient code, or a gateway's 503."""
    harness = asked_once()
    asked_ms = harness.now_ms
    harness.handle(
        CheckAnswered(1, Answer(1, "busy", retry_after_ms=9_000))
        if in_answer
        else CheckLost(1, Trouble.TRANSIENT, "HTTP 503", retry_after_ms=9_000)
    )
    harness.run(20_000)
    assert asked_ms + 9_000 == harness.sent[1][0]


def test_a_signing_clock_that_is_set_right_is_no_trouble_for_people() -> None:
    """The next check is signed with the corrected clock; only if that fails they are told."""
    for mended in (True, False):
        harness = asked_once(code=100_000_004)
        harness.run(250)
        assert len(harness.sent) == 2
        harness.answer(harness.sent[1][1], code=0 if mended else 100_000_004)
        harness.turn()
        told = (
            []
            if mended
            else [ReportTrouble(Trouble.CONFIGURATION, 7, None, "Code 100000004: said")]
        )
        assert told == harness.told


# --- the wall clock, and gifts of other days ----------------------------------------------------


@pytest.mark.parametrize("dated", [True, False])
def test_while_the_wall_clock_is_in_doubt_only_a_date_proves_absence(*, dated: bool) -> None:
    """It has stepped by an hour: told once, shown, and told when it ends."""
    stepped_wall_ms = WALL_MS + 3_600_000

    def say(check: Check, now_ms: int) -> tuple[int, Ending]:
        date_wall_ms = now_ms - NOW_MS + stepped_wall_ms if dated else None
        return 10, CheckAnswered(check.check_id, Answer(0, "", date_wall_ms=date_wall_ms))

    harness = Harness()
    harness.assign()
    harness.start_wall_ms = stepped_wall_ms
    harness.read(make_record(0))
    fault = "the wall clock has stepped by +3600.0 s"
    assert harness.scheduler.status(harness.now_ms).faults["wall_clock"] == fault
    harness.api = say
    harness.run(60_000)
    if dated:
        assert statuses(harness) == [Status.UNCONSUMED]
    else:
        assert statuses(harness) == []
        assert harness.scheduler.tally.clauses_open["our_clock"] > 0
    harness.start_wall_ms = WALL_MS
    harness.read(make_record(1))
    harness.turn()
    expected = [ReportFault(Fault.WALL_CLOCK, detail) for detail in (fault, None)]
    assert expected == harness.told[:2]


DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("age_ms", "days"),
    [
        (29 * DAY_MS - 60_000, None),
        (29 * DAY_MS + 1_000, 31),
        (60 * DAY_MS + 60_000, 62),
        (400 * DAY_MS, 90),
    ],
)
def test_a_check_looks_back_as_far_as_its_oldest_gift(age_ms: int, days: int | None) -> None:
    """A day further than it must; by the vendor's own 30 days where they suffice."""
    harness = Harness(api=say_absent)
    harness.assign()
    harness.read(make_record(0), make_record(1, sent_at=WALL_MS - age_ms, timestamp_ms=WALL_MS))
    harness.run(5_000)
    assert {days} == {check.duration_days for _, check in harness.sent}


@pytest.mark.parametrize(
    ("age_ms", "status"),
    [
        (88 * DAY_MS, Status.UNCONSUMED),
        (90 * DAY_MS, Status.UNVERIFIED),
        (WALL_MS - WALL_MS // 1_000, Status.UNCONSUMED),
    ],
)
def test_silence_about_a_gift_that_is_too_old_proves_nothing(age_ms: int, status: Status) -> None:
    """It is asked about all the same. A sender's seconds are not fifty years."""
    harness = Harness(api=say_absent)
    harness.assign()
    harness.read(make_record(0, sent_at=WALL_MS - age_ms, timestamp_ms=WALL_MS))
    harness.run(60_000)
    [result] = harness.results
    assert (status, status is Status.UNVERIFIED) == (result.status, result.reason == TOO_OLD)
    assert harness.sent


def test_a_gift_that_is_too_old_may_still_be_answered() -> None:
    """An entry is an entry."""
    harness = Harness()
    harness.assign()
    sent_at = WALL_MS - 90 * DAY_MS
    harness.read(make_record(0, sent_at=sent_at))
    harness.run(300)
    harness.answer(harness.sent[0][1], make_entry(timestamp_ms=sent_at))
    harness.run(100)
    assert statuses(harness) == [Status.SUCCEEDED]


# --- giving up ----------------------------------------------------------------------------------

IMPATIENT = CheckRules(give_up_after_ms=60_000)


def test_a_gift_is_given_up_with_the_last_error_as_its_reason() -> None:
    """After an hour, or what is configured, without an answer that decides."""
    harness = Harness(rules=IMPATIENT, api=never_answer)
    harness.assign()
    harness.read(make_record(0))
    harness.run(75_000)
    [result] = harness.results
    assert (
        result.status,
        result.synthetic,
        result.reason,
        result.request_id,
    ) == (Status.UNVERIFIED, True, "gave up: no answer within 3 s", None)
    assert result.decided_at >= WALL_MS + 60_000


def test_a_gift_no_check_of_which_was_written_is_never_given_up() -> None:
    """The API cannot even be connected to: nobody has asked."""

    def refuse(check: Check, now_ms: int) -> tuple[int, Ending]:
        """Nothing listens."""
        del now_ms
        return 1, CheckNotWritten(check.check_id, "connection refused")

    harness = Harness(rules=IMPATIENT, api=refuse)
    harness.assign()
    harness.read(make_record(0))
    harness.run(600_000)
    assert harness.results == []
    harness.api = never_answer
    harness.run(20_000)
    assert statuses(harness) == [Status.UNVERIFIED]


def test_a_gift_too_old_when_it_is_first_seen_is_asked_about_once() -> None:
    """After a long down time; an answer then decides as always."""
    for api, status in (
        (never_answer, Status.UNVERIFIED),
        (say_absent, Status.UNCONSUMED),
    ):
        harness = Harness(rules=IMPATIENT, api=api)
        harness.assign()
        harness.read(make_record(0, sent_at=WALL_MS - 10**9))
        harness.run(5_000)
        assert (1, [status]) == (len(harness.sent), statuses(harness))


def test_with_give_up_after_zero_nothing_is_ever_given_up() -> None:
    """Zero means never."""
    harness = Harness(rules=CheckRules(give_up_after_ms=0), api=never_answer)
    harness.assign()
    harness.read(make_record(0))
    harness.run(4 * 3_600_000)
    assert (harness.results, harness.scheduler.status(harness.now_ms).pending_gifts) == ([], 1)


@pytest.mark.parametrize(
    ("answer", "clause", "reason"),
    [
        (Answer(0, "", complete=False), "incomplete", "gave up: the answer was malformed"),
        (
            Answer(0, "", date_wall_ms=0),
            "server_clock",
            "gave up: the server's Date lies before the deadline",
        ),
    ],
)
def test_answers_that_never_prove_anything_end_in_unverified(
    answer: Answer, clause: str, reason: str
) -> None:
    """For ever malformed, or from a clock that stands still: never UNCONSUMED."""

    def say(check: Check, now_ms: int) -> tuple[int, Ending]:
        """Always the same."""
        del now_ms
        return 10, CheckAnswered(check.check_id, answer)

    harness = Harness(rules=CheckRules(give_up_after_ms=35_000), api=say)
    harness.assign()
    harness.read(make_record(0))
    harness.run(34_999)
    assert harness.results == []
    harness.run(3_000)
    assert [(Status.UNVERIFIED, reason)] == [(r.status, r.reason) for r in harness.results]
    assert harness.scheduler.tally.clauses_open[clause] > 0
    assert harness.scheduler.tally.answers_incomplete == (
        0 if answer.complete else len(harness.sent)
    )


# --- limits and figures -------------------------------------------------------------------------


def test_intake_pauses_at_pending_gifts_max_and_resumes_when_a_fifth_is_decided() -> None:
    """The pause is told, with its reason, and so is its end."""
    pause = PauseIntake(0, 1, "limits.pending_gifts_max: full")
    harness = Harness(rules=CheckRules(pending_gifts_max=10), api=say_consumed)
    harness.assign()
    harness.read(*(make_record(n) for n in range(10)))
    harness.turn()
    assert [pause] == harness.told
    assert harness.scheduler.status(harness.now_ms).partitions[0].paused_for == (Limit.PENDING,)
    harness.run(1_000)
    assert [pause, ResumeIntake(0, 1)] == harness.told


def test_nothing_is_kept_for_what_is_done() -> None:
    """No window, no room, no timer, no trouble once everything is committed and cooled."""
    harness = Harness(api=say_consumed)
    harness.assign()
    harness.read(*(make_record(n, room_id=f"room{n % 9}") for n in range(90)))
    harness.run(3_000)
    harness.turn()
    status = harness.scheduler.status(harness.now_ms)
    assert (
        status.pending_gifts,
        status.windows,
        status.rooms,
        status.requests_in_flight,
        status.windows_queued,
        status.scopes_in_trouble,
    ) == (0, 0, 0, 0, 0, 0)
    assert harness.scheduler.next_wakeup() is None


def test_wrong_keys_and_a_room_in_two_partitions_are_counted_and_told_once() -> None:
    """One room must have one owner for the limit to hold; where the first of them is, is said."""
    harness = Harness()
    for partition in (0, 1):
        harness.assign(make_assigned(partition))
    harness.read(make_record(0, keyed_by_room=False), partition=0)
    harness.read(make_record(0), partition=1)
    tally = harness.scheduler.tally
    assert (tally.keys_foreign, tally.rooms_in_two_partitions, tally.gifts_read) == (1, 1, 2)
    detail = (
        "partition 0, offset 0, room 'room': the key is not the room id; key gift-sent by room_id,"
        " murmur2"
    )
    assert detail == harness.scheduler.status(harness.now_ms).faults["input_keys"]
    harness.run(1_000)
    assert [ReportFault(Fault.INPUT_KEYS, detail)] == harness.told


def test_answers_that_prove_nothing_are_backed_off_like_errors() -> None:
    """A gift past its deadline is not asked for 20 times a second while answers are malformed."""

    def say_nothing_useful(check: Check, _now_ms: int) -> tuple[int, CheckAnswered]:
        return 5, CheckAnswered(check.check_id, Answer(0, "ok", complete=False))

    harness = Harness(api=say_nothing_useful)
    harness.assign()
    harness.read(make_record(0, sent_at=WALL_MS - 60_000))
    harness.run(10_000)
    assert 6 >= len(harness.sent)


def test_when_an_apps_trouble_ends_its_other_rooms_ask_at_once() -> None:
    """They do not sit out the wait that began while the credentials were wrong."""
    mended_ms = NOW_MS + 20_000

    def refuse_until_mended(check: Check, now_ms: int) -> tuple[int, CheckAnswered]:
        code = 0 if now_ms >= mended_ms else 3
        return 5, CheckAnswered(check.check_id, Answer(code, "authentication failed"))

    harness = Harness(api=refuse_until_mended)
    harness.assign()
    harness.read(*(make_record(n, room_id=f"room-{n}") for n in range(3)))
    harness.run(60_000)
    first_success_ms = min(at for at, _ in harness.sent if at >= mended_ms)
    rooms = {
        check.room_id
        for at, check in harness.sent
        if at <= first_success_ms + 100 and at >= mended_ms
    }
    assert {"room-0", "room-1", "room-2"} == rooms


def test_a_lease_that_ran_out_is_not_what_a_gift_is_given_up_for() -> None:
    """The reason tells what the API said last, not that a check was not written."""
    harness = Harness(rules=CheckRules(give_up_after_ms=40_000))
    harness.assign()
    harness.read(make_record(0, sent_at=WALL_MS - 39_000))
    harness.run(200)
    [(_, first)] = harness.sent
    harness.handle(CheckLost(first.check_id, Trouble.TRANSIENT, "HTTP 503"))
    harness.run(1_500)
    (_, second) = harness.sent[-1]
    harness.handle(CheckNotWritten(second.check_id, "the lease is over", lease_over=True))
    harness.run(200)
    assert ["gave up: HTTP 503"] == [result.reason for result in harness.results]
