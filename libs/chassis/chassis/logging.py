"""JSON logs on standard output, one object a line, each with the trace id of what caused it.

Callers keep personal data out: ids and order numbers are fine, names, addresses and tokens are not.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from chassis.tracing import current_trace

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}


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
            line |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(service: str, level: str) -> None:
    """Send every logger of this process, uvicorn's included, through one JSON handler.

    Args:
        service: the name that each line carries.
        level: the threshold of the project's own loggers; libraries speak from WARNING on.
    """
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
