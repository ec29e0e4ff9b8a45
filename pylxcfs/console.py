"""What all programs share on their way to people: arguments, printing, the log and its repetition filter.

Containers choose the names of mounts, cgroups, processes and devices, and root's terminal and log show them:
whatever is shown goes through `printable` here.
"""

import io
import logging
import os
import sys
import time
from argparse import ArgumentParser
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NoReturn

#: The exit status of a command line that is wrong, whatever the machine is like. The unit knows it, and does
#: not try again.
USAGE_ERROR: Final = 2
_INTERVAL_SECONDS: Final = 10.0
#: What differs in a name or a number only: more than any part of the program says at once, too little to fill
#: a disk.
_MOST_OF_A_KIND: Final = 32
_MOST_REMEMBERED: Final = 256
#: A line of a log or an error message; the journal splits those of 48 KiB.
_LONGEST_LINE: Final = 4096
#: os.fsdecode: bytes that are no UTF-8 are kept as these (PEP 383).
_FIRST_BYTE: Final = 0xDC80
_LAST_BYTE: Final = 0xDCFF
_STDERR: Final = 2
#: sd-daemon(3): what begins a line for the journal; it adds the program's name itself.
_PRIORITIES: Final = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}
_FIRST_LONG: Final = 0x10000
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(name: str | bytes, most: int | None = None) -> str:
    r"""Return a name that somebody else has chosen as one line of visible characters; never raises.

    Control characters (C0 and C1), changes of direction, invisible characters and other line ends become
    ``\n``, ``\x1b`` or ``\u202e``, a byte that is no UTF-8 ``\xff``. A second call changes nothing. Of more
    than `most` characters the middle is left out.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    if not text.isprintable():
        text = "".join(each if each.isprintable() else _escape(each) for each in text)
    if most is None or len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[-half:]}"


def _escape(character: str) -> str:
    number = ord(character)
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if _FIRST_BYTE <= number <= _LAST_BYTE:
        return f"\\x{number - 0xDC00:02x}"
    if character.isascii():
        return f"\\x{number:02x}"
    # Four digits for C1 controls too: two are a byte's.
    return f"\\u{number:04x}" if number < _FIRST_LONG else f"\\U{number:08x}"


def write_lines(lines: Iterable[str]) -> None:
    """Write lines for people to standard output; what is in them is made printable. Raises OSError."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal's encoding that lacks a letter is no reason to end in the midst of it.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


def complain(program: str, message: object) -> None:
    """Write one line to standard error, whatever the log level is."""
    begin = "<3>" if is_journal() else f"{program}: "
    sys.stderr.write(f"{begin}{printable(str(message), _LONGEST_LINE)}\n")


def is_journal() -> bool:
    """Tell whether standard error is read by systemd's journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(_STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class OneLineParser(ArgumentParser):
    """An `ArgumentParser` whose errors are one line, without the usage text, and exit with status 2."""

    def error(self, message: str) -> NoReturn:
        """Print `message` on one line and leave."""
        # A sub-command's prog has several words ("pylxcfsctl show"); the program is the first.
        program = self.prog.split()[0]
        complain(program, message)
        self.exit(USAGE_ERROR)


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


class LogFormatter(logging.Formatter):
    """``pylxcfs: message``; the level is named only where it is not the ordinary one.

    One line for each record; messages and the lines of a traceback below are made printable.
    """

    def __init__(self, program: str) -> None:
        """Begin each line with `program`."""
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback's lines indented."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        lines = [f"{self._program}: {level}{printable(record.getMessage(), _LONGEST_LINE)}"]
        if record.exc_info:
            traceback = self.formatException(record.exc_info)
            lines += (f"  {printable(line, _LONGEST_LINE)}" for line in traceback.split("\n"))
        return "\n".join(lines)


class JournalFormatter(logging.Formatter):
    """``<4>message``: the priority in front of every line, and nothing that the journal knows already."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback's lines."""
        lines = [record.getMessage()]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        priority = _PRIORITIES.get(record.levelno, "")
        return "\n".join(f"{priority}{printable(line, _LONGEST_LINE)}" for line in lines)


def set_up_logging(level: str, program: str = "pylxcfs") -> None:
    """Log to stderr what is at least as grave as `level`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JournalFormatter() if is_journal() else LogFormatter(program))
    handler.addFilter(RepetitionFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
