"""What a log line looks like, and what never is in one."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from pydantic import SecretStr

from consumer.logs import configure_logs
from consumer.settings import LogSettings

SECRET = "topsecret"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Logs are set up for a whole process; the next test finds them as this one did."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configure(
    format_: Literal["json", "console"] = "json",
    level: Literal["debug", "info", "warning", "error"] = "info",
) -> None:
    """Set up as a process does."""
    configure_logs(LogSettings(format=format_, level=level))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The JSON lines on standard error; nothing may be on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def fail_with_a_secret_at_hand() -> None:
    """Raise with a secret in a local variable."""
    password = SECRET
    raise RuntimeError(f"failed after {len(password)} characters")


def test_a_line_is_one_json_object_with_time_level_and_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On standard error; the time is UTC."""
    configure()
    structlog.get_logger().info("started", partition=3)
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "started", "level": "info", "partition": 3}


def test_less_severe_lines_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """The level is the least that is written, for libraries too."""
    configure(level="warning")
    structlog.get_logger().info("not this")
    logging.getLogger("library").info("nor this")
    structlog.get_logger().warning("this")
    assert [line["event"] for line in lines(capsys)] == ["this"]


def test_a_library_that_logs_by_itself_is_rendered_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What goes through `logging` comes out as one JSON object too."""
    configure()
    logging.getLogger("aiohttp.server").warning("bad request from %s", "somebody")
    (line,) = lines(capsys)
    assert (line["event"], line["level"]) == ("bad request from somebody", "warning")


def test_a_logger_made_before_the_set_up_follows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Modules make theirs when they are imported."""
    log = structlog.get_logger()
    configure()
    log.info("late")
    assert [line["event"] for line in lines(capsys)] == ["late"]


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "a library's"])
@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_has_no_local_variables(
    capsys: pytest.CaptureFixture[str], format_: Literal["json", "console"], *, foreign: bool
) -> None:
    """They may hold secrets; where it happened is told all the same."""
    configure(format_)
    try:
        fail_with_a_secret_at_hand()
    except RuntimeError:
        if foreign:
            logging.getLogger("library").exception("it failed")
        else:
            structlog.get_logger().exception("it failed")
    err = capsys.readouterr().err
    assert "failed after 9 characters" in err
    assert "fail_with_a_secret_at_hand" in err
    assert SECRET not in err


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_secret_is_masked_where_it_is_logged(
    capsys: pytest.CaptureFixture[str], format_: Literal["json", "console"]
) -> None:
    """Whoever logs settings by mistake shows stars."""
    configure(format_)
    structlog.get_logger().info("settings", secret=SecretStr(SECRET))
    err = capsys.readouterr().err
    assert "**********" in err
    assert SECRET not in err


def test_bytes_and_objects_can_be_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """A log line must never be what fails."""
    configure()
    structlog.get_logger().info("odd", value=b"\xff", thing=sys, numbers={1, 2})
    (line,) = lines(capsys)
    assert line["event"] == "odd"


def test_the_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The event and its fields on one line, no JSON, and no colours where nobody sees them."""
    configure("console")
    structlog.get_logger().info("started", partition=3)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"\[info +\] started +partition=3$", err.rstrip()) is not None
