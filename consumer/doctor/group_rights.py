"""What this user may do with the group, asked in a process of its own.

Only `describe_consumer_groups` tells the rights to a group without joining it. A connection that
breaks during that call aborts the whole process (librdkafka issue 4605), and a doctor is called
when connections break; so the process that may be lost is another one. It gets what it needs to
know, passwords included, by its standard input.
"""

import subprocess
import sys
from typing import Any, Final

import orjson
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.config import KafkaConfig, client_properties
from consumer.adapters.kafka.errors import NOT_ALLOWED, error_text, kafka_error
from consumer.adapters.kafka.startup import REQUEST_S, result_of

ASKED_S: Final = REQUEST_S + 4.0
"""The request, its second, and the start of an interpreter on a busy machine."""


class RightsUnknown(Exception):
    """They could not be asked; says why."""


def group_rights(config: KafkaConfig) -> frozenset[str] | None:
    """The names of the operations allowed on the group; None if the brokers do not tell them.

    Raises:
        RightsUnknown: no answer in time, or the process that asked was lost.
    """
    properties = client_properties(config, lambda _: None)
    del properties["error_cb"]
    try:
        ended = subprocess.run(  # noqa: S603  our own module, no shell
            [sys.executable, "-m", __name__],
            input=orjson.dumps({"group_id": config.group_id, "properties": properties}),
            capture_output=True,
            timeout=ASKED_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RightsUnknown(f"no answer within {ASKED_S:g} s") from None
    if ended.returncode != 0:
        raise RightsUnknown("the client broke off (librdkafka issue 4605)")
    answer = orjson.loads(ended.stdout)
    if "error" in answer:
        raise RightsUnknown(answer["error"])
    operations = answer["operations"]
    return None if operations is None else frozenset(operations)


def _ask(group_id: str, properties: dict[str, Any]) -> dict[str, Any]:
    admin = AdminClient({**properties, "log_level": 0})
    asked = admin.describe_consumer_groups(
        [group_id], include_authorized_operations=True, request_timeout=REQUEST_S
    )
    try:
        operations = result_of(asked[group_id]).authorized_operations
    except KafkaException as exception:
        error = kafka_error(exception)
        if error.code() in NOT_ALLOWED:
            return {"operations": []}
        return {"error": error_text(error)}
    return {"operations": operations and [operation.name for operation in operations]}


if __name__ == "__main__":
    asked_for = orjson.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(orjson.dumps(_ask(asked_for["group_id"], asked_for["properties"])))
