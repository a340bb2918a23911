"""What the consumer says of itself, for people: sentences as they are, figures by their names."""

from consumer.demo.status import told_by


def test_everything_it_says_is_told() -> None:
    """Reasons first, then sentences from whatever field, paused partitions, and figures."""
    status = {
        "reasons": ["stopping"],
        "core": {
            "pending_gifts": 7,
            "requests_in_flight": 2,
            "rooms": 3,
            "troubles": ["app 5: wrong secret"],
            "a_field_nobody_knows_yet": ["the breaker is open"],
            "request_price_ms": 30.5,
            "partitions": [
                {"partition": 0, "paused_for": ["map", "metadata"]},
                {"partition": 1, "paused_for": ["map", "metadata"]},
                {"partition": 2, "paused_for": []},
            ],
            "tally": {"gifts_read": 9},
        },
    }
    assert told_by(status) == (
        "stopping",
        "app 5: wrong secret",
        "the breaker is open",
        "intake of 2 partitions paused for map, metadata",
        "rooms 3, request price ms 30.5",
    )


def test_a_status_that_says_nothing_is_no_line() -> None:
    """Nor is one without the core."""
    assert told_by({"core": {"pending_gifts": 0, "partitions": []}}) == ()
    assert told_by({}) == ()
