"""When Python looks for garbage: seldom, and never among what a start has made.

Gifts form no cycles, so what is done with goes at once. A full collection walks through all that is
pending: with 300,000 gifts it stopped everything for 0.27 s, and taking them in met eleven (none
with these thresholds, and 0.02 s for the longest other one). A start makes 70,000 objects that stay
and 80 that do not; looking for those was a seventh of its CPU, and whoever waits for a restarted
process waits for that.
"""

import gc
from typing import Final

COLLECT_AFTER: Final = (10_000, 20, 1_000)
"""Python's collection thresholds."""


def collect_seldom() -> None:
    """Set the thresholds, and leave what is there now out of every collection to come."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
