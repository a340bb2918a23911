"""Trouble on demand: what goes wrong, for whom, and how often.

A fault is a value; the set of faults that hold at a time can be changed while the simulator
runs, from the same process or over HTTP (`server`). Each strikes only the requests that it
selects, and of these a share drawn from a seed. Latencies add up; of the other kinds the first
that strikes decides.

    outage        the connection is reset, the request never reaches the server: no arrival
    latency_in    it arrives `delay_ms` + up to `jitter_ms` late, even if the client has gone
    stall         it waits until the fault is taken back, then arrives, even if the client has
                  gone: as with a stopped process whose kernel still takes requests in
    hang          it arrives and is never answered
    reset         it arrives, then the connection is reset
    status        it arrives, a gateway answers in HTML with `status` (503, 429, 502, 200, ...)
                  and `Retry-After` if given
    code          it arrives and is answered with `code` if it is otherwise in order
    latency_out   its answer leaves late
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import ClassVar, Final

from consumer.simulator.request import Request


class Kind(StrEnum):
    """What goes wrong; see the module."""

    OUTAGE = "outage"
    LATENCY_IN = "latency_in"
    STALL = "stall"
    HANG = "hang"
    RESET = "reset"
    STATUS = "status"
    CODE = "code"
    LATENCY_OUT = "latency_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble and whom it strikes; selectors left at None select everything.

    `msg_id` selects the requests that contain it (one poisoned id). `ids_above` selects those
    with more ids than that (a maximum batch that the server does not tell). `share` is the
    share of the selected requests that is struck.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    kind: Kind
    share: float = 1.0
    app_id: int | None = None
    room_id: str | None = None
    mini_game_id: str | None = None
    action: str | None = None
    msg_id: str | None = None
    ids_above: int | None = None
    delay_ms: int = 0
    jitter_ms: int = 0
    status: int = 503
    retry_after: str | None = None
    code: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("share must lie between 0 and 1")
        if self.delay_ms < 0 or self.jitter_ms < 0:
            raise ValueError("delay_ms and jitter_ms must not be negative")

    def selects(self, request: Request) -> bool:
        """Whether this fault is meant for the request; says nothing of the share."""
        return (
            self.app_id in (None, request.app_id)
            and self.room_id in (None, request.room_id)
            and self.mini_game_id in (None, request.mini_game_id)
            and self.action in (None, request.action)
            and (self.msg_id is None or self.msg_id in request.msg_ids)
            and (self.ids_above is None or len(request.msg_ids) > self.ids_above)
        )


ON_ARRIVAL: Final = frozenset({Kind.HANG, Kind.RESET, Kind.STATUS, Kind.CODE})
"""The kinds that decide what a request gets which has arrived."""


class Faults:
    """The faults that hold now."""

    def __init__(self, seed: int = 1, faults: tuple[Fault, ...] = ()) -> None:
        self._random = Random(seed)  # noqa: S311 - which request is struck is no secret
        self._faults = faults
        self._listeners: list[Callable[[], None]] = []

    @property
    def all(self) -> tuple[Fault, ...]:
        """Every fault that holds, in the order in which they are tried."""
        return self._faults

    def replace(self, *faults: Fault) -> None:
        """Let exactly these faults hold from now on; none: all is well."""
        self._faults = faults
        for listener in tuple(self._listeners):
            listener()

    def add(self, fault: Fault) -> None:
        """Let this fault hold too."""
        self.replace(*self._faults, fault)

    def remove(self, fault: Fault) -> None:
        """Take back one fault equal to this.

        Raises:
            ValueError: no such fault holds.
        """
        faults = list(self._faults)
        faults.remove(fault)
        self.replace(*faults)

    @contextmanager
    def holding(self, *faults: Fault) -> Iterator[None]:
        """Let these faults hold within a `with` block, beside those that do anyway."""
        for fault in faults:
            self.add(fault)
        try:
            yield
        finally:
            for fault in faults:
                self.remove(fault)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def strikes(self, request: Request, kinds: frozenset[Kind]) -> Fault | None:
        """The first fault of these kinds that strikes the request; draws shares."""
        for fault in self._faults:
            if fault.kind in kinds and self._struck(fault, request):
                return fault
        return None

    def holds_back(self, request: Request) -> bool:
        """Whether a stall holds the request; for a stall, `share` means nothing."""
        return any(fault.kind is Kind.STALL and fault.selects(request) for fault in self._faults)

    def delay_ms(self, request: Request, kind: Kind) -> float:
        """The sum of what the latencies of one direction give this request; draws."""
        delay_ms = 0.0
        for fault in self._faults:
            if fault.kind is kind and self._struck(fault, request):
                delay_ms += fault.delay_ms + fault.jitter_ms * self._random.random()
        return delay_ms

    def _struck(self, fault: Fault, request: Request) -> bool:
        return fault.selects(request) and (fault.share >= 1 or self._random.random() < fault.share)
