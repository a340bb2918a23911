"""Two minutes of chaos: every promise holds. `make chaos` is the long form, with its times."""

import asyncio
from pathlib import Path
from random import Random

import pytest
import uvloop

from consumer.errors import ConfigurationError
from tests.chaos.run import run
from tests.chaos.scene import Options
from tests.conftest import no_kafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def test_two_minutes_of_chaos_break_no_promise(tmp_path: Path) -> None:
    """One true result for each gift, no room above its limit, nobody had to be called.

    How soon results flow again is not asked here, where other tests want the machine, too.
    """
    seed = Random().randrange(1_000_000)
    wanted = Options(seed=seed, duration_s=80, alone=0, alone_away=0, rate=200)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        try:
            report = loop.run(run(wanted, tmp_path))
        except ConfigurationError as error:
            no_kafka(error)
    print(report.as_text())
    assert report.violations == ()
    assert report.gifts >= 12_000
