"""Command-line helpers that all programs share: argument parsing, the log's format, its repetition filter."""

import logging
import time
from argparse import ArgumentParser
from collections import OrderedDict
from typing import Final, NoReturn

_INTERVAL_SECONDS: Final = 10.0
#: What differs in a name or a number only: more than any part of the program says at once, too little to fill
#: a disk.
_MOST_OF_A_KIND: Final = 32
_MOST_REMEMBERED: Final = 256


class OneLineParser(ArgumentParser):
    """An `ArgumentParser` whose errors are one line, without the usage text, and exit with status 1."""

    def error(self, message: str) -> NoReturn:
        """Print `message` on one line and leave."""
        # A sub-command's prog has several words ("pylxcfsctl show"); the program is the first.
        program = self.prog.split()[0]
        self.exit(1, f"{program}: {' '.join(message.split())}\n")


class _Kind:
    """What was said of one kind in one interval; not a dataclass, whose import costs the supervisor 1 MB."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.words: set[str] = set()
        self.left_out = 0


class RepetitionFilter(logging.Filter):
    """Lets 32 warnings or errors of a kind through in ten seconds, and tells how many were left out.

    Of one kind are those from the same logger with the same format, and with the same exception from the same
    line. The same words are let through once.
    """

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._kinds: OrderedDict[tuple[object, ...], _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log this; called with the handler's lock held."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.msg, *_place(record))
        now = time.monotonic()
        kind = self._kinds.get(key)
        left_out = 0
        if kind is None or now - kind.since >= _INTERVAL_SECONDS:
            left_out = kind.left_out if kind else 0
            kind = self._kinds[key] = _Kind(now)
            self._kinds.move_to_end(key)
            if len(self._kinds) > _MOST_REMEMBERED:
                self._kinds.popitem(last=False)
        words = record.getMessage()
        if words in kind.words or len(kind.words) >= _MOST_OF_A_KIND:
            kind.left_out += 1
            return False
        kind.words.add(words)
        if left_out:
            record.msg, record.args = f"{words} ({left_out} more like it before)", None
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


class _LogFormatter(logging.Formatter):
    """``pylxcfs: message``; the level is named only where it is not the ordinary one."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"pylxcfs: {level}{text}"


def set_up_logging(level: str) -> None:
    """Log to stderr what is at least as grave as `level`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LogFormatter())
    handler.addFilter(RepetitionFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
