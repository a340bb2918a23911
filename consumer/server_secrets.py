"""The apps' server secrets, read again from their files when the vendor refuses them (design §7).

A mounted secret is rotated under us: Kubernetes swaps a symbolic link, so the path stays and its
content changes at once. When the vendor begins to want the new secret nobody tells; so a secret
is kept as long as it works, and while its app is refused the file is read before each further
check, at most once a second: such checks are far apart, and a file may follow the vendor by
minutes. Files are read on the event loop: a mounted secret lies in memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import structlog

from consumer.clock import Clock
from consumer.core.messages import CheckAnswered, CheckLost, CheckNotWritten
from consumer.core.model import Check, Trouble
from consumer.core.reaction import trouble_of
from consumer.runner import CheckApi
from consumer.settings import AppSettings

REREAD_MS: Final = 1_000
"""Checks of many rooms may leave together once their app may be asked again: one read is enough."""

_REFUSALS: Final = frozenset({Trouble.CREDENTIALS, Trouble.CONFIGURATION})

log = structlog.get_logger()


class ServerSecrets(Mapping[int, str]):
    """The secrets in use, by AppId; `reread` alone changes one.

    Raises (when made):
        ValueError: a secret cannot be had.
    """

    def __init__(self, apps: Iterable[AppSettings]) -> None:
        self._apps = {app.app_id: app for app in apps}
        self._secrets = {app_id: app.secret() for app_id, app in self._apps.items()}
        self._unreadable: dict[int, str] = {}

    def __getitem__(self, app_id: int) -> str:
        return self._secrets[app_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)

    def reread(self, app_id: int) -> None:
        """Take what the app's file holds now; a file that cannot be read changes nothing.

        Either is logged, the second once for each reason; the secret itself never is.
        """
        app = self._apps.get(app_id)
        if app is None or app.server_secret_file is None:
            return
        try:
            secret = app.secret()
        except ValueError as error:
            self._note_unreadable(app_id, str(error))
            return
        self._unreadable.pop(app_id, None)
        if secret != self._secrets[app_id]:
            self._secrets[app_id] = secret
            file = str(app.server_secret_file)
            log.info("the server secret has changed: the new one is used", app_id=app_id, file=file)

    def _note_unreadable(self, app_id: int, reason: str) -> None:
        if self._unreadable.get(app_id) != reason:
            self._unreadable[app_id] = reason
            log.warning(
                "the server secret cannot be read again: the old one is used",
                app_id=app_id,
                reason=reason,
            )


class WithFreshSecrets:
    """Sends checks through another `CheckApi`, which looks secrets up in these `secrets`."""

    def __init__(self, check_api: CheckApi, secrets: ServerSecrets, clock: Clock) -> None:
        self._check_api = check_api
        self._secrets = secrets
        self._clock = clock
        self._reread_ms: dict[int, int] = {}
        """For each refused app, when its file is to be read next."""

    async def send(self, check: Check) -> CheckAnswered | CheckLost | CheckNotWritten:
        """Send it, with the app's secret as its file holds it now if the last one was refused."""
        now_ms = self._clock.now_ms()
        due_ms = self._reread_ms.get(check.app_id)
        if due_ms is not None and now_ms >= due_ms:
            self._reread_ms[check.app_id] = now_ms + REREAD_MS
            self._secrets.reread(check.app_id)
        ended = await self._check_api.send(check)
        self._note(check.app_id, ended)
        return ended

    def _note(self, app_id: int, ended: CheckAnswered | CheckLost | CheckNotWritten) -> None:
        if isinstance(ended, CheckNotWritten):
            return
        if isinstance(ended, CheckAnswered):
            trouble = trouble_of(ended.answer.code)
        else:
            trouble = ended.trouble
        if trouble is None:
            self._reread_ms.pop(app_id, None)
        elif trouble in _REFUSALS:
            self._reread_ms.setdefault(app_id, self._clock.now_ms())
