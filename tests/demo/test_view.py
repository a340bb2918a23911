"""The live view and the summary, as text in terminals of several sizes."""

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from consumer.core.model import Status
from consumer.demo.figures import Figures
from consumer.demo.percentiles import Percentiles
from consumer.demo.process import Backlog
from consumer.demo.summary import sum_up
from consumer.demo.view import Stage, Trouble, render_live, render_summary
from tests.demo.builders import START_MS, ledger, produced, result, run

STAGE = Stage(
    title="300 gifts/s, 100 rooms, embedded broker",
    phase="gifts are sent",
    elapsed_ms=62_000,
    total_ms=125_000,
    hint="Ctrl-C: no more gifts",
)

FIGURES = Figures(
    gifts=18_600,
    gifts_rate=301.4,
    results={
        Status.SUCCEEDED: 15_840,
        Status.FAILED: 360,
        Status.UNCONSUMED: 1_800,
        Status.UNVERIFIED: 0,
    },
    results_rate=297.6,
    requests=35_340,
    requests_rate=570.2,
    room_now=14,
    room_peak=19,
    delay_ms=Percentiles(128.5, 331.0, 402.2),
    unconsumed_late_ms=Percentiles(90.1, 180.0, 220.0),
    waiting=600,
    overdue=31,
    wrong=0,
    backlog=Backlog(560, 17),
)


def text_of(renderable: RenderableType, width: int = 80) -> str:
    """Return what a terminal of this width shows."""
    shown = io.StringIO()
    Console(file=shown, width=width, height=24, color_system=None).print(renderable)
    return shown.getvalue()


def test_the_live_view_tells_all_there_is() -> None:
    """Every figure is on an 80-column screen, in at most 23 lines."""
    text = text_of(render_live(STAGE, FIGURES))
    lines = text.splitlines()
    assert max(map(len, lines)) == 80
    assert len(lines) <= 23
    for told in (
        "300 gifts/s, 100 rooms, embedded broker",
        "1:02 of 2:05",
        "18600",
        "301 a second",
        "31 past their deadline",
        "560 in the consumer",
        "SUCCEEDED",
        "88.0%",
        "570 a second, 1.9 a gift, 17 in flight",
        "of 20, so far at most 19",
        "128.5",
        "402.2",
        "Ctrl-C: no more gifts",
    ):
        assert told in text


def test_faults_and_what_the_consumer_says_fit_on_the_screen() -> None:
    """Three lines of its words at most, each on a line of its own, in 23 lines altogether."""
    told = ("a trouble " * 20, "intake of 4 partitions paused: too much", "third", "fourth")
    trouble = Trouble(("API down (4 s)", "game-0 broken (9 s)"), told)
    text = text_of(render_live(STAGE, FIGURES, trouble))
    lines = text.splitlines()
    assert max(map(len, lines)) == 80
    assert len(lines) <= 23
    for line in (
        "faults: API down (4 s), game-0 broken (9 s)",
        "consumer: intake of 4 partitions paused: too much",
        "consumer: and 2 lines more in its /status",
    ):
        assert line in text


def test_without_faults_the_view_says_so_where_there_are_keys() -> None:
    """And shows no such line where there are none."""
    assert "faults: none" in text_of(render_live(STAGE, FIGURES, Trouble((), ())))
    assert "faults" not in text_of(render_live(STAGE, FIGURES))


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_live_view_fits_any_width(width: int) -> None:
    """No line is wider than the terminal, and none is broken in two."""
    lines = text_of(render_live(STAGE, FIGURES), width).splitlines()
    assert max(map(len, lines)) == width
    assert len(lines) <= 23


def test_before_there_are_figures_the_phase_is_shown() -> None:
    """While the consumer starts there is a phase without an end, and nothing else."""
    text = text_of(render_live(Stage(title="t", phase="the consumer starts"), None))
    assert "the consumer starts" in text
    assert "0:00" in text
    assert "gifts sent" not in text


def test_nothing_yet_divides_by_nothing() -> None:
    """The very first frame, with nothing sent, shows zeros and dashes."""
    nothing = replace(
        FIGURES,
        gifts=0,
        requests=0,
        results=dict.fromkeys(Status, 0),
        delay_ms=Percentiles(None, None, None),
        backlog=None,
    )
    text = text_of(render_live(STAGE, nothing))
    assert "–" in text
    assert "in flight" not in text


def test_what_must_not_be_is_shouted() -> None:
    """A duplicate or a false verdict shows as a line of its own, else there is none."""
    assert "twice or false" not in text_of(render_live(STAGE, FIGURES))
    assert "twice or false" in text_of(render_live(STAGE, replace(FIGURES, wrong=1)))


def test_the_summary_of_a_good_run() -> None:
    """The table has the figures, and one sentence says that all promises held."""
    book = ledger()
    book.produced(produced(0))
    book.visible(result(0), (START_MS + 500) * 1_000)
    text = text_of(render_summary(sum_up(book, run())))
    assert "PASSED" in text
    for told in ("SUCCEEDED", "20 of 20", "100", "a broker"):
        assert told in text


def test_the_summary_names_what_was_injected() -> None:
    """Whoever reads the delays must know what they are made of."""
    text = text_of(render_summary(sum_up(ledger(), run(), ("API down (5.0 s)", "flood (5.0 s)"))))
    assert "Injected: API down (5.0 s), flood (5.0 s)." in text
    assert "Injected" not in text_of(render_summary(sum_up(ledger(), run())))


def test_the_summary_of_a_bad_run() -> None:
    """The sentence names every promise that was broken."""
    book = ledger()
    book.produced(produced(0))
    text = text_of(render_summary(sum_up(book, run(room_requests_per_second_max=21))), 200)
    assert "FAILED: 1 gifts without a result, 21 requests for a room in one second." in text
