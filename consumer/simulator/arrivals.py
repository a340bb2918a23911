"""The record of every request that reached the simulator.

It is what the promises are judged by: the limit ("never 21 in any half-open second, as the
server sees it") and the verdicts ("unconsumed when the deciding check arrived"). An arrival is
recorded when the server gets the request, not when the client wrote it; latency on the way in
and stalls lie between. One arrival takes about 250 bytes and 8 for each id.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import islice
from sys import intern
from typing import Final, NamedTuple

from consumer.simulator.limit import SECOND_US
from consumer.simulator.request import CHECK, Request

_REQUEST_ID: Final = "sim-"


class Arrival(NamedTuple):
    """One request, as far as it could be read, and what became of it.

    `app_id` 0 and empty texts stand for what could not be read. `code` is None if no answer of
    the vendor's was given: the request hung, was reset, or a gateway answered.
    """

    request_id: str
    time_us: int
    app_id: int
    room_id: str
    mini_game_id: str
    action: str
    msg_ids: tuple[str, ...]
    code: int | None

    @property
    def wall_ms(self) -> int:
        """When it arrived, as truth and answers count: milliseconds, rounded down."""
        return self.time_us // 1000


class Arrivals:
    """All arrivals in order, or the last `kept_max` of them."""

    def __init__(self, kept_max: int | None = None) -> None:
        self._kept: deque[Arrival] = deque(maxlen=kept_max)
        self._count = 0
        self._checks_of: defaultdict[tuple[int, str, str, str], list[Arrival]] = defaultdict(list)
        self._indexed = 0

    @property
    def count(self) -> int:
        """How many requests arrived, those no longer kept included."""
        return self._count

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self._kept)

    def next_request_id(self) -> str:
        """The `RequestId` of the answer to the request that is recorded next."""
        return f"{_REQUEST_ID}{self._count}"

    def record(self, request: Request, time_us: int, code: int | None) -> Arrival:
        """Add what arrived; its texts are interned, for they come again and again."""
        arrival = Arrival(
            self.next_request_id(),
            time_us,
            request.app_id,
            intern(request.room_id),
            intern(request.mini_game_id),
            request.action,
            tuple(map(intern, request.msg_ids)),
            code,
        )
        self._kept.append(arrival)
        self._count += 1
        return arrival

    def by_request_id(self, request_id: str) -> Arrival | None:
        """The arrival that was answered with this `RequestId`, if it is still kept."""
        number = request_id.removeprefix(_REQUEST_ID)
        if not (request_id.startswith(_REQUEST_ID) and number.isdecimal()):
            return None
        position = int(number) - (self._count - len(self._kept))
        return self._kept[position] if 0 <= position < len(self._kept) else None

    def checks_of(
        self, app_id: int, room_id: str, mini_game_id: str, msg_id: str
    ) -> tuple[Arrival, ...]:
        """Every check that asked for this gift, in order of arrival.

        The first call builds an index, later ones bring it up to date; not for a record that
        forgets.
        """
        if self._kept.maxlen is not None:
            raise ValueError("checks_of needs a record that keeps all arrivals")
        for arrival in islice(self._kept, self._indexed, None):
            if arrival.action == CHECK:
                room = (arrival.app_id, arrival.room_id, arrival.mini_game_id)
                for asked in dict.fromkeys(arrival.msg_ids):
                    self._checks_of[(*room, asked)].append(arrival)
        self._indexed = len(self._kept)
        return tuple(self._checks_of.get((app_id, room_id, mini_game_id, msg_id), ()))

    def room_requests_per_second_max(self, action: str = CHECK) -> int:
        """Most arrivals of one action in any half-open second of any room, refused ones too."""
        times_us: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for arrival in self._kept:
            if arrival.action == action and arrival.room_id:
                times_us[arrival.app_id, arrival.room_id].append(arrival.time_us)
        return max(map(_most_in_a_second, times_us.values()), default=0)


def _most_in_a_second(times_us: list[int]) -> int:
    """Most of these ascending instants in any [t, t + 1 s)."""
    most = oldest = 0
    for newest, time_us in enumerate(times_us):
        while time_us - times_us[oldest] >= SECOND_US:
            oldest += 1
        most = max(most, newest - oldest + 1)
    return most
