"""The command `giftcheck`, and `python -m consumer`."""

from typing import NoReturn

from consumer.garbage import collect_seldom


def main() -> NoReturn:
    """Run the command line, whose imports are most of a start, with the collector out of the way."""
    collect_seldom()

    from consumer.cli import main as run_command_line  # noqa: PLC0415

    run_command_line()


if __name__ == "__main__":
    main()
