"""Keys of whoever watches: heard at once, unseen, and the terminal is as it was afterwards."""

import asyncio
import os
import pty
import termios
from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import pytest

from consumer.demo.keyboard import is_heard, listening

LOCAL_FLAGS = 3
"""Where tcgetattr has ICANON and ECHO."""


class Terminal(NamedTuple):
    """A person's side and ours."""

    person: int
    ours: int

    @property
    def flags(self) -> int:
        """ICANON (whole lines), ECHO and ISIG (Ctrl-C interrupts), as they are now."""
        flags: int = termios.tcgetattr(self.ours)[LOCAL_FLAGS]
        return flags & (termios.ICANON | termios.ECHO | termios.ISIG)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal as a shell leaves it."""
    made = Terminal(*pty.openpty())
    yield made
    for end in made:
        os.close(end)


async def test_each_key_is_heard_without_enter_and_unseen(terminal: Terminal) -> None:
    """Also several at once; an arrow key is no letter; Ctrl-C stays an interrupt."""
    heard: list[str] = []
    enough = asyncio.Event()

    def on_key(key: str) -> None:
        heard.append(key)
        if len(heard) == 3:
            enough.set()

    with listening(terminal.ours, on_key):
        assert terminal.flags == termios.ISIG
        os.write(terminal.person, b"a")
        await asyncio.sleep(0.01)  # or the terminal hands out both as one
        os.write(terminal.person, b"\x1b[A")
        await asyncio.sleep(0.01)
        os.write(terminal.person, b"\xffgl")
        async with asyncio.timeout(5):
            await enough.wait()
    assert heard == ["a", "g", "l"]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, asyncio.CancelledError])
async def test_the_terminal_is_put_back_on_every_way_out(
    terminal: Terminal, error: type[BaseException] | None
) -> None:
    """At the end of the block, and whatever ends it."""
    before = termios.tcgetattr(terminal.ours)
    with (
        nullcontext() if error is None else pytest.raises(error),
        listening(terminal.ours, print),
    ):
        assert termios.tcgetattr(terminal.ours) != before
        if error is not None:
            raise error
    assert termios.tcgetattr(terminal.ours) == before


async def test_a_terminal_that_hangs_up_is_no_trouble() -> None:
    """The window is closed: nothing more is heard."""
    person, ours = pty.openpty()
    with listening(ours, print):
        os.close(person)
        await asyncio.sleep(0)
    os.close(ours)


def test_only_a_terminal_that_is_ours_is_heard(terminal: Terminal) -> None:
    """A pipe has no keys; a terminal that does not control us would stop us for touching it."""
    reading, writing = os.pipe()
    assert not is_heard(reading)
    assert not is_heard(terminal.ours)
    os.close(reading)
    os.close(writing)
    assert not is_heard(reading)
