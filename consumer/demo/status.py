"""The consumer's `/status` as a few lines for people, whatever fields it has.

What it says in words is repeated as it is: reasons, and every list of sentences in `core`. Single
figures follow in one line, by their field's name. So a field that is new needs nothing here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

_SHOWN_ELSEWHERE: Final = frozenset({"pending_gifts", "requests_in_flight"})


def told_by(status: Mapping[str, Any]) -> tuple[str, ...]:
    """The lines: what it says is wrong first, and last the figures."""
    core = status.get("core", {})
    return (*status.get("reasons", ()), *_sentences(core), *_paused(core), *_figures(core))


def _sentences(core: Mapping[str, Any]) -> Iterator[str]:
    for value in core.values():
        if isinstance(value, list):
            yield from (sentence for sentence in value if isinstance(sentence, str))


def _paused(core: Mapping[str, Any]) -> Iterator[str]:
    """Partitions whose intake is paused, counted by the limits that are reached."""
    limits = Counter(", ".join(one["paused_for"]) for one in core.get("partitions", ()))
    for reached, count in limits.items():
        if reached:
            yield f"intake of {count} partitions paused for {reached}"


def _figures(core: Mapping[str, Any]) -> Iterator[str]:
    figures = [
        f"{name.replace('_', ' ')} {value:g}"
        for name, value in core.items()
        if isinstance(value, int | float) and name not in _SHOWN_ELSEWHERE
    ]
    if figures:
        yield ", ".join(figures)
