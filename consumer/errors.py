"""What ends the process, by what an operator can do about it (design §9, exit codes).

Trouble with a record, a gift or the API never ends the process: it travels as data. These
errors are for the rest, and each carries the exit code a supervisor sees.
"""

from typing import ClassVar


class GiftcheckError(Exception):
    """Ends the process with one line that names what happened, where, and what to do."""

    exit_code: ClassVar[int] = 70


class ConfigurationError(GiftcheckError):
    """Only an operator can mend it: a setting, credentials, rights, a topic, lost data."""

    exit_code = 2


class RestartNeeded(GiftcheckError):
    """The truth is in Kafka and only a fresh start reads it: an unknown commit, a long outage."""

    exit_code = 70


class NameTaken(GiftcheckError):
    """Another process uses this instance's name; it won, this one steps back."""

    exit_code = 71
