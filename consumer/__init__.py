"""giftcheck: asks what became of virtual gifts and publishes one result for each, exactly once.

Reading order: `core` (the rules; start with its docstring), `runner` (the loop around them),
`adapters` (Kafka, Avro, the check API, HTTP, metrics), `app` (what is wired to what), `cli`.
"""

import consumer.clock  # noqa: F401  first of all: it notes when the process began
