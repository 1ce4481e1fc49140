"""Running the application: bind, load, serve, and stop without losing what was accepted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn, cast

import uvicorn

from glesam.errors import ConfigError
from glesam.serve.app import create_app
from glesam.serve.connections import Connection, connections_within, limited, raise_file_limit
from glesam.serve.service import Service
from glesam.serve.settings import ServerSettings

_SPARE_SECONDS = 2
"""For writing the last answers, when the time to stop is over."""


class _Server(uvicorn.Server):
    """Stops within a time of grace.

    Args:
        config: of uvicorn.
        service: gives up what is not answered then.
        grace: seconds.
    """

    def __init__(self, config: uvicorn.Config, service: Service, grace: float) -> None:
        super().__init__(config)
        self._service, self._grace = service, grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, and answer what was accepted, as long as there is time."""
        asyncio.get_running_loop().call_later(self._grace, self._give_up)
        await super().shutdown(sockets)

    def _give_up(self) -> None:
        """Time is over: stop all work, and wait for no body any more."""
        self._service.give_up()
        for connection in list(cast("set[Connection]", self.server_state.connections)):
            if not connection.is_at_work:
                connection.transport.abort()


def serve(settings: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; then refuse new connections, answer what was accepted, and return.

    Args:
        settings: see `ServerSettings`.
        ready: called with the server's address when it listens and the model is loaded.

    Raises:
        ConfigError: the port is taken or the host is unknown.
        ModelError: the model cannot be loaded.
        SystemExit: status 0, after a signal.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    most = connections_within(raise_file_limit(), settings.max_connections)
    with _bind(settings) as listener:
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="warning",
            server_header=False,
            http=limited(most, settings.head_seconds),
            timeout_graceful_shutdown=int(settings.grace_seconds) + _SPARE_SECONDS,
        )
        host, port = listener.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        service: Service = app.state.service
        try:
            _Server(config, service, settings.grace_seconds).run(sockets=[listener])
        finally:
            _end(service)


def _end(service: Service) -> None:
    """Leave at once where a thread is in a long computation: the interpreter would wait for it."""
    if not service.close(0.0):
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(0)


def _bind(settings: ServerSettings) -> socket.socket:
    """Listen, before the model is loaded: a port in use is reported at once."""
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
        # Connections inherit it. Without, the body of an answer waits 40 ms for the client to confirm the head; asyncio
        # sets it only on sockets that it made itself.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ConfigError(
            f"expected to listen on {settings.host}, port {settings.port}, got {error.strerror or error!s}; "
            "choose another with --host and --port"
        ) from error


def _stop(*_: Any) -> NoReturn:
    """Leave with status 0: stopping is what a signal to a server asks for, and uvicorn sends it again at its end."""
    raise SystemExit(0)
