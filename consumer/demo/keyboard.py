"""Single keys of whoever watches, without Enter and without blocking the event loop.

The terminal is put into cbreak mode, where keys come at once and unseen and Ctrl-C is still an
interrupt, and put back as it was on every way out of the block. A process in the background must
leave the terminal alone: the kernel would stop it.
"""

import asyncio
import os
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_KEYS_MAX: Final = 64
_ESCAPE: Final = b"\x1b"


def is_heard(terminal: int) -> bool:
    """Whether keys pressed at this file descriptor come to us."""
    try:
        return os.isatty(terminal) and os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # closed, or a terminal that does not control us
        return False


@contextmanager
def listening(terminal: int, on_key: Callable[[str], None]) -> Iterator[None]:
    """Call `on_key` in the running event loop for each key pressed within the block."""
    before = termios.tcgetattr(terminal)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(BlockingIOError):
            pressed = os.read(terminal, _KEYS_MAX)
            if not pressed:  # hung up
                loop.remove_reader(terminal)
            if _ESCAPE not in pressed:  # an arrow key is "ESC [ A": no letter was pressed
                for key in pressed.decode("ascii", "ignore"):
                    on_key(key)

    tty.setcbreak(terminal, termios.TCSADRAIN)
    try:
        loop.add_reader(terminal, read)
        try:
            yield
        finally:
            loop.remove_reader(terminal)
    finally:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
