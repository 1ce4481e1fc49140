"""The listening socket."""

import socket

import pytest

from glesam.errors import ConfigError
from glesam.serve.run import _bind
from glesam.serve.settings import ServerSettings


def test_connections_send_at_once():
    with _bind(ServerSettings(port=0)) as listener, socket.create_connection(listener.getsockname()[:2]):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_taken_port_is_told_in_one_line():
    with _bind(ServerSettings(port=0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            _bind(ServerSettings(port=port))
