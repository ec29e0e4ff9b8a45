"""Keeps the log readable when the same thing goes wrong thousands of times per second."""

import logging
import time
from collections import OrderedDict
from typing import Final

_INTERVAL_SECONDS: Final = 10.0
_MOST_REMEMBERED: Final = 256


class RepetitionFilter(logging.Filter):
    """Lets an identical warning or error through once in ten seconds, and tells how many were left out.

    Identical are those with the same words, and the same exception from the same line.
    """

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        #: What was said → when last, and how often it was left out since.
        self._said: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log this; called with the handler's lock held."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.getMessage(), *_place(record))
        now = time.monotonic()
        said_at, left_out = self._said.get(key, (-_INTERVAL_SECONDS, 0))
        if now - said_at < _INTERVAL_SECONDS:
            self._said[key] = (said_at, left_out + 1)
            return False
        self._said[key] = (now, 0)
        self._said.move_to_end(key)
        if len(self._said) > _MOST_REMEMBERED:
            self._said.popitem(last=False)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it before)", None
        return True


def _place(record: logging.LogRecord) -> tuple[object, ...]:
    """Return what exception a record is about, and where it was raised."""
    if not record.exc_info or record.exc_info[0] is None:
        return ()
    kind, _, traceback = record.exc_info
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return (kind,)
    return (kind, traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
