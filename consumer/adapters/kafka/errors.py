"""The client's errors: out of their exception, and which of them mean what."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException

from consumer.adapters.kafka.config import KafkaConfig
from consumer.errors import GiftcheckError, NameTaken, RestartNeeded

FENCES: Final = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001  the client's name for it
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
"""Somebody uses our name, or (not FENCED_INSTANCE_ID) the broker ended our transaction."""

NOT_ALLOWED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
"""Rights are missing."""


def kafka_error(exception: KafkaException) -> KafkaError:
    """The client's error in its exception, whose arguments are not typed."""
    error = exception.args[0] if exception.args else None
    if isinstance(error, KafkaError):
        return error
    return KafkaError(KafkaError._FAIL, str(exception))  # noqa: SLF001  the client's name for it


def error_text(error: KafkaError) -> str:
    """The error for people: its name, which can be looked up, and what the client says."""
    return f"{error.name()}: {error.str()}"


def is_fence(error: KafkaError) -> bool:
    """Whether the error says that we were replaced: fatal, or about the group's member."""
    if error.code() == KafkaError._FATAL:  # noqa: SLF001
        # From a callback: the cause is only in its text, in the client's own words for it.
        return KafkaError(KafkaError.FENCED_INSTANCE_ID).str() in error.str()
    return error.code() in FENCES and (
        error.fatal() or error.code() == KafkaError.FENCED_INSTANCE_ID
    )


def fenced(config: KafkaConfig, error: KafkaError, *, brokers_were_away: bool) -> GiftcheckError:
    """How to end when the group or the broker says that somebody else has our name.

    Where brokers were away a moment ago that may be ourselves: the answer that gave us a new
    member id was lost, and we came again with the old one (seen). So then a restart decides: a
    real twin will fence us again.
    """
    known = error if error.code() in FENCES else KafkaError(KafkaError.FENCED_INSTANCE_ID)
    where = f'"{config.instance}" in group "{config.group_id}" ({known.name()})'
    if brokers_were_away:
        return RestartNeeded(f"replaced under the name {where} while brokers were away")
    return NameTaken(
        f"another process uses the name {where}: give each process its own kafka.instance_id"
    )
