"""A process in a container that reads all the time, and notices whatever is wrong."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from subprocess import Popen
from typing import Final, NamedTuple

from tests.support.container import FILES, Container

#: Reads all files again and again, some in pieces, until its input ends; then tells what it saw.
_PROGRAM: Final = """
import json, os, select, sys, time
names = sys.argv[1:]
reads = failed = torn = back = 0
longest = 0.0
before = {}
problems = []
slow = []
while not select.select([sys.stdin], [], [], 0)[0]:
    for name in names:
        started = time.monotonic()
        try:
            fd = os.open(f"/proc/{name}", os.O_RDONLY)
            size = 512 if name in ("stat", "meminfo") else 65536
            content = b""
            while piece := os.read(fd, size):
                content += piece
            os.close(fd)
        except OSError as error:
            failed += 1
            problems.append(repr(error))
            continue
        seconds = time.monotonic() - started
        longest = max(longest, seconds)
        if seconds > 0.002 and len(slow) < 20000:
            slow.append((started, seconds))
        reads += 1
        lines = content.decode().splitlines()
        # A container without block I/O has no device.
        whole = content.endswith(b"\\n") or (name == "diskstats" and not content)
        if name == "meminfo":
            fields = {l.split(":")[0] for l in lines}
            whole = whole and lines[0].startswith("MemTotal:") and len(fields) == len(lines)
            whole = whole and all(len(l.split()) in (2, 3) for l in lines)
        elif name == "stat":
            cpus = [l.split() for l in lines if l.startswith("cpu")]
            total = [int(n) for n in cpus[0][1:]]
            whole = whole and total == [sum(int(c[i + 1]) for c in cpus[1:]) for i in range(len(total))]
            last = before.get("stat", [0] * len(total))
            if any(new < old for new, old in zip(total, last)):
                back += 1
                problems.append(f"{last} -> {total}")
            before["stat"] = total
        elif name == "uptime":
            whole = whole and len(content.split()) == 2
        if not whole:
            torn += 1
            problems.append(f"{name} {content!r}")
    if not reads - len(names):
        print("reading", flush=True)
seen = dict(reads=reads, failed=failed, torn=torn, back=back, longest_seconds=longest)
print(json.dumps({**seen, "problems": problems[:2], "slow": slow}))
"""


#: Somebody who reads all the time notices a death by then.
_LATER_SECONDS: Final = 0.5


class Seen(NamedTuple):
    """What a reader saw."""

    reads: int
    #: Reads that ended with an error, were cut short, or had a counter that went back.
    failed: int
    torn: int
    back: int
    longest_seconds: float
    #: The first of those that were wrong.
    problems: Sequence[str]
    #: When reads of more than 2 ms began (monotonic clock), and how long they took.
    slow: Sequence[tuple[float, float]]

    @property
    def wrong(self) -> int:
        """How many reads were not as they should be."""
        return self.failed + self.torn + self.back


def stall_at(moment: float, seen: Sequence[Seen]) -> float:
    """Return how long the longest read took that was under way within half a second after `moment`, or 0."""
    return max(
        (
            seconds
            for one in seen
            for began, seconds in one.slow
            if began < moment + _LATER_SECONDS and began + seconds > moment
        ),
        default=0.0,
    )


class Reader:
    """A running reader."""

    def __init__(self, process: Popen[str]) -> None:
        """Take a process that has begun to read."""
        self._process = process

    def stop(self) -> Seen:
        """End it, and return what it saw."""
        output, _ = self._process.communicate("stop\n")
        return Seen(**json.loads(output))


def reader_command(interpreter: str = sys.executable) -> list[str]:
    """Spell the command that reads."""
    return [interpreter, "-I", "-S", "-u", "-c", _PROGRAM, *sorted(FILES)]


@contextmanager
def reading(started: Popen[str]) -> Iterator[Reader]:
    """Let a process of `reader_command` read; it has read everything once when the block begins."""
    with started as process:
        try:
            assert process.stdout is not None
            assert "reading\n" == process.stdout.readline()
            yield Reader(process)
        finally:
            process.kill()


def reader(container: Container) -> AbstractContextManager[Reader]:
    """Have a process in `container` read."""
    return reading(container.start(*reader_command()))
