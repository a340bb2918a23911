"""Asks the vendor: one `Check` becomes one signed POST, its outcome one input of the core.

Three things must be told apart, for permits and promises hang on them (design §5, P2 and P3):

- `CheckNotWritten`: not one byte of the request left this process.
- `CheckAnswered`: the vendor's JSON came back, whole; this alone ends a check.
- `CheckLost`: anything else. The request may have reached the vendor, or may yet.

The line between the first and the rest is the write of the request's bytes, so the lease is
tested there as well, in `_LeasedBody`: between `send` and that write the request may wait for
a connection and a name look-up. aiohttp holds the head back until the body is written, and the
body is not written once the lease is over, so nothing is.

Whatever goes wrong is told in own words: an error's text may contain the URL, and with it the
signature.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from hashlib import md5
from typing import Final, Self, cast
from weakref import WeakSet

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from consumer.adapters.check_api.answer import (
    DETAIL_CHARACTERS_MAX,
    read_answer,
    read_http_date,
    read_retry_after,
    shortened,
)
from consumer.clock import Clock
from consumer.core.messages import CheckAnswered, CheckLost, CheckNotWritten
from consumer.core.model import Check, Trouble

ANSWER_BYTES_BASE: Final = 64 * 1024
ANSWER_BYTES_PER_ID: Final = 512
"""An entry of a 64-character id takes about 180 bytes; an answer may have 512 for each id asked
and 64 KiB besides, and is not read further."""

KEEP_ALIVE_S: Final = 10
"""Idle connections are given up before the vendor's gateway is likely to do so (design §5)."""

SIGNATURE_EXPIRED: Final = 100000004
"""The `Code` that says that the signature's `Timestamp` is more than ten minutes off."""

_OK: Final = 200


def signature(app_id: int, nonce: str, secret: str, timestamp_s: int) -> str:
    """The vendor's signature of a request (zego-api.md, *Calling it*); the body is not signed."""
    text = f"{app_id}{nonce}{secret}{timestamp_s}"
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def random_nonce() -> str:
    """Sixteen random hexadecimal digits, as in the vendor's samples."""
    return secrets.token_hex(8)


class _LeaseOverError(Exception):
    """Raised in the place of the write; aiohttp wraps it, nobody else sees it."""


