"""Structured logs: one JSON object a line, with the ids of the event and execution at hand, and nothing personal."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from engage.redaction import mask

_about: ContextVar[dict[str, str]] = ContextVar("engage_log_about")


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Put ids (`event`, `execution`, `connection`, ...) on every line logged inside the block."""
    token = _about.set({**_about.get({}), **{name: str(value) for name, value in ids.items()}})
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object: time, level, logger, message, ids, and the exception's type and place."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. An exception's own text is left out: it may quote what a person or a vendor sent."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_about.get({}),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            frames = []
            traceback = record.exc_info[2]
            while traceback:
                code = traceback.tb_frame.f_code
                frames.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
                traceback = traceback.tb_next
            line["where"] = frames
        return json.dumps(line, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    """Return the text without what libraries put into it of an exception, and Django of a request.

    Its path may hold a link's token or a person's id.
    """
    text = _text(record)
    request = getattr(record, "request", None)
    path, match = getattr(request, "path", ""), getattr(request, "resolver_match", None)
    if path:
        text = text.replace(path, f"/{match.route}" if match else "(unknown path)")
    return mask(text)


def _text(record: logging.LogRecord) -> str:
    """Return the text with the classes of exceptions in place of what they say."""
    args = record.args
    if isinstance(args, Mapping) and "exc" in args:
        # Celery's tracer (celery.app.trace) has made a text of it already.
        kind = record.exc_info[0] if record.exc_info else None
        return str(record.msg) % {**args, "exc": kind.__name__ if kind else "(left out)"}
    if isinstance(args, tuple) and args:
        return str(record.msg) % tuple(type(arg).__name__ if isinstance(arg, BaseException) else arg for arg in args)
    return record.getMessage()
