"""The figures of the live view: rates over two seconds, peaks, the delays of late."""

from consumer.core.model import Status
from consumer.demo.figures import Observer, RoomRates
from consumer.demo.percentiles import Percentiles
from consumer.demo.process import Backlog
from consumer.simulator import Arrival, Arrivals
from consumer.simulator.request import CHECK, Request
from tests.demo.builders import START_MS, ledger, produced, result

START_US = START_MS * 1_000
SECOND_US = 1_000_000


REQUEST = Request("POST", "host", {}, {}, 1, CHECK, "room", "game", ())


def arrival(number: int, at_us: int, room: str = "room") -> Arrival:
    """Return a check that arrived at `at_us`."""
    return Arrival(f"sim-{number}", at_us, 1, room, "game", CHECK, (), 0)


def test_rates_are_means_over_two_seconds() -> None:
    """A rate compares this moment with two seconds ago, not with the beginning."""
    book, arrivals = ledger(), Arrivals()
    observer = Observer(book, arrivals, START_US)
    for number in range(100):
        book.produced(produced(number))
        arrivals.record(REQUEST, START_US, 0)
    observer.figures(START_US + SECOND_US, None)
    for number in range(100, 120):
        book.produced(produced(number))
        book.visible(result(number), START_US)
        arrivals.record(REQUEST, START_US + 3 * SECOND_US, 0)
    figures = observer.figures(START_US + 3 * SECOND_US, None)
    assert (figures.gifts, figures.gifts_rate) == (120, 10)
    assert (sum(figures.results.values()), figures.results_rate) == (20, 10)
    assert (figures.requests, figures.requests_rate) == (120, 10)
    assert figures.waiting == 100


def test_the_first_figures_have_no_rates() -> None:
    """At the very start no time has passed and nothing can be divided by it."""
    figures = Observer(ledger(), Arrivals(), START_US).figures(START_US, Backlog(3, 2))
    assert (figures.gifts_rate, figures.requests_rate, figures.room_now) == (0, 0, 0)
    assert figures.backlog == Backlog(3, 2)
    assert figures.delay_ms == Percentiles(None, None, None)


def test_delays_are_those_of_the_last_ten_seconds() -> None:
    """An old delay leaves the percentiles after ten seconds."""
    book = ledger()
    observer = Observer(book, Arrivals(), START_US)
    book.produced(produced(0))
    book.visible(result(0), START_US + 1_400_000)
    assert observer.figures(START_US + 2 * SECOND_US, None).delay_ms.p50 == 1_000
    book.produced(produced(1))
    book.visible(result(1), START_US + 500_000)
    assert observer.figures(START_US + 11 * SECOND_US, None).delay_ms == (100, 1_000, 1_000)
    assert observer.figures(START_US + 12 * SECOND_US, None).delay_ms == (100, 100, 100)


def test_wrong_counts_what_must_not_be() -> None:
    """Duplicates and false verdicts show at once."""
    book = ledger("unverified", None)
    observer = Observer(book, Arrivals(), START_US)
    book.produced(produced(0))
    book.visible(result(0, Status.UNVERIFIED), START_US)
    book.visible(result(0), START_US)
    assert observer.figures(START_US, None).wrong == 2


def test_the_busiest_room_is_counted_over_half_open_seconds() -> None:
    """A room's second ends just before the same instant of the next; other rooms do not count."""
    rooms = RoomRates()
    rooms.add(arrival(number, START_US + number) for number in range(5))
    rooms.add([arrival(9, START_US + 5, "another")])
    assert (rooms.busiest(START_US + 5), rooms.peak) == (5, 5)
    rooms.add([arrival(10, START_US + SECOND_US)])
    assert (rooms.busiest(START_US + SECOND_US), rooms.peak) == (5, 5)
    assert (rooms.busiest(START_US + 3 * SECOND_US), rooms.peak) == (0, 5)
