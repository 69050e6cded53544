"""The only place where logging is set up: structlog to standard output, JSON or console."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

QUIET = ("libp2p", "multiaddr", "hypercorn", "httpx", "httpcore", "async_service")
"""Libraries that log peers' misbehaviour as errors; ingress and the peer ledger count it."""


def setup_logging(
    style: Literal["console", "json"], level: Literal["debug", "info", "warning", "error"]
) -> None:
    """Send our log to standard output and silence what libraries say below critical."""
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
