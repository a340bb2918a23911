"""Resident memory for each pending gift (issue: at most 1.5 KiB with values of 200 bytes)."""

import subprocess
import sys
from pathlib import Path

import pytest

from consumer.adapters.avro import encode_sent
from tests.bench.memory import gift


def test_the_measured_value_has_200_bytes() -> None:
    """The figure below is about values of this size."""
    assert 200 == len(encode_sent(gift(0)))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_a_pending_gift_takes_at_most_one_and_a_half_kib() -> None:
    """From 0 to 300,000 pending gifts, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.memory"]
    root = Path(__file__).parents[2]

    printed = float(subprocess.check_output(command, cwd=root))

    print(f"{printed} KiB for each pending gift")
    assert printed <= 1.5
