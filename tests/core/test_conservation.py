"""Whatever happens: nothing lost, nothing twice, nothing false, never above the limit."""

import secrets
from collections import Counter

import pytest

from consumer.core.model import GiftRead, Status
from tests.core.world import World, identity_of

FRESH_SEED = secrets.randbelow(2**32)


@pytest.mark.parametrize("seed", [*range(1, 6), pytest.param(FRESH_SEED, id="fresh")])
def test_every_record_has_exactly_one_answer_through_all_trouble(seed: int) -> None:
    """Aborts, losses, revocations, deaths and outages; the log ends up answered to its end."""
    print(f"seed {seed}")
    world = World(seed)
    world.run(troubled_ms=30_000, calm_ms=400_000)
    records = [
        (number, record) for number, topic in enumerate(world.topics) for record in topic.records
    ]
    sources = [(result.source_partition, result.source_offset) for result in world.results]
    told = Counter(result.result_id for result in world.results)
    sent = Counter(identity_of(one).result_id() for _, one in records if isinstance(one, GiftRead))
    refused = {(number, one.offset) for number, one in records if not isinstance(one, GiftRead)}

    assert [topic.records[-1].offset + 1 for topic in world.topics] == [
        topic.committed for topic in world.topics
    ]
    assert refused == world.dead_letters
    assert len(set(sources)) == len(sources)
    assert sent.keys() == told.keys()
    assert all(count <= sent[result_id] for result_id, count in told.items())
    assert len(records) > 300
    fates = {who.result_id(): consumed_ms for who, consumed_ms in world.fates.items()}
    for result in world.results:
        expected = {Status.UNCONSUMED if fates[result.result_id] is None else Status.SUCCEEDED}
        if result.sent.msg_id in world.poisoned:  # until all is calm
            expected.add(Status.UNVERIFIED)
        assert result.status in expected
    assert world.poisoned
    assert world.requests_a_second_max() <= 20
