"""JSON logs on standard output, one object a line, each with the current trace and span ids.

A message is a fixed phrase and its `extra` fields. Callers keep personal data out: ids and order
numbers are allowed; names, addresses and tokens are not.
"""

import json
import logging
import sys
import time
from datetime import UTC, datetime

from opentelemetry import trace

LIBRARY_INTERVAL_SECONDS = 60.0

_STANDARD_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "color_message",  # uvicorn's
}

_encode = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """Format a record, its `extra` fields and its exception as one line of JSON."""

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
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        line |= {
            name: value
            for name, value in record.__dict__.items()
            if name not in _STANDARD_ATTRIBUTES
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


class RateLimit(logging.Filter):
    """Pass one record a minute of a logger and its children; records of other loggers all pass.

    OpenTelemetry logs each failed export, which is one line a second while the collector is down.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._next = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):
            return True
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + LIBRARY_INTERVAL_SECONDS
        return True


def configure_logging(service: str, level: str) -> None:
    """Send the records of all loggers, uvicorn's included, through one JSON handler.

    Args:
        service: the name that each line carries.
        level: the threshold of the project's own loggers; libraries log from WARNING on.
    """
    # Logging HOWTO, "Optimization": the lines do not show these.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    handler.addFilter(RateLimit("opentelemetry"))
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
