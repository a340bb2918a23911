"""Asks the API server over plain HTTPS: what kubectl would hide is seen, and it is quick."""

import http.client
import json
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

TIMEOUT_S: Final = 30

MERGE: Final = "application/merge-patch+json"

Object = dict[str, Any]


class Address(NamedTuple):
    """Where the server listens, and the certificates it is asked with."""

    port: int
    authority: Path
    certificate: Path

    def connect(self, timeout_s: float | None = TIMEOUT_S) -> http.client.HTTPSConnection:
        """A connection of one's own; None: it may be silent for as long as it likes."""
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.certificate)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=timeout_s, context=context
        )


class RefusedError(Exception):
    """The server's answer was no, with this status and this message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """The server's objects, by path; safe to use from several threads."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def get(self, path: str) -> Object:
        """One object, or a list of them."""
        return self._ask("GET", path)

    def items(self, path: str) -> list[Object]:
        """The objects of a list."""
        found: list[Object] = self.get(path)["items"]
        return found

    def post(self, path: str, body: Object) -> Object:
        """Make one."""
        return self._ask("POST", path, body)

    def patch(self, path: str, body: Object) -> Object:
        """Merge into one."""
        return self._ask("PATCH", path, body, MERGE)

    def delete(self, path: str, body: Object | None = None) -> Object:
        """Ask for its end."""
        return self._ask("DELETE", path, body)

    def _ask(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        """The answer.

        Raises:
            RefusedError: the server refused.
            OSError: it is not there.
        """
        connection = self._address.connect()
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": kind, "Accept": "application/json"},
            )
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            with suppress(ValueError, KeyError, TypeError):  # not every refusal is an object
                text = json.loads(text)["message"]
            raise RefusedError(response.status, text)
        answer: Object = json.loads(text) if text.startswith("{") else {"text": text}
        return answer
