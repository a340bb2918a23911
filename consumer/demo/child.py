"""The consumer as the demo starts it against the embedded broker: `python -m consumer.demo.child`.

It is what `giftcheck run` does, but for the one option that `run` must never have: the embedded
broker keeps no transactional offsets, so every partition is read from its beginning.
"""

import argparse
import sys
from pathlib import Path

from consumer.app import run
from consumer.errors import GiftcheckError
from consumer.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Load the settings, consume until stopped, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m consumer.demo.child")
    parser.add_argument("--config", type=Path, required=True)
    parsed = parser.parse_args(arguments)
    try:
        return run(load_settings(parsed.config), embedded_broker=True)
    except GiftcheckError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
