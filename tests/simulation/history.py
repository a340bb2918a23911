"""What has happened, as far as promises are judged by it: who sent what, and what was asked."""

from dataclasses import dataclass, field

from consumer.core.model import Check
from consumer.simulator import Gift

Place = tuple[int, int]
"""A record's partition and offset."""


@dataclass(slots=True)
class Sent:
    """A record of gift-sent that a `read_committed` reader sees.

    `gift` is None for a record that is no gift; `value` and `key` are as written.
    """

    place: Place
    kind: str
    written_ms: int
    gift: Gift | None
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class History:
    """All of it, in the order in which it happened."""

    sent: dict[Place, Sent] = field(default_factory=dict)
    asked_ms: dict[tuple[int, str, str, str], int] = field(default_factory=dict)
    troubles: list[tuple[str, int, int]] = field(default_factory=list)

    def record(self, sent: Sent) -> None:
        """A record was written."""
        self.sent[sent.place] = sent

    def asked(self, check: Check, now_ms: int) -> None:
        """A check was written to the socket."""
        where = check.app_id, check.room_id, check.mini_game_id
        for msg_id in check.msg_ids:
            self.asked_ms[(*where, msg_id)] = now_ms

    def had(self, kinds: frozenset[str], since_ms: int, until_ms: int) -> bool:
        """Whether a trouble of these kinds held at some time between."""
        return any(
            kind in kinds and begin_ms <= until_ms and end_ms >= since_ms
            for kind, begin_ms, end_ms in self.troubles
        )
