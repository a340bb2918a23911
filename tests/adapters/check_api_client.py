"""A client of the check API as its tests want it: one app, one check, a clock that stands."""

from consumer.adapters.check_api import CheckApi
from consumer.clock import SystemClock
from consumer.core.messages import CheckAnswered, CheckLost, CheckNotWritten
from consumer.core.model import Check
from tests.adapters.raw_server import http, raw_server, saying

APP_ID = 12345
SECRET = "9193cc662a4c0ec135ec71fb57194b38"
NEVER_MS = 2**62
CHECK = Check(7, APP_ID, "room", "game", ("m1", "m2"), NEVER_MS)
GOOD = http("200 OK", b'{"Code": 0, "Message": "succeed", "RequestId": "r1", "Data": null}')


class SetClock:
    """A clock that shows what it is set to."""

    def __init__(self, now_ms: int = 0, wall_ms: int = 1_615_186_943_000) -> None:
        self.now = now_ms
        self.wall = wall_ms

    def now_ms(self) -> int:
        """Monotonic milliseconds."""
        return self.now

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return self.wall


def api(
    base_url: str,
    *,
    timeout_ms: int = 5_000,
    slots: int = 10,
    clock: SetClock | SystemClock | None = None,
    secret: str = SECRET,
) -> CheckApi:
    """Return a client of one app."""
    return CheckApi(
        base_url=base_url,
        apps={APP_ID: secret},
        request_timeout_ms=timeout_ms,
        requests_in_flight_max=slots,
        clock=clock or SystemClock(),
        nonce=lambda: "4fd24687296dd9f3",
    )


async def send_to(
    answer: bytes, check: Check = CHECK
) -> CheckAnswered | CheckLost | CheckNotWritten:
    """Return what comes of a check that gets this answer."""
    async with raw_server(saying(answer)) as server, api(server.base_url) as client:
        return await client.send(check)
