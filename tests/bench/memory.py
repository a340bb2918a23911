"""What a pending gift takes: resident memory from 0 to 300,000 of them, decoded from 200 bytes each.

`python -m tests.bench.memory` prints KiB for each gift. The core and the codec alone; a gift is
everything that is kept for it, from its strings to its places in heaps and maps.
"""

import gc
import os
from collections.abc import Iterator
from typing import Final

from consumer.adapters.avro import AvroCodec, encode_sent
from consumer.core.learning import LearnedHazards
from consumer.core.messages import CutCommitted, PartitionAssigned, RecordsRead
from consumer.core.model import CheckRules, GiftRead, GiftSent
from consumer.core.scheduler import Scheduler
from tests.bench.usage import usage_of

APP_ID: Final = 7
ROOMS: Final = 2_000
GIFTS: Final = 300_000
NOW_MS: Final = 1_000_000
WALL_MS: Final = 1_700_000_000_000


def gift(number: int) -> GiftSent:
    """A gift-sent event whose value takes 200 bytes."""
    room = number % ROOMS
    return GiftSent(
        room_id=f"room-{room:04}",
        mini_game_id=f"game-{room % 5}",
        msg_id=f"gift-{number:08}-{'m' * 20}",
        sent_at=WALL_MS + number,
        app_id=APP_ID,
        user_id=f"user-{number % 10_000:08}-{'u' * 36}",
        gift_id="rose-gift-of-spring",
        receiver_id=f"host-{room:06}-{'h' * 36}",
        value=5_200_000,
        num=3,
    )


def batches(first: int, end: int) -> Iterator[RecordsRead]:
    """These gifts as the Kafka thread hands them over, one room after the other."""
    codec = AvroCodec(frozenset({APP_ID}))
    for begin in range(first, end, ROOMS):
        records = [_read(codec, offset) for offset in range(begin, begin + ROOMS)]
        yield RecordsRead(0, 1, tuple(records), begin + ROOMS)


def _read(codec: AvroCodec, offset: int) -> GiftRead:
    sent = gift(offset)
    record = codec.decode(
        offset=offset,
        timestamp_ms=sent.sent_at,
        key=sent.room_id.encode(),
        value=encode_sent(sent),
        headers=(),
    )
    assert isinstance(record, GiftRead)
    return record


def kib_per_gift() -> float:
    """Resident memory for each pending gift, in KiB, after a collection."""
    core = Scheduler(CheckRules(), instance="bench", hazards=LearnedHazards(), jitter=lambda: 0.0)
    core.handle(PartitionAssigned(0, 1, 0, 0, None), NOW_MS, WALL_MS)
    cut = core.cut(NOW_MS, WALL_MS)
    assert cut is not None
    core.handle(CutCommitted(cut.cut_id), NOW_MS, WALL_MS)
    began_mib = 0.0
    for batch in batches(0, GIFTS + ROOMS):
        core.handle(batch, NOW_MS, WALL_MS + batch.next_offset)
        if not began_mib:  # the first gift of each room has made the room's own objects
            gc.collect()
            began_mib = usage_of(os.getpid()).resident_mib
    gc.collect()
    return (usage_of(os.getpid()).resident_mib - began_mib) * 1024 / GIFTS


if __name__ == "__main__":
    print(round(kib_per_gift(), 3))
