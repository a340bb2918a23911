"""What the production code logs: into the trace, or nowhere."""

import logging
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog


@contextmanager
def logging_to(line: Callable[[str], None] | None) -> Iterator[None]:
    """Give log lines of all pods to `line` for as long as the block lasts; None: to nobody."""

    def render(_logger: object, level: str, event: MutableMapping[str, Any]) -> str:
        if line is not None:
            words = " ".join(f"{key}={value}" for key, value in event.items() if key != "event")
            line(f"{'':12} {level:8} {event.get('event')} {words}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.CRITICAL if line is None else logging.INFO
        ),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
