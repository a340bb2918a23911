"""CPU time and memory of another process, from /proc: Linux alone has it."""

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_FIELDS_BEFORE_UTIME = 11
"""Of `/proc/<pid>/stat`, after the name in parentheses, which may contain anything."""


class Usage(NamedTuple):
    """What a process has used so far; `cpu_s` is user and system time of all its threads."""

    cpu_s: float
    resident_mib: float


def usage_of(pid: int) -> Usage:
    """What this process has used up to now.

    Raises:
        FileNotFoundError: there is no such process (any more), or no /proc.
    """
    folder = Path("/proc") / str(pid)
    fields = (folder / "stat").read_text().rpartition(") ")[2].split()
    user, system = map(int, fields[_FIELDS_BEFORE_UTIME : _FIELDS_BEFORE_UTIME + 2])
    status = (folder / "status").read_text()
    resident_kib = int(status.partition("VmRSS:")[2].split()[0])
    return Usage((user + system) / _TICKS_PER_S, resident_kib / 1024)
