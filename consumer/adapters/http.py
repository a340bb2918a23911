"""What the process serves: `/livez`, `/readyz`, `/metrics`, `/status` (design §9)."""

from collections.abc import Callable
from typing import Any, Final, Protocol, Self

import orjson
from aiohttp import web

from consumer.errors import ConfigurationError

OK: Final = 200
UNAVAILABLE: Final = 503

_JSON: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2


class Probe(Protocol):
    """Whoever knows how the process is."""

    def alive(self) -> list[str]:
        """Why it should be restarted; empty: it lives."""
        ...

    def ready(self) -> list[str]:
        """Why it does not do its work; empty: it does."""
        ...

    def status(self) -> dict[str, Any]:
        """Everything a person would ask for; dataclasses may be in it."""
        ...


class HttpServer:
    """Serves within its `async with` block; `port` is the real one, also where 0 was asked for."""

    def __init__(
        self, *, host: str, port: int, probe: Probe, exposition: Callable[[], tuple[bytes, str]]
    ) -> None:
        self._host = host
        self.port = port
        self._probe = probe
        self._exposition = exposition
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/status", self._status)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigurationError: the port is taken, or the address is none of this machine's.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"http.port: cannot listen on {self._host}:{self.port}: {error.strerror};"
                " free the port or choose another (0: any)"
            ) from error
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        return _verdict(self._probe.alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._probe.ready())

    async def _metrics(self, _request: web.Request) -> web.Response:
        body, content_type = self._exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _status(self, _request: web.Request) -> web.Response:
        body = orjson.dumps(self._probe.status(), option=_JSON)
        return web.Response(body=body, content_type="application/json")


def _verdict(reasons: list[str]) -> web.Response:
    return web.Response(
        status=UNAVAILABLE if reasons else OK,
        text="".join(f"{each}\n" for each in reasons or ["ok"]),
    )
