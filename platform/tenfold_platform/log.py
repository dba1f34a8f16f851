"""Structured logs: one JSON object a line on standard output, without anybody's secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# keys (tf_<id>_<secret>), tokens (tft.<payload>.<mac>), passwords inside addresses, credentials in headers
_SECRETS = (
    (re.compile(r"tf_([a-z0-9]{12})_[A-Za-z0-9_%=+/-]+"), r"tf_\1_[redacted]"),
    (re.compile(r"tft\.[A-Za-z0-9_%=+/.-]+"), "tft.[redacted]"),
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)"), r"\1:[redacted]"),
    (re.compile(r"(?i)\b(bearer|api-key|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 [redacted]"),
    (re.compile(r"(?i)((?:__Host-tenfold|tenfold_session)=)[^;\s\"']+"), r"\1[redacted]"),
    (re.compile(r"(/sign-in#)[A-Za-z0-9_-]+"), r"\1[redacted]"),
)


def redact(text: str) -> str:
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redact_leaves(value: Any) -> Any:
    """The same, in every string of a nested value (keys included)."""
    match value:
        case str():
            return redact(value)
        case bytes():
            return redact(value.decode("utf-8", "replace"))
        case Mapping():
            return {redact_leaves(key): redact_leaves(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [redact_leaves(inner) for inner in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return redact(str(value))


def configure_logging(process: str, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Once, when a process starts. The standard library's loggers (uvicorn, alembic, celery) come out the same way."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_process(process),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_event,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"  # ours says the same, without the query string
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's, for terminals
    return cast(EventDict, redact_leaves(event))


def _name_process(process: str) -> Processor:
    def name_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return name_process


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(name))