class _LeasedBody(aiohttp.BytesPayload):
    """A request's body that is written only while the lease holds, and knows whether it was.

    `written` turns true just before the bytes are handed to the socket; `reused` is whether that
    connection is among `served`, those written to before.
    """

    def __init__(
        self, body: bytes, write_before_ms: int, clock: Clock, served: "WeakSet[object]"
    ) -> None:
        super().__init__(body, content_type="application/json")
        self._write_before_ms = write_before_ms
        self._clock = clock
        self._served = served
        self.written = False
        self.reused = False
        self.lease_over = False

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write head and body, unless the lease is over; between test and write nothing waits."""
        if self._clock.now_ms() >= self._write_before_ms:
            self.lease_over = True
            raise _LeaseOverError
        connection = cast("aiohttp.http.StreamWriter", writer).protocol
        transport = connection.transport
        if transport is not None and not transport.is_closing():
            self.written = True
            self.reused = connection in self._served
            self._served.add(connection)
        await super().write_with_length(writer, content_length)


class CheckApi:
    """The vendor's API at `base_url`, as an async context manager.

    `apps` maps app ids to server secrets and is looked up for every check, so that a secret may
    change. `request_timeout_ms` covers a check from `send` to the last byte of its answer. At
    most `requests_in_flight_max` connections are open. `nonce` gives each call another text.

    An answer that calls the signature expired sets the clock used for signing right by its
    `Date` header (design §7).
    """

    def __init__(
        self,
        *,
        base_url: str,
        apps: Mapping[int, str],
        request_timeout_ms: int,
        requests_in_flight_max: int,
        clock: Clock,
        nonce: Callable[[], str] = random_nonce,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/?Action=DescribeDanmakuMsgResults"
        self._apps = apps
        self._request_timeout_ms = request_timeout_ms
        self._requests_in_flight_max = requests_in_flight_max
        self._clock = clock
        self._nonce = nonce
        self._signing_offset_ms = 0
        self._served: WeakSet[object] = WeakSet()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._requests_in_flight_max, keepalive_timeout=KEEP_ALIVE_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "giftcheck"},
            # One time-out for all of it, in `send`: aiohttp's own are rounded up to seconds.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def send(self, check: Check) -> CheckAnswered | CheckLost | CheckNotWritten:
        """Ask, and say what came of it; raises nothing but CancelledError."""
        secret = self._apps.get(check.app_id)
        if self._session is None:
            return CheckNotWritten(check.check_id, "the client is closed")
        if secret is None:
            return CheckNotWritten(check.check_id, f"app {check.app_id} is not configured")
        body = _LeasedBody(_document(check), check.write_before_ms, self._clock, self._served)
        try:
            async with (
                asyncio.timeout(self._request_timeout_ms / 1000),
                self._session.post(
                    self._signed_url(check.app_id, secret),
                    data=body,
                    allow_redirects=False,
                ) as response,
            ):
                return await self._outcome(check, response)
        except (aiohttp.ClientError, OSError) as error:
            return self._failure(check, body, error)

    def _signed_url(self, app_id: int, secret: str) -> URL:
        timestamp_s = (self._clock.wall_ms() + self._signing_offset_ms) // 1000
        nonce = self._nonce()
        return URL(
            f"{self._url}&AppId={app_id}&SignatureNonce={nonce}&Timestamp={timestamp_s}"
            f"&SignatureVersion=2.0&Signature={signature(app_id, nonce, secret, timestamp_s)}",
            encoded=True,
        )

    async def _outcome(
        self, check: Check, response: aiohttp.ClientResponse
    ) -> CheckAnswered | CheckLost:
        wall_ms = self._clock.wall_ms()
        date_wall_ms = read_http_date(response.headers.get("Date"))
        retry_after_ms = read_retry_after(response.headers.get("Retry-After"), wall_ms)
        answer_bytes_max = ANSWER_BYTES_BASE + ANSWER_BYTES_PER_ID * len(check.msg_ids)
        body = await _read_body(response, answer_bytes_max)
        if body is None:
            return CheckLost(check.check_id, Trouble.BAD_REQUEST, "answer too large")
        answer = read_answer(body, date_wall_ms, retry_after_ms)
        # Success under another status is not the vendor's: it must not prove anything.
        if answer is None or (response.status != _OK and answer.code == 0):
            trouble, detail = _trouble(response)
            return CheckLost(check.check_id, trouble, detail, retry_after_ms)
        if answer.code == SIGNATURE_EXPIRED and date_wall_ms is not None:
            self._signing_offset_ms = date_wall_ms - wall_ms
        return CheckAnswered(check.check_id, answer)

    def _failure(
        self, check: Check, body: _LeasedBody, error: Exception
    ) -> CheckLost | CheckNotWritten:
        if body.lease_over:
            return CheckNotWritten(check.check_id, "lease over", lease_over=True)
        timeout = f"within {self._request_timeout_ms / 1000:g} s"
        if not body.written:
            unwritten = _unwritten(error) or f"no connection {timeout}"
            return CheckNotWritten(check.check_id, unwritten)
        if isinstance(error, TimeoutError):
            return CheckLost(check.check_id, Trouble.TRANSIENT, f"no answer {timeout}")
        disconnected = isinstance(error, aiohttp.ClientConnectionError)
        detail = "disconnected before an answer" if disconnected else _cut_short(error)
        return CheckLost(
            check.check_id,
            Trouble.TRANSIENT,
            detail,
            stale_connection=body.reused and disconnected,
        )


def _document(check: Check) -> bytes:
    document: dict[str, object] = {
        "RoomId": check.room_id,
        "MiniGameId": check.mini_game_id,
        "MsgIdList": check.msg_ids,
    }
    if check.duration_days is not None:
        document["Duration"] = check.duration_days
    return orjson.dumps(document)


async def _read_body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes | None:
    """The whole body; None, without reading on, once it is longer than `bytes_max`."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            response.close()
            return None
    return bytes(body)


def _trouble(response: aiohttp.ClientResponse) -> tuple[Trouble, str]:
    """What to do about an answer that is not the vendor's JSON (design §7)."""
    status = response.status
    match status:
        case 429:
            trouble = Trouble.RATE_LIMITED
        case 413 | 414:
            trouble = Trouble.BAD_REQUEST
        case _ if 300 <= status < 500:  # noqa: PLR2004 - redirects and client errors
            trouble = Trouble.CONFIGURATION
        case _:
            trouble = Trouble.TRANSIENT
    if status == _OK:
        return trouble, f"HTTP 200 with {shortened(response.content_type)} instead of an answer"
    return trouble, f"HTTP {status}"


def _unwritten(error: Exception) -> str | None:
    """Why there was no connection to write to; None if time ran out."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host} is not valid"
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or type(error.os_error).__name__
            host = f"{error.host}:{error.port}"
            return f"cannot connect to {host}: {reason}"[:DETAIL_CHARACTERS_MAX]
        case TimeoutError():
            return None
        case _:
            return f"no connection: {type(error).__name__}"


def _cut_short(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientPayloadError):
        return "answer cut short"
    return f"answer unreadable: {type(error).__name__}"
