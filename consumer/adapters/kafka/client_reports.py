"""What librdkafka says by itself: log lines and errors, through structlog, repeated ones counted.

With a broker away each client writes some 20 lines a second (design §9). So a line is written
when it is new; the same again (numbers aside) is counted, and told with its count at most every
half minute. Both kinds arrive on the thread that polls the client.
"""

import logging
import re
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import KafkaError

from consumer.adapters.kafka.errors import error_text
from consumer.clock import Clock

REPEAT_MS: Final = 30_000
AWAY_ECHO_MS: Final = 30_000
"""For so long after a broker could not be reached, errors may still be echoes of that."""

_UNREACHABLE: Final = frozenset(
    {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT}  # noqa: SLF001  the client's names
)

_AWAY_LINES: Final = ("FAIL ", "SESSTMOUT ")
"""A connection broke, or the group's coordinator did not answer for a session. While other brokers
can be reached the client calls neither an error; only its log tells (seen: three brokers, the
coordinator killed). With every broker there neither is written."""

_NAME_BUSY_LINE: Final = "GETPID "
"""The coordinator did not give a producer its name: a transaction of its predecessor is still being
aborted, say. No error tells; the client asks again after half a second."""

_KINDS_MAX: Final = 256
_NUMBERS: Final = re.compile(r"\d+")

_CONFIGURATION_WARNING: Final = "CONFWARN"
"""That a consumer's property means nothing to a producer: `properties` go to both."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Kind:
    next_ms: int
    repeated: int = 0


class ClientReports(logging.Handler):
    """Collects the clients' log lines (as a logging handler) and errors (`on_error`).

    Attributes:
        last_error: the last error's text.
        refusal: the last error that says the cluster will not have us as we are: credentials
            or TLS. Only these callbacks tell; no call fails with it.
        fatal: the error after which a client does nothing any more: a fenced consumer just
            falls silent (seen).
        name_busy: a producer was not given its name and will ask again.
        quiet: write lines at level debug only, while the start-up check judges by itself.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self.last_error: str | None = None
        self.refusal: str | None = None
        self.fatal: KafkaError | None = None
        self.name_busy = False
        self.quiet = False
        self._unreachable_ms: int | None = None
        self.logger = logging.Logger("librdkafka")  # noqa: LOG001  nobody else may find it
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line of a client."""
        line = record.getMessage()
        if line.startswith(_AWAY_LINES):
            self._unreachable_ms = self._clock.now_ms()
        if line.startswith(_NAME_BUSY_LINE):
            self.name_busy = True
        if not line.startswith(_CONFIGURATION_WARNING):
            self._tell(record.levelno, line)

    def on_error(self, error: KafkaError) -> None:
        """Take one error of a client; it goes on by itself unless the error is fatal."""
        self.note(error)
        self._tell(logging.WARNING, error_text(error))

    def note(self, error: KafkaError) -> None:
        """Remember an error that is told elsewhere."""
        self.last_error = error_text(error)
        if error.code() in _UNREACHABLE:
            self._unreachable_ms = self._clock.now_ms()
        if error.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL}:  # noqa: SLF001  its names
            self.refusal = error.str()
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001
            self.fatal = error

    def brokers_were_away(self) -> bool:
        """Whether a broker could not be reached a moment ago."""
        return (
            self._unreachable_ms is not None
            and self._clock.now_ms() - self._unreachable_ms < AWAY_ECHO_MS
        )

    def _tell(self, level: int, line: str) -> None:
        now_ms = self._clock.now_ms()
        key = _NUMBERS.sub("#", line)
        kind = self._kinds.get(key)
        if kind is not None and now_ms < kind.next_ms:
            kind.repeated += 1
            return
        if len(self._kinds) >= _KINDS_MAX:
            self._kinds.clear()
        self._kinds[key] = _Kind(now_ms + REPEAT_MS)
        repeated = {"repeated": kind.repeated} if kind is not None and kind.repeated else {}
        log.log(logging.DEBUG if self.quiet else level, "kafka client", line=line, **repeated)
