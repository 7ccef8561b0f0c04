"""Logging of the server: lines for a terminal, or one JSON object a line.

All loggers are the standard library's, Hypercorn's among them; structlog renders what they say.
What stands in ``extra`` becomes a field. No line holds a token, a body or a query.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TextIO

import structlog
from quart_trio import QuartTrio
from structlog.typing import EventDict, Processor, WrappedLogger

from pyrite.config.settings import Settings
from pyrite.server.log_writer import LogWriter
from pyrite.server.middleware.request_log import RequestRecord, listen

#: The product's own loggers, which follow the setting.
_OWN = ("pyrite", "actors")

#: Routes that somebody asks for every few seconds.
_ROUTINE = frozenset({"/healthz", "/readyz", "/metrics"})

#: Whatever looks like a token, should one ever come into a line.
_TOKEN = re.compile(r"pyrite_[A-Za-z0-9-]+_[\w-]{16,}")

_access = logging.getLogger("pyrite.access")


def install(app: QuartTrio) -> None:
    """Log each request as one line."""
    listen(app, _log_request)


def configure(settings: Settings, environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Have everything logged as the settings say, in place of what was set up before.

    Args:
        settings: ``log_level`` and ``log_format``.
        environ: ``NO_COLOR`` turns colours off.
        stream: where to; the standard error, if not given.
    """
    out = sys.stderr if stream is None else stream
    handler = LogWriter(out)
    as_json = settings.log_format == "json"
    handler.setFormatter(_formatter(as_json=as_json, colours=_colours(out, environ)))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    root = logging.getLogger()
    for former in root.handlers:
        if isinstance(former, LogWriter):
            former.stop()
    root.handlers = [handler]
    # Others' debugging goes too far: that of HTTP/2 holds each header, tokens included.
    root.setLevel(max(level, logging.INFO))
    for name in _OWN:
        logging.getLogger(name).setLevel(level)
    # It counts every write in the folders at this level, the server's own among them.
    logging.getLogger("watchfiles").setLevel(max(level, logging.WARNING))
    # It tells the ids of sessions, which are as good as their holders' tokens.
    logging.getLogger("mcp").setLevel(max(level, logging.WARNING))
    # Started by itself, Hypercorn has given its logger a handler, and would log twice.
    logging.getLogger("hypercorn.error").handlers.clear()


def flush() -> None:
    """Wait until what was logged is written, but no longer than a second.

    `logging.shutdown` knows only of handlers that were made since logging was last configured,
    which Hypercorn does in its workers.
    """
    for handler in logging.getLogger().handlers:
        handler.flush()


def _log_request(record: RequestRecord) -> None:
    level = logging.DEBUG if record.route in _ROUTINE else logging.INFO
    if record.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        level = logging.WARNING
    if _access.isEnabledFor(level):
        _access.log(
            level,
            "request",
            extra={
                "method": record.method if record.kind == "http" else "WEBSOCKET",
                "route": record.route,
                "status": record.status,
                "duration_ms": round(record.duration_s * 1000, 1),
                "client": record.client,
                # It is no longer bound when a request is over.
                "request_id": record.request_id,
            },
        )


def _colours(out: TextIO, environ: Mapping[str, str]) -> bool:
    return out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _formatter(*, as_json: bool, colours: bool) -> logging.Formatter:
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=as_json),
    ]
    after: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    # Tracebacks are plain: those of rich show the values of variables, bodies among them.
    if as_json:
        after += [structlog.processors.format_exc_info, _tidy, _as_json]
    else:
        plain = structlog.dev.plain_traceback
        console = structlog.dev.ConsoleRenderer(
            colors=colours, pad_event_to=0, exception_formatter=plain
        )
        after += [_tidy, _escaped, console]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before, processors=[*after, _without_tokens]
    )


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


def _tidy(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Without what is not known."""
    return {name: value for name, value in event.items() if value is not None}


def _escaped(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """With what would move a terminal's cursor, or begin another line, made visible."""
    return {name: _printable(value) for name, value in event.items()}


def _printable(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def _without_tokens(_logger: WrappedLogger, _method: str, line: Any) -> Any:
    """The line as it is to be written, without any token."""
    return _TOKEN.sub("pyrite_…", line) if isinstance(line, str) else line
