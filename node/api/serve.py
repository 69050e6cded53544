"""Runs the HTTP API under trio until it is cancelled."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from node.errors import ConfigError, PortInUseError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from node.config import ApiConfig


def bind(api: ApiConfig) -> socket.socket:
    """Bind the listening socket; raises PortInUseError or ConfigError before anything starts."""
    family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((api.host, api.port))
        listener.listen(128)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"the API address {api.host}:{api.port} is in use",
                "stop that program or set api.port",
            ) from exc
        raise ConfigError(
            f"can not listen on {api.host}:{api.port}: {exc.strerror}", "set api.host and api.port"
        ) from exc
    listener.setblocking(False)
    return listener


async def serve_api(
    app: Starlette, listener: socket.socket, api: ApiConfig, stop: trio.Event
) -> None:
    """Serve on a bound socket until `stop` is set; open requests get two seconds."""
    config = Config()
    # Its own copy: hypercorn closes what it is given, and the caller closes the listener.
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.graceful_timeout = 2
    config.loglevel = "CRITICAL"
    if api.tls_certificate and api.tls_key:
        config.certfile, config.keyfile = str(api.tls_certificate), str(api.tls_key)
    await serve(app, config, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]
