"""What the two sides of a demo are told: the consumer's configuration and the API's settings."""

from typing import Any, Final

from consumer.demo.cluster import Cluster
from consumer.demo.options import DemoOptions
from consumer.simulator import Fault, Kind, SimulatorSettings, TruthSettings

APP_ID: Final = 1_234_567_890

SETTLE_MS: Final = 1_000
"""`check.settle` of the consumer: its default."""


def simulator_settings(options: DemoOptions, secret: str) -> SimulatorSettings:
    """The simulated API: one app, fates from the seed, half of the latency in each direction."""
    in_ms = options.latency_ms // 2
    return SimulatorSettings(
        apps={APP_ID: secret},
        truth=TruthSettings(seed=options.seed),
        faults=(
            Fault(kind=Kind.LATENCY_IN, delay_ms=in_ms),
            Fault(kind=Kind.LATENCY_OUT, delay_ms=options.latency_ms - in_ms),
        ),
        seed=options.seed,
    )


def consumer_configuration(
    options: DemoOptions, cluster: Cluster, api_url: str, secret: str
) -> dict[str, Any]:
    """The consumer's configuration file, as design §9 lays it out; the rest are its defaults."""
    topics = cluster.topics
    return {
        "kafka": {
            "bootstrap_servers": cluster.bootstrap_servers,
            "group_id": cluster.group_id,
            "start_from": "earliest",
            "outage_max": "30s",  # a child whose demo was killed ends by itself, and soon
            "properties": cluster.consumer_properties,
        },
        "topics": {
            "gift_sent": topics.gift_sent,
            "gift_result": topics.gift_result,
            "dead_letters": topics.dead_letters,
        },
        "apps": [{"app_id": APP_ID, "server_secret": secret}],
        "check": {
            "base_url": api_url,
            "timeout": f"{options.timeout_ms}ms",
            "settle": f"{SETTLE_MS}ms",
        },
    }
