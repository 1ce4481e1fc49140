"""Running the application: bind, load, serve, and stop without losing what was accepted."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

import uvicorn

from glesam.errors import ConfigError
from glesam.serve.app import create_app
from glesam.serve.settings import ServerSettings

_SPARE_SECONDS = 5
"""For writing the last answers, when the server is told to stop."""


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
    with _bind(settings) as listener:
        config = uvicorn.Config(
            create_app(settings),
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=int(settings.read_seconds + settings.answer_seconds) + _SPARE_SECONDS,
        )
        host, port = listener.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        uvicorn.Server(config).run(sockets=[listener])


def _bind(settings: ServerSettings) -> socket.socket:
    """Listen, before the model is loaded: a taken port is told at once."""
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
