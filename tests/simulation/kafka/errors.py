"""Errors as the clients raise them, and two that stay between client and broker."""

from confluent_kafka import KafkaError, KafkaException


class AgainError(Exception):
    """The client is to send the same request again, after `delay_us`; its caller hears nothing."""

    def __init__(self, delay_us: int) -> None:
        super().__init__(delay_us)
        self.delay_us = delay_us


def retriable(code: int = KafkaError._TIMED_OUT, text: str = "no answer in time") -> KafkaException:
    """The same call may be made again."""
    return KafkaException(KafkaError(code, text, retriable=True))


def abortable(code: int, text: str = "the transaction must be aborted") -> KafkaException:
    """The transaction must be aborted."""
    return KafkaException(KafkaError(code, text, txn_requires_abort=True))


def fatal(code: int, text: str) -> KafkaException:
    """The client is of no use any more."""
    return KafkaException(KafkaError(code, text, fatal=True))


def plain(code: int, text: str) -> KafkaException:
    """Nothing is said about what to do."""
    return KafkaException(KafkaError(code, text))
