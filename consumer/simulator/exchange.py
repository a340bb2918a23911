"""One arrival from beginning to end: counted, struck by a fault or answered, recorded.

All of it happens in one step, at the instant of the arrival: what an answer says is what was
true then, however late it leaves. Requests that a gateway's fault answers count as arrivals and
against the limit too, for all the server knows they came.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

from consumer.simulator.api import Contract, VendorApi
from consumer.simulator.arrivals import Arrivals
from consumer.simulator.clock import VendorClock
from consumer.simulator.faults import ON_ARRIVAL, Fault, Faults, Kind
from consumer.simulator.limit import RoomLimit
from consumer.simulator.request import Request
from consumer.simulator.truth import Truth, TruthSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """Everything that can be chosen at the start.

    `apps` maps AppId to ServerSecret. `games` are the games there are, None for any; `hosts` the
    accepted `Host` headers, None for any. `room_requests_per_second_max` is the vendor's limit,
    None for none. `adopt_unknown`: a gift becomes known when a check first asks for it.
    `clock_offset_ms` is how far the vendor's clock is ahead, as its `Date` and its judgement of
    signatures show it. `arrivals_kept_max` bounds the record, None keeps all. `seed` is for the
    faults; that of the fates is in `truth`.
    """

    apps: Mapping[int, str]
    apps_not_activated: frozenset[int] = frozenset()
    games: frozenset[str] | None = None
    hosts: frozenset[str] | None = None
    room_requests_per_second_max: int | None = 20
    truth: TruthSettings = field(default_factory=TruthSettings)
    adopt_unknown: bool = False
    faults: tuple[Fault, ...] = ()
    clock_offset_ms: int = 0
    arrivals_kept_max: int | None = None
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, still without its `Date`."""

    status: int
    content_type: str
    body: bytes
    retry_after: str | None = None


class Silence(Enum):
    """What a client gets instead of an answer."""

    HANG = "hang"
    RESET = "reset"


class Simulator:
    """The simulated API without its sockets.

    `truth`, `faults` and `arrivals` are there to be used: gifts are made known, faults set and
    promises judged through them, also while it runs. So is `clock_offset_ms`.
    """

    def __init__(
        self, settings: SimulatorSettings, *, clock_us: Callable[[], int] | None = None
    ) -> None:
        self.truth = Truth(settings.truth)
        self.faults = Faults(settings.seed, settings.faults)
        self.arrivals = Arrivals(settings.arrivals_kept_max)
        self.clock_us = clock_us or VendorClock()
        self.clock_offset_ms = settings.clock_offset_ms
        self._limit = RoomLimit(settings.room_requests_per_second_max)
        self._api = VendorApi(
            Contract(
                apps=settings.apps,
                apps_not_activated=settings.apps_not_activated,
                games=settings.games,
                hosts=settings.hosts,
                adopt_unknown=settings.adopt_unknown,
            ),
            self.truth,
        )

    def arrive(self, request: Request) -> Reply | Silence:
        """Take a request in, now, and say what its client gets."""
        now_us = self.clock_us()
        request_id = self.arrivals.next_request_id()
        over_limit = bool(request.room_id) and self._limit.arrive(
            (request.app_id, request.room_id, request.action), now_us
        )
        fault = self.faults.strikes(request, ON_ARRIVAL)
        code: int | None = None
        reply: Reply | Silence
        if fault is None or fault.kind is Kind.CODE:
            code, document = self._api.answer(
                request,
                request_id,
                now_us // 1000,
                clock_offset_ms=self.clock_offset_ms,
                over_limit=over_limit,
                forced_code=None if fault is None else fault.code,
            )
            reply = Reply(HTTPStatus.OK, "application/json", document)
        else:
            reply = _instead(fault)
        self.arrivals.record(request, now_us, code)
        return reply


def _instead(fault: Fault) -> Reply | Silence:
    """What a client gets when the vendor's program does not answer."""
    if fault.kind is Kind.STATUS:
        page = f"<html><body><h1>{fault.status}</h1>a gateway says so</body></html>\n"
        return Reply(fault.status, "text/html", page.encode(), fault.retry_after)
    return Silence.HANG if fault.kind is Kind.HANG else Silence.RESET
