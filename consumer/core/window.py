"""A room window: the pending gifts of one room and game, and when to ask about them (design §6).

Requests are scarce, ids are cheap, so a check carries all waiting gifts, and the only question is
*when*. The rule: ask when the waiting collected since the last check is worth a request.

A gift that waits collects at the rate of the chance that it is already consumed and we do not
know it: after `t` unknown milliseconds h(age)·t²/2 gift-milliseconds, with h the hazard of its age
class. Past deadline + settle it collects one millisecond per millisecond: its verdict is due, only
the proof is missing. Gifts in flight collect nothing.

To know the window's total without touching each gift, gifts are counted per age class by three
exact integer sums (n, Σs, Σs²; s = the instant since which we do not know). A gift changes class
at most `AGE_CLASSES` times in its life; one heap knows who is next.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from consumer.core.gift import Gift
from consumer.core.hazard import AGE_BORDERS_MS, AGE_CLASSES, Hazard, age_class
from consumer.core.lease import Lease
from consumer.core.model import WindowKey

PAST_PROOF: Final = AGE_CLASSES
"""The class, after all ages, of gifts whose absence a check would prove."""

PATIENCE_MS: Final = 2_000
"""When more gifts wait than fit a check, the likeliest go first; but one that has waited for
(0.42 × this) is as urgent as a new one after 100 ms, so none starves."""


class _Sums:
    """n, Σs and Σs² of the waiting gifts of one class, exact whatever the machine's uptime."""

    __slots__ = ("count", "since", "since_squared")

    def __init__(self) -> None:
        self.count = 0
        self.since = 0
        self.since_squared = 0

    def add(self, since_ms: int, count: int) -> None:
        """Enter so many gifts of which nothing is known since then; negative: take them out."""
        since = count * since_ms
        self.count += count
        self.since += since
        self.since_squared += since * since_ms


