"""A program that sets triggers on pressure and polls, and is told so."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

RESOURCES: Final = tuple(sorted(os.listdir("/proc/pressure")) if os.path.isdir("/proc/pressure") else ())
#: The kernel averages every 2 s; a tenth of that spent waiting is much on one CPU for two.
TRIGGER: Final = "some 200000 2000000"
#: With a timeout poll(2) would look once more at its end, and so find what it was never woken for.
UNTIL_AN_EVENT: Final = -1
_GIVE_UP_SECONDS: Final = 120
#: Opens a file as a user and obeys an order per line: write, or poll for so many milliseconds, -1 for ever.
_WATCHER: Final = """
import json, os, select, sys
path, user, kind = sys.argv[1:]
os.setresuid(*[int(user)] * 3)
file = os.open(path, os.O_RDWR)
poller = select.epoll() if kind == "epoll" else select.poll()
poller.register(file, select.POLLPRI)
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    order, argument = json.loads(line)
    try:
        if order == "write":
            answer = os.write(file, argument.encode())
        else:
            answer = [events for _, events in poller.poll(argument)]
    except OSError as error:
        answer = error.strerror
    print(json.dumps(answer), flush=True)
"""


class Watcher:
    """A process that sets triggers and polls."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Talk to `process`."""
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._say, self._hear = process.stdin, process.stdout

    def hear(self) -> Any:  # noqa: ANN401 - whatever it says
        """Return its next answer."""
        # Not select(2): a long session of tests has more than 1024 files open.
        poller = select.poll()
        poller.register(self._hear, select.POLLIN)
        assert poller.poll(_GIVE_UP_SECONDS * 1000), "never answered"
        return json.loads(self._hear.readline())

    def order(self, order: str, argument: str | int) -> None:
        """Give an order, without waiting for the answer."""
        self._say.write(json.dumps([order, argument]) + "\n")
        self._say.flush()

    def write(self, text: str) -> Any:  # noqa: ANN401 - whatever it says
        """Let it write; return how much was taken, or the error."""
        self.order("write", text)
        return self.hear()

    def poll(self, milliseconds: int) -> Any:  # noqa: ANN401 - whatever it says
        """Let it poll for POLLPRI; return the events."""
        self.order("poll", milliseconds)
        return self.hear()


@contextmanager
def watching(command: list[str]) -> Iterator[Watcher]:
    """Run `command`, which ends in the watcher program, and talk to it."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            watcher = Watcher(process)
            assert watcher.hear() == "ready"
            yield watcher
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


def program(file: Path, *, user: int = 0, kind: str = "poll") -> tuple[str, ...]:
    """Spell the watcher program on a file."""
    return (sys.executable, "-I", "-S", "-c", _WATCHER, str(file), str(user), kind)


def zeros(text: str) -> str:
    """Return the same lines without any pressure."""
    names = [line.split()[0] for line in text.splitlines()]
    return "".join(f"{name} avg10=0.00 avg60=0.00 avg300=0.00 total=0\n" for name in names)
