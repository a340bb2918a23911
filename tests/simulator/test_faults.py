"""Faults: whom they strike, how often, and that they can be changed at any time."""

import pytest

from consumer.simulator.faults import ON_ARRIVAL, Fault, Faults, Kind
from consumer.simulator.request import CHECK, Request


def request(*msg_ids: str, room_id: str = "room") -> Request:
    """Return a check that asks for these ids."""
    return Request("POST", "", {}, None, 1, CHECK, room_id, "game", msg_ids)


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        (Fault(kind=Kind.HANG), True),
        (Fault(kind=Kind.HANG, app_id=1), True),
        (Fault(kind=Kind.HANG, app_id=2), False),
        (Fault(kind=Kind.HANG, room_id="room", mini_game_id="game"), True),
        (Fault(kind=Kind.HANG, room_id="room", mini_game_id="other"), False),
        (Fault(kind=Kind.HANG, action=CHECK), True),
        (Fault(kind=Kind.HANG, action="SendDanmakuGifts"), False),
        (Fault(kind=Kind.CODE, code=2, msg_id="b"), True),
        (Fault(kind=Kind.CODE, code=2, msg_id="c"), False),
        (Fault(kind=Kind.CODE, code=2, ids_above=1), True),
        (Fault(kind=Kind.CODE, code=2, ids_above=2), False),
        (Fault(kind=Kind.HANG, share=0), False),
        (Fault(kind=Kind.LATENCY_IN, delay_ms=5), False),
    ],
)
def test_a_fault_strikes_whom_it_selects(fault: Fault, struck: bool) -> None:  # noqa: FBT001 - an expectation
    """Every selector that is given must fit, and the kind be asked for."""
    faults = Faults(faults=(fault,))
    assert (fault if struck else None) == faults.strikes(request("a", "b"), ON_ARRIVAL)


def test_a_share_strikes_so_many_and_the_same_ones_for_a_seed() -> None:
    """A fifth of the requests is struck, in an order that the seed tells."""

    def draw(seed: int) -> list[bool]:
        faults = Faults(seed, (Fault(kind=Kind.RESET, share=0.2),))
        return [faults.strikes(request(), ON_ARRIVAL) is not None for _ in range(5_000)]

    assert 900 < sum(draw(1)) < 1100
    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_latencies_of_one_direction_add_up() -> None:
    """Base, jitter and a share of slow ones make one delay; the other way has its own."""
    faults = Faults(
        faults=(
            Fault(kind=Kind.LATENCY_IN, delay_ms=10, jitter_ms=10),
            Fault(kind=Kind.LATENCY_IN, delay_ms=900, share=0.15),
            Fault(kind=Kind.LATENCY_OUT, delay_ms=7),
        )
    )
    delays_ms = [faults.delay_ms(request(), Kind.LATENCY_IN) for _ in range(2_000)]
    slow = [delay_ms for delay_ms in delays_ms if delay_ms >= 900]
    assert all(10 <= delay_ms < 20 or 910 <= delay_ms < 920 for delay_ms in delays_ms)
    assert 240 < len(slow) < 360
    assert faults.delay_ms(request(), Kind.LATENCY_OUT) == 7


def test_faults_hold_within_a_block_and_every_change_is_told() -> None:
    """After the block all is as before; listeners hear of both changes until they end it."""
    faults, told = Faults(), []
    end = faults.on_change(lambda: told.append(len(faults.all)))
    with faults.holding(Fault(kind=Kind.STALL, room_id="room")):
        assert faults.holds_back(request())
        assert not faults.holds_back(request(room_id="other"))
    assert not faults.holds_back(request())
    end()
    faults.replace(Fault(kind=Kind.HANG))
    assert told == [1, 0]


@pytest.mark.parametrize("wrong", [{"share": 1.1}, {"share": -0.1}, {"delay_ms": -1}])
def test_senseless_faults_are_refused(wrong: dict[str, float]) -> None:
    """A share is a share and a delay is not negative."""
    with pytest.raises(ValueError, match="must"):
        Fault(kind=Kind.HANG, **wrong)  # type: ignore[arg-type]
