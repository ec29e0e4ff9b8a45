"""One JSON object per line; what a pod contains never gets in."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

#: The attribute of a record that carries fields: ``extra={FIELDS: {...}}``.
FIELDS: Final = "pylxcfs_fields"


class JsonFormatter(logging.Formatter):
    """Time, level and message, and the fields that the call gave."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)


def set_up(level: str) -> None:
    """Log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # One line for each request of ours to the API server.
    logging.getLogger("httpx").setLevel(logging.WARNING)
