"""Asks the check API once for each app, as the service does: about a room and a gift that nobody has.

Such a check counts against the limit of a room that does not exist, and proves what matters: the
address, the way there (no proxy: the service uses none), TLS, the signature. It is sent again
only if the clock used for signing had to be set right, as the service does.
"""

import asyncio
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from consumer.adapters.check_api import CheckApi
from consumer.clock import Clock
from consumer.core.messages import CheckAnswered, CheckLost, CheckNotWritten
from consumer.core.model import Check, Trouble
from consumer.core.reaction import trouble_of
from consumer.core.wall_clock import DATE_RESOLUTION_MS, TOLERANCE_MS
from consumer.doctor.findings import Finding, Level
from consumer.settings import Settings

GAME: Final = "giftcheck-doctor"
"""No game has this id: "no such game" is an answer, too, for the signature is looked at first."""

NO_LEASE_MS: Final = 2**62

Outcome = CheckAnswered | CheckLost | CheckNotWritten


class Asked(NamedTuple):
    """What came of a check, and when it was sent and ended (Unix milliseconds, our clock)."""

    outcome: Outcome
    sent_wall_ms: int
    ended_wall_ms: int


async def look_at_check_api(
    settings: Settings, apps: Mapping[int, str], clock: Clock
) -> list[Finding]:
    """A finding for each app, and one for the clock; within two `check.request_timeout`."""
    async with CheckApi(
        base_url=settings.check.base_url,
        apps=apps,
        request_timeout_ms=settings.check.request_timeout,
        requests_in_flight_max=settings.check.requests_in_flight_max,
        clock=clock,
    ) as api:
        asked = dict(
            zip(apps, await asyncio.gather(*(_ask(api, app, clock) for app in apps)), strict=True)
        )
    base_url = settings.check.base_url
    return [
        *(judge(app, each, base_url) for app, each in asked.items()),
        *judge_clock(asked.values()),
    ]


async def _ask(api: CheckApi, app_id: int, clock: Clock) -> Asked:
    nobody = f"giftcheck-doctor-{secrets.token_hex(8)}"
    check = Check(1, app_id, nobody, GAME, (nobody,), NO_LEASE_MS)
    sent_wall_ms = clock.wall_ms()
    outcome = await api.send(check)
    if isinstance(outcome, CheckAnswered) and trouble_of(outcome.answer.code) is Trouble.CLOCK:
        sent_wall_ms = clock.wall_ms()
        outcome = await api.send(check)
    return Asked(outcome, sent_wall_ms, clock.wall_ms())


def judge(app_id: int, asked: Asked, base_url: str) -> Finding:
    """Whether the API was reached and took the app's signature."""
    check = f"check API, app {app_id}"
    match asked.outcome:
        case CheckNotWritten(detail=reason):
            return Finding(check, Level.FAIL, f"{base_url}: {reason}", _WAY_THERE)
        case CheckLost(trouble=trouble, detail=detail):
            advice = _WAY_THERE if trouble is Trouble.CONFIGURATION else _LATER
            return Finding(check, Level.FAIL, f"{base_url}: {detail}", advice)
        case CheckAnswered(answer=answer):
            took_ms = asked.ended_wall_ms - asked.sent_wall_ms
            said = f"Code {answer.code} {answer.message!r} in {took_ms} ms"
            level, meaning, advice = _MEANINGS[trouble_of(answer.code)]
            return Finding(check, level, f"{said}: {meaning}", advice)


_WAY_THERE: Final = (
    "see check.base_url, name look-up, rules for outgoing traffic and the machine's certificate"
    " authorities; proxy variables are not used"
)
_LATER: Final = "ask again; while it lasts gifts stay pending and nobody is called UNCONSUMED"
_ACCEPTED: Final = "reached, signature accepted"

_MEANINGS: Final[Mapping[Trouble | None, tuple[Level, str, str]]] = {
    None: (Level.OK, _ACCEPTED, ""),
    Trouble.THIS_GAME: (Level.OK, f"{_ACCEPTED}; the game asked about is nobody's", ""),
    Trouble.BAD_REQUEST: (
        Level.WARN,
        "reached, but the question about nobody's gift is refused",
        "whether the credentials are accepted is not proven",
    ),
    Trouble.RATE_LIMITED: (
        Level.WARN,
        "reached, but it is asked too often",
        "see who else asks with this app",
    ),
    Trouble.CREDENTIALS: (
        Level.FAIL,
        "the app's credentials are refused",
        "compare AppId, ServerSecret and the services activated with the vendor's console",
    ),
    Trouble.CLOCK: (
        Level.FAIL,
        "the signature's time is refused, even by the answer's own Date",
        "set this machine's clock",
    ),
    Trouble.CONFIGURATION: (Level.FAIL, "the request is refused", "see check.base_url"),
    Trouble.TRANSIENT: (Level.FAIL, "the API is in trouble", _LATER),
}
"""What an answer's `Code` means here, by what is wrong; None: success."""


def judge_clock(asked: Iterable[Asked]) -> Iterator[Finding]:
    """Our wall clock against the answers' `Date`, which was made between sending and end."""
    check = "clock"
    offs = [
        off
        for each in asked
        if isinstance(each.outcome, CheckAnswered)
        and (off := _ahead_ms(each, each.outcome.answer.date_wall_ms)) is not None
    ]
    if not offs:
        yield Finding(check, Level.SKIP, "no answer with a Date to compare with")
        return
    ahead_ms = min(offs, key=abs)
    if abs(ahead_ms) <= TOLERANCE_MS:
        yield Finding(check, Level.OK, f"agrees with the API's within {TOLERANCE_MS // 1_000} s")
        return
    yield Finding(
        check,
        Level.WARN,
        f"this machine's clock is {ahead_ms / 1_000:+.1f} s off the API's",
        "set it: hand-over between pods counts on clocks that agree within a second, and while it"
        " is off, silence proves absence only with the answers' Date",
    )


def _ahead_ms(asked: Asked, date_wall_ms: int | None) -> int | None:
    """How far ahead we are, at least; 0 if the clocks may agree. A `Date` is rounded down."""
    if date_wall_ms is None:
        return None
    if date_wall_ms > asked.ended_wall_ms:
        return asked.ended_wall_ms - date_wall_ms
    return max(0, asked.sent_wall_ms - date_wall_ms - DATE_RESOLUTION_MS)
