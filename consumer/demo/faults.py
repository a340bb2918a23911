"""Trouble at the press of a key, while gifts are sent: begun, taken back, and written down.

A *switch* is a trouble that is on or off. Those of the API are faults of the simulator; the flood
is a second load, and ends by itself. What was on, for how long and how often, is part of the
report: delays of such a run are no measure of the consumer.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from consumer.demo.load import Load
from consumer.simulator import Fault, Faults, Kind

BROKEN_GAME: Final = "game-0"
"""One of the load's five games, so a fifth of all gifts."""

GAME_DOES_NOT_EXIST: Final = 7202001

FLOOD_FACTOR: Final = 10
FLOOD_MS: Final = 5_000

SLOW_MS: Final = 500

API_FAULTS: Final = (
    ("a", "API down", Fault(kind=Kind.OUTAGE)),
    (
        "g",
        f"{BROKEN_GAME} broken",
        Fault(kind=Kind.CODE, mini_game_id=BROKEN_GAME, code=GAME_DOES_NOT_EXIST),
    ),
    ("l", "API slow", Fault(kind=Kind.LATENCY_OUT, delay_ms=SLOW_MS, jitter_ms=SLOW_MS)),
)
"""Key, name for people, and what goes wrong."""

FLOOD_KEY: Final = "f"
FLOOD_NAME: Final = f"flood, {FLOOD_FACTOR} times the gifts"

KEYS_HINT: Final = "a: API down  g: broken game  l: slow API  f: flood  "


@dataclass(slots=True)
class Switch:
    """One trouble: `begin` and `end` make it so; times are those of the caller's clock."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    since_us: int | None = None
    lasted_us: int = 0
    count: int = 0


class Switchboard:
    """The switches by their keys; nothing is on at first."""

    def __init__(self, switches: Iterable[tuple[str, Switch]], clock_us: Callable[[], int]) -> None:
        self._switches = dict(switches)
        self._clock_us = clock_us

    def press(self, key: str) -> None:
        """Turn on what is off and off what is on; a key without a meaning does nothing."""
        switch = self._switches.get(key.lower())
        if switch is None:
            return
        if switch.since_us is None:
            switch.since_us = self._clock_us()
            switch.count += 1
            switch.begin()
        else:
            self._turn_off(switch)

    def off(self, key: str) -> None:
        """Take back what this key has begun, if it has."""
        self._turn_off(self._switches[key])

    def all_off(self) -> None:
        """Take everything back."""
        for switch in self._switches.values():
            self._turn_off(switch)

    def on(self) -> tuple[str, ...]:
        """What is on now, and since when, for people."""
        now_us = self._clock_us()
        return tuple(
            f"{switch.name} ({(now_us - switch.since_us) // 1_000_000} s)"
            for switch in self._switches.values()
            if switch.since_us is not None
        )

    def history(self) -> tuple[str, ...]:
        """All that was ever turned on, how often and for how long together, for people."""
        now_us = self._clock_us()
        told = []
        for switch in self._switches.values():
            if switch.count:
                lasts_us = 0 if switch.since_us is None else now_us - switch.since_us
                times = "" if switch.count == 1 else f"{switch.count} times, "
                told.append(f"{switch.name} ({times}{(switch.lasted_us + lasts_us) / 1e6:.1f} s)")
        return tuple(told)

    def _turn_off(self, switch: Switch) -> None:
        if switch.since_us is not None:
            switch.lasted_us += self._clock_us() - switch.since_us
            switch.since_us = None
            switch.end()


def api_switches(faults: Faults) -> Iterable[tuple[str, Switch]]:
    """The switches of `API_FAULTS`, with their keys."""
    for key, name, fault in API_FAULTS:
        yield key, Switch(name, partial(faults.add, fault), partial(faults.remove, fault))


class Flood:
    """A second load beside the first, for `FLOOD_MS` or until it is ended.

    Args:
        make_load: makes the load of the n-th flood.
        on_end: is told when one is over, with the error that ended it, if one did.
    """

    def __init__(
        self,
        make_load: Callable[[int], Load],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self._make_load = make_load
        self._on_end = on_end
        self._count = 0
        self._sending: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Send gifts from now on."""
        self._count += 1
        load = self._make_load(self._count)
        self._sending = asyncio.create_task(load.run(FLOOD_MS))
        self._sending.add_done_callback(self._ended)

    def end(self) -> None:
        """Send no more."""
        if self._sending is not None:
            self._sending.cancel()

    def _ended(self, sending: asyncio.Task[None]) -> None:
        if not sending.cancelled():
            self._on_end(sending.exception())
