"""Waits for what other processes do, of which no event tells a test."""

import time
from collections.abc import Callable
from typing import Any, Final

WAIT_S: Final = 30
"""Longer than any controller takes; nothing waits for it in vain."""

ASK_EVERY_S: Final = 0.05


def wait_for(holds: Callable[[], Any], what: str) -> None:
    """Until it holds.

    Raises:
        AssertionError: it does not, for `WAIT_S`.
    """
    until = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until, f"{WAIT_S} s, and not yet: {what}"
        time.sleep(ASK_EVERY_S)
