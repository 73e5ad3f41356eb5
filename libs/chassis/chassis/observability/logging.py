"""JSON logs on standard output, one object a line, each with the trace id of what caused it.

Callers keep personal data out: ids and order numbers are fine, names, addresses and tokens are not.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from chassis.observability.tracing import current_trace

_NOT_FOUND_OUT: dict[str, object] = {
    **dict.fromkeys(("filename", "pathname", "module", "funcName"), ""),
    **dict.fromkeys(("processName", "threadName"), ""),
    **dict.fromkeys(("process", "thread", "taskName", "exc_text", "stack_info")),
    "lineno": 0,
    "relativeCreated": 0.0,
}


class LeanRecord(logging.LogRecord):
    """A record that finds out only what a line shows: no file, thread or process.

    A third of the cost, at every request. What is not found out is there for others' formatters.
    """

    def __init__(
        self,
        name: str,
        level: int,
        pathname: str,
        lineno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        sinfo: str | None = None,
        **_: Any,
    ) -> None:
        self.__dict__.update(_NOT_FOUND_OUT)
        self.name = name
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.msg = msg
        self.args = args[0] if args and isinstance(args[0], Mapping) and args[0] else args
        self.exc_info = exc_info
        self.created = now = time.time()
        self.msecs = now % 1 * 1000.0


_NOT_EXTRA = frozenset(LeanRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "color_message",
}


class JsonFormatter(logging.Formatter):
    """Renders a record, its `extra` fields and its exception as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = current_trace()
        if trace is not None:
            line["trace_id"], line["span_id"] = trace.trace_id, trace.span_id
        line.update(item for item in record.__dict__.items() if item[0] not in _NOT_EXTRA)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return to_json(line, fallback=str).decode()
        except (ValueError, TypeError):  # half a surrogate pair, say
            return json.dumps(line, default=str)


def configure_logging(service: str, level: str) -> None:
    """Send every logger of this process, uvicorn's included, through one JSON handler.

    Args:
        service: the name that each line carries.
        level: the threshold of the project's own loggers; libraries speak from WARNING on.
    """
    logging.setLogRecordFactory(LeanRecord)
    logging._srcfile = None  # documented: not to look up who called
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("WARNING")
    for ours in ("app", "chassis"):
        logging.getLogger(ours).setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.error").setLevel("INFO")
    logging.getLogger("uvicorn.access").propagate = False  # RequestMiddleware logs requests
