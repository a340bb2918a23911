"""Whether a published result agrees with the truth and with the record of arrivals.

False is: `UNCONSUMED` though the gift was consumed before the deciding check arrived;
`SUCCEEDED` or `FAILED` unlike the truth, or before it; a deciding check that never came, was not
answered with `Code` 0 or did not ask for the gift; and every `UNVERIFIED`, for whoever runs
against this simulator without asking it for trouble.
"""

from consumer.simulator.arrivals import Arrival, Arrivals
from consumer.simulator.truth import Fate, Gift, Truth


def false_verdict(
    truth: Truth,
    arrivals: Arrivals,
    gift: Gift,
    *,
    status: str,
    result_code: int | None,
    request_id: str | None,
) -> str | None:
    """Say in a few words what is false about a gift's result; None if it is right.

    `status`, `result_code` and `request_id` are the fields of the gift-result event.
    """
    fate = truth.fate(gift)
    if fate is None:
        return "the API was never told of this gift"
    if status == "UNVERIFIED":
        return "unverified"
    arrival = arrivals.by_request_id(request_id or "")
    if arrival is None:
        return f"no check arrived that was answered as {request_id}"
    if arrival.code != 0 or not _asks_for(arrival, gift):
        return f"{request_id} is no answer about this gift"
    return _unlike(fate, arrival.wall_ms, status, result_code)


def _asks_for(arrival: Arrival, gift: Gift) -> bool:
    room = (arrival.app_id, arrival.room_id, arrival.mini_game_id)
    return room == gift[:3] and gift.msg_id in arrival.msg_ids


def _unlike(fate: Fate, arrived_wall_ms: int, status: str, result_code: int | None) -> str | None:
    consumed = fate.consumed_wall_ms is not None and fate.consumed_wall_ms <= arrived_wall_ms
    if not consumed:
        return None if status == "UNCONSUMED" else f"{status} before it was consumed"
    expected = "SUCCEEDED" if fate.result_code == 0 else "FAILED"
    if status != expected:
        return f"{status} though consumed at {fate.consumed_wall_ms}: {expected}"
    if result_code != fate.result_code:
        return f"{status} with code {result_code} instead of {fate.result_code}"
    return None
