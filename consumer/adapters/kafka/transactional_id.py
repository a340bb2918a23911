"""How a producer becomes the only one of its name, and what a dead predecessor left is aborted.

`init_transactions` does both; only librdkafka takes half a second where two round trips would do,
and whoever comes back after a kill has no time to lose:

- without a connection it looks for the coordinator only half a second later, and the connection to
  a configured address ends as soon as the first answer has told the brokers' own. So the brokers
  are asked something first, twice (seen: 0.51 s in one of four starts, in more of them when asked
  once; never in 160 when asked twice).
- while the coordinator aborts a predecessor's transaction it says "come again", and the producer
  does half a second later. So another producer comes, at once (seen: 0.22 s instead of 0.56). The
  first has its answer by then and has not asked again: else it would fence its successor.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.adapters.kafka.client_reports import ClientReports
from consumer.adapters.kafka.config import KafkaConfig
from consumer.adapters.kafka.errors import NOT_ALLOWED, kafka_error
from consumer.adapters.kafka.startup import TRY_S, Startup, passes
from consumer.errors import ConfigurationError, RestartNeeded

FIRST_TRY_S: Final = 0.1
"""What an answer may take before it is waited for in earnest; half a second later is too late."""


class TransactionalId:
    """Our name as a producer.

    Args:
        make: makes a producer of that name.
    """

    def __init__(
        self,
        config: KafkaConfig,
        reports: ClientReports,
        startup: Startup,
        make: Callable[[], Producer],
    ) -> None:
        self._config = config
        self._reports = reports
        self._startup = startup
        self._make = make

    def take(self) -> Producer | None:
        """A producer that has the name; None if stopped.

        Raises:
            ConfigurationError: the name may not be used, or not with our time-out.
            RestartNeeded: it cannot be had, or nobody answers.
        """
        try:
            return self._take()
        except KafkaException as exception:
            error = kafka_error(exception)
            name = f'transactional id "{self._config.transactional_id}"'
            if error.code() in NOT_ALLOWED:
                raise ConfigurationError(
                    f"{name}: this user may not WRITE with it; allow it ({error.name()})"
                ) from exception
            if error.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
                raise ConfigurationError(
                    f"{name}: the brokers' transaction.max.timeout.ms is under the"
                    f" {self._config.transaction_timeout_ms} ms that are needed"
                ) from exception
            raise RestartNeeded(f"{name} cannot be had: {error.str()}") from exception

    def _take(self) -> Producer | None:
        producer = self._connected()
        if producer is None or self._is_given_at_once(producer):
            return producer
        if self._reports.name_busy:
            producer = None  # it must be gone before its successor asks
            producer = self._connected()
        if producer is None:
            return None
        return producer if self._startup.until_done(partial(_ask, producer, TRY_S)) else None

    def _connected(self) -> Producer | None:
        producer = self._make()
        asked = (self._startup.connect(producer, self._config.gift_result) for _ in range(2))
        return producer if all(asked) else None

    def _is_given_at_once(self, producer: Producer) -> bool:
        self._reports.name_busy = False
        try:
            _ask(producer, FIRST_TRY_S)
        except KafkaException as exception:
            if not passes(kafka_error(exception)):
                raise
            producer.poll(0)  # brings the log, which alone tells that the name is busy
            return False
        return True


def _ask(producer: Producer, timeout_s: float) -> None:
    producer.poll(0)
    producer.init_transactions(timeout_s)