class Window:
    """The pending gifts of one room and game; owns their waiting and nothing of their sending.

    `due_ms` belongs to the dispatcher: when this window stands in its heap; `queued_ms` to `slots`:
    since when it waits for one, None: it does not. `failing_since_ms` and
    `fails_alone` belong to `overdue`: since when, and whether only, this window's checks fail.
    """

    __slots__ = (
        "_borders",
        "_classes",
        "_gifts",
        "_order",
        "_proofs",
        "_unasked",
        "due_ms",
        "failing_since_ms",
        "fails_alone",
        "key",
        "last_error",
        "lease",
        "open",
        "queued_ms",
        "room",
        "unasked_count",
        "waiting_count",
    )

    def __init__(self, key: WindowKey, lease: Lease) -> None:
        self.key = key
        self.room = key.room
        self.lease = lease
        self.open = True
        self.queued_ms: int | None = None
        self.due_ms: int | None = None
        self.last_error: str | None = None
        self.failing_since_ms: int | None = None
        self.fails_alone = False
        self.waiting_count = 0
        self.unasked_count = 0
        self._gifts: dict[str, tuple[Gift, ...]] = {}
        self._classes: dict[int, _Sums] = {}
        self._borders: list[tuple[int, int, Gift]] = []
        self._proofs: list[tuple[int, int, Gift]] = []
        self._unasked: deque[Gift] = deque()
        self._order = itertools.count()

    def __iter__(self) -> Iterator[Gift]:
        """All pending gifts, in order of arrival of their MsgIds."""
        return itertools.chain.from_iterable(self._gifts.values())

    def __bool__(self) -> bool:
        return bool(self._gifts)

    def find(self, msg_id: str, sent_at: int) -> Gift | None:
        """The pending gift of this MsgId and Timestamp, if there is one."""
        for gift in self._gifts.get(msg_id, ()):
            if gift.read.sent.sent_at == sent_at:
                return gift
        return None

    def oldest_waiting(self) -> Gift | None:
        """The gift that waits and arrived first; passes over those in flight."""
        return next((gift for gift in self if not gift.in_flight), None)

    def oldest_unasked(self) -> Gift | None:
        """The first of those that no check has ever held."""
        while self._unasked and (self._unasked[0].asked or self._unasked[0].decided):
            self._unasked.popleft()
        return self._unasked[0] if self._unasked else None

    def add(self, gift: Gift, now_ms: int) -> None:
        """A gift has arrived and waits."""
        self.oldest_unasked()  # so that nothing decided is kept for long
        self._unasked.append(gift)
        msg_id = gift.read.sent.msg_id
        self._gifts[msg_id] = (*self._gifts.get(msg_id, ()), gift)
        heapq.heappush(self._proofs, (gift.proof_ms, next(self._order), gift))
        self._classify(gift, now_ms)
        self._count(gift, 1)

    def remove(self, gift: Gift) -> None:
        """A gift in flight has its verdict."""
        assert gift.in_flight, "a verdict without a check"
        gift.decided = True
        msg_id = gift.read.sent.msg_id
        twins = tuple(twin for twin in self._gifts[msg_id] if twin is not gift)
        if twins:
            self._gifts[msg_id] = twins
        else:
            del self._gifts[msg_id]

    def withdraw(self, gift: Gift) -> None:
        """A waiting gift gets its verdict now, by no answer: as if its check had just ended."""
        assert not gift.in_flight, "withdrawn while a check asks for it"
        self._count(gift, -1)
        gift.in_flight = True

    def take(self, count_max: int, hazard: Hazard, now_ms: int) -> list[Gift]:
        """Put up to `count_max` waiting gifts in flight, the most urgent where not all fit."""
        gifts = [gift for gift in self if not gift.in_flight]
        if len(gifts) > count_max:
            gifts = heapq.nlargest(count_max, gifts, key=lambda g: _urgency(g, hazard, now_ms))
            for gift in gifts:
                self._count(gift, -1)
        else:  # nobody is left, so nothing has to be subtracted
            self._classes.clear()
            self.waiting_count = self.unasked_count = 0
        for gift in gifts:
            gift.in_flight = True
        return gifts

    def give_back(self, gifts: Iterable[Gift], since_ms: int | None) -> None:
        """Gifts whose check has ended without a verdict wait again.

        `since_ms` is when that check was sent, if it was answered: until then nothing is unknown.
        Most then have that in common, and are entered into the sums by class, not one by one.
        """
        counts: dict[int, int] = {}
        for gift in gifts:
            gift.in_flight = False
            if since_ms is not None and gift.since_ms < since_ms:
                gift.since_ms = since_ms
            if gift.since_ms == since_ms and gift.age_class != PAST_PROOF:
                self.unasked_count += not gift.asked
                counts[gift.age_class] = counts.get(gift.age_class, 0) + 1
            else:
                self._count(gift, 1)
        for index, count in counts.items():
            self._enter(index, since_ms or 0, count)

    def has_new_proof(self, now_ms: int) -> bool:
        """Whether a pending gift has come to deadline + settle since the last `advance`."""
        return bool(self._proofs) and self._proofs[0][0] <= now_ms

    def advance(self, now_ms: int) -> None:
        """Move every gift that has grown past a class border by `now_ms` (inclusive)."""
        while self._borders and (self._borders[0][0] <= now_ms or self._borders[0][2].decided):
            _, _, gift = heapq.heappop(self._borders)
            if gift.decided:
                continue
            if gift.in_flight:
                self._classify(gift, now_ms)
                continue
            self._count(gift, -1)
            self._classify(gift, now_ms)
            self._count(gift, 1)
        while self._proofs and (self._proofs[0][0] <= now_ms or self._proofs[0][2].decided):
            heapq.heappop(self._proofs)

    def ask_at(self, hazard: Hazard, price_ms: float, now_ms: int) -> int | None:
        """When to ask or to look again; `advance` must have seen `now_ms`.

        The least of: the instant at which the collected waiting reaches `price_ms`, and the next
        class border of a pending gift, deadline + settle among them. Where the hazard is falling
        only the latter: past any other border waiting only collects more slowly, so that it is
        early enough to look again at the instant found here. None: nothing waits.
        """
        ask_ms = self.reaches_at(hazard, price_ms, now_ms)
        if ask_ms is None or ask_ms == now_ms:
            return ask_ms
        borders = self._proofs if hazard.falling else self._borders
        return min(ask_ms, borders[0][0]) if borders else ask_ms

    def reaches_at(self, hazard: Hazard, price_ms: float, now_ms: int) -> int | None:
        """When the collected waiting reaches `price_ms` if no gift changes its class until then.

        As if those who have grown past a border since the last `advance` had not. None: nothing
        waits.
        """
        if not self.waiting_count:
            return None
        have, speed, growth = self._polynomial(hazard, now_ms)
        if have >= price_ms:
            return now_ms
        missing = price_ms - have
        # growth·x² + speed·x = missing, in the form that stays exact when growth is tiny
        wait_ms = 2 * missing / (speed + math.sqrt(speed * speed + 4 * growth * missing))
        return now_ms + math.ceil(wait_ms)

    def collected(self, hazard: Hazard, now_ms: int) -> float:
        """The waiting collected by now, in gift-milliseconds, by the classes of `advance`."""
        return self._polynomial(hazard, now_ms)[0]

    def _polynomial(self, hazard: Hazard, now_ms: int) -> tuple[float, float, float]:
        """c, b, a of the waiting collected by now + x: c + b·x + a·x²."""
        have = speed = growth = 0.0
        for index, sums in self._classes.items():
            waited = sums.count * now_ms - sums.since
            if index == PAST_PROOF:
                have += waited
                speed += sums.count
                continue
            rate = hazard.rates_per_ms[index]
            squared = now_ms * (waited - sums.since) + sums.since_squared
            have += rate * squared / 2
            speed += rate * waited
            growth += rate * sums.count / 2
        return have, speed, growth

    def _classify(self, gift: Gift, now_ms: int) -> None:
        """Set a gift's class and remember its next border; it must be in no sums."""
        if now_ms >= gift.proof_ms:
            gift.age_class = PAST_PROOF
            return
        gift.age_class = age_class(now_ms - gift.start_ms)
        border_ms = gift.proof_ms
        if gift.age_class < len(AGE_BORDERS_MS):
            border_ms = min(border_ms, gift.start_ms + AGE_BORDERS_MS[gift.age_class])
        heapq.heappush(self._borders, (border_ms, next(self._order), gift))

    def _count(self, gift: Gift, sign: int) -> None:
        """Enter a gift into the sums of its class, or take it out."""
        self.unasked_count += 0 if gift.asked else sign
        # Past deadline + settle waiting begins there, however long ago the last answer was.
        overdue = gift.age_class == PAST_PROOF
        since_ms = max(gift.since_ms, gift.proof_ms) if overdue else gift.since_ms
        self._enter(gift.age_class, since_ms, sign)

    def _enter(self, index: int, since_ms: int, count: int) -> None:
        """Enter so many gifts into the sums of a class, or take them out."""
        self.waiting_count += count
        sums = self._classes.get(index)
        if sums is None:
            sums = self._classes[index] = _Sums()
        sums.add(since_ms, count)
        if not sums.count:
            del self._classes[index]


def _urgency(gift: Gift, hazard: Hazard, now_ms: int) -> tuple[bool, bool, float]:
    """Those whose absence would be proven first, then by chance, then by patience (design §6).

    Of the former those never asked about go first: the others failed, and may fail for ever.
    """
    waited_ms = now_ms - gift.since_ms
    if gift.age_class == PAST_PROOF:
        return True, not gift.asked, waited_ms
    chance = hazard.rates_per_ms[gift.age_class] * waited_ms
    return False, False, chance + (waited_ms / PATIENCE_MS) ** 2
