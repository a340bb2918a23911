"""What a demo looks like in a terminal: the live panel, and the table at the end.

Made for 80 columns by 24 lines; wider terminals get longer bars. Nothing here knows where the
figures come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from consumer.core.model import Status
from consumer.demo.figures import Figures
from consumer.demo.summary import ROOM_REQUESTS_PER_SECOND_MAX, Summary

COLOURS: Final[Mapping[Status, str]] = {
    Status.SUCCEEDED: "green",
    Status.FAILED: "red",
    Status.UNCONSUMED: "yellow",
    Status.UNVERIFIED: "magenta",
}


TOLD_LINES_MAX: Final = 3
"""So that all of it fits into 24 lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the run is: `phase` in words, and how far it is on its way, in milliseconds."""

    title: str
    phase: str
    elapsed_ms: int = 0
    total_ms: int | None = None
    hint: str = "Ctrl-C: give up"


class Trouble(NamedTuple):
    """The faults that somebody has turned on, and what the consumer says of itself."""

    on: tuple[str, ...]
    told: tuple[str, ...]


def render_live(
    stage: Stage, figures: Figures | None, trouble: Trouble | None = None
) -> RenderableType:
    """The live panel; without figures only the stage, while all is being started.

    `trouble` is shown beside the figures where there are keys to make some.
    """
    parts: list[RenderableType] = [_progress(stage)]
    if figures is not None:
        parts += ["", _flow(figures), "", _bars(figures), "", _requests(figures)]
        parts += ["", _delays(figures)]
        if trouble is not None:
            parts += _trouble(trouble)
    return Panel(
        Group(*parts),
        title=f"[bold]giftcheck demo[/]  {stage.title}",
        title_align="left",
        subtitle=f"[dim]{stage.hint}[/]",
        subtitle_align="right",
        box=box.ROUNDED,
        border_style="bright_black",
        padding=(0, 1),
    )


def render_summary(summary: Summary) -> RenderableType:
    """The table at the end and the verdict on the run, in words."""
    run = summary.run
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(f"{run.broker}, seed {run.seed}", style="bold")
    for name in ("p50", "p95", "p99"):
        table.add_column(name, justify="right")
    table.add_row("gifts sent", str(summary.gifts))
    for status, count in summary.results.items():
        table.add_row(f"  {status}", str(count))
    table.add_row("requests", str(run.requests))
    table.add_row("  a gift", _figure(summary.requests_per_gift))
    limit = f"{run.room_requests_per_second_max} of {ROOM_REQUESTS_PER_SECOND_MAX}"
    table.add_row("  busiest room, one second", limit)
    table.add_row("delay, ms", *map(_figure, summary.delay_ms))
    table.add_row("UNCONSUMED late, ms", *map(_figure, summary.unconsumed_late_ms))
    parts: list[RenderableType] = ["", table, ""]
    if summary.injected:
        parts += [Text(f"Injected: {', '.join(summary.injected)}."), ""]
    return Group(*parts, _verdict(summary))


def _verdict(summary: Summary) -> Text:
    if summary.failures:
        return Text(f"FAILED: {', '.join(summary.failures)}.", style="bold red")
    return Text(
        "PASSED: every gift got exactly one result, each one true, and no room was asked"
        " about more often than allowed.",
        style="bold green",
    )


def _progress(stage: Stage) -> RenderableType:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    total_ms = stage.total_ms
    left = "" if total_ms is None else f"of {_clock(total_ms)}"
    grid.add_row(
        stage.phase,
        ProgressBar(
            total=total_ms or 100,
            completed=stage.elapsed_ms if total_ms else 0,
            style="bright_black",
            complete_style="cyan",
        ),
        f"{_clock(stage.elapsed_ms)} {left}",
    )
    return grid


def _flow(figures: Figures) -> RenderableType:
    grid = _grid(3)
    grid.add_row("gifts sent", str(figures.gifts), f"{figures.gifts_rate:.0f} a second")
    results = sum(figures.results.values())
    grid.add_row("results", str(results), f"{figures.results_rate:.0f} a second")
    grid.add_row("without a result", str(figures.waiting), _waits(figures))
    if figures.wrong:
        grid.add_row("[bold red]twice or false[/]", f"[bold red]{figures.wrong}[/]")
    return grid


def _waits(figures: Figures) -> str:
    words = [f"{figures.overdue} past their deadline"]
    if figures.backlog is not None:
        words.append(f"{figures.backlog.pending} in the consumer")
    return ", ".join(words)


def _bars(figures: Figures) -> RenderableType:
    grid = _grid(4)
    total = sum(figures.results.values())
    for status, count in figures.results.items():
        grid.add_row(
            f"[{COLOURS[status]}]{status.value}[/]",
            str(count),
            _bar(count, total, COLOURS[status]),
            f"{count / total:6.1%}" if total else "",
        )
    return grid


def _requests(figures: Figures) -> RenderableType:
    words = [f"{figures.requests_rate:.0f} a second"]
    if figures.gifts:
        words.append(f"{figures.requests / figures.gifts:.1f} a gift")
    if figures.backlog is not None:
        words.append(f"{figures.backlog.in_flight} in flight")
    counts = _grid(3)
    counts.add_row("requests", str(figures.requests), ", ".join(words))
    over = figures.room_peak > ROOM_REQUESTS_PER_SECOND_MAX
    busiest = _grid(4)
    busiest.add_row(
        "busiest room",
        str(figures.room_now),
        _bar(figures.room_now, ROOM_REQUESTS_PER_SECOND_MAX, "red" if over else "cyan"),
        f"of {ROOM_REQUESTS_PER_SECOND_MAX}, so far at most {figures.room_peak}",
    )
    return Group(counts, busiest)


def _delays(figures: Figures) -> RenderableType:
    grid = _grid(3)
    for name, delays in (
        ("delay, ms", figures.delay_ms),
        ("UNCONSUMED late", figures.unconsumed_late_ms),
    ):
        ranks = delays._asdict().items()
        words = (f"[dim]{rank}[/] {_figure(value):<7}" for rank, value in ranks)
        grid.add_row(name, "", "  ".join(words))
    return grid


def _trouble(trouble: Trouble) -> list[RenderableType]:
    """One line of faults and at most `TOLD_LINES_MAX` of what the consumer says."""
    style = "bold red" if trouble.on else "dim"
    lines = [Text(f"faults: {', '.join(trouble.on) or 'none'}", style)]
    room = TOLD_LINES_MAX
    told = trouble.told
    if len(told) > room:
        told = (*told[: room - 1], f"and {len(told) - room + 1} lines more in its /status")
    lines += [Text(f"consumer: {line}", "dim") for line in told]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return ["", *lines]


def _grid(columns: int) -> Table:
    """A grid whose first two columns, names and counts, align from block to block."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(min_width=16, no_wrap=True)
    grid.add_column(min_width=9, justify="right", no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True)
    for _ in range(columns - 3):
        grid.add_column(no_wrap=True)
    return grid


def _bar(value: float, total: float, colour: str) -> ProgressBar:
    return ProgressBar(
        total=max(total, 1),
        completed=min(value, total),
        style="bright_black",
        complete_style=colour,
        finished_style=colour,
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _clock(duration_ms: int) -> str:
    minutes, seconds = divmod(duration_ms // 1_000, 60)
    return f"{minutes}:{seconds:02}"
