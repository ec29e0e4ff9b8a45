"""Runs inside a machine whose kernel cannot send requests again, and prints what a server's death cost there.

Before Linux 6.9 what the dead server had taken and not answered fails; what was waiting does not.
"""

import errno
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.inside import MOUNT, start_daemon, stop_daemon
from tests.support.lengths import at_length

READERS = 4
DEATHS = at_length(15, 6)
REPLACEMENTS = at_length(8, 4)
_STATE = Path("/run/pylxcfs/supervisor.json")
_STOP = Path("/run/stop")
_READ = ("meminfo", "stat", "uptime", "cpuinfo")


def _read_until_told(tell: int) -> None:
    reads, longest_seconds = 0, 0.0
    errors: Counter[str] = Counter()
    while not _STOP.exists():
        for name in _READ:
            began = time.monotonic()
            try:
                if not (MOUNT / "proc" / name).read_bytes().endswith(b"\n"):
                    errors["torn"] += 1
            except OSError as error:
                errors[errno.errorcode[error.errno or 0]] += 1
            reads += 1
            longest_seconds = max(longest_seconds, time.monotonic() - began)
    os.write(tell, json.dumps([reads, longest_seconds, errors]).encode())


def _generation() -> int:
    number: int = json.loads(_STATE.read_bytes())["generation"]
    return number


def _server() -> int:
    pid: int = json.loads(_STATE.read_bytes())["server_pid"]
    return pid


def while_reading(times: int, replace: Callable[[], None]) -> dict[str, Any]:
    """Have the server replaced so often while processes read; return what they saw."""
    pipes = []
    for _ in range(READERS):
        hear, tell = os.pipe()
        if not os.fork():
            _read_until_told(tell)
            os._exit(0)
        os.close(tell)
        pipes.append(hear)
    for _ in range(times):
        before = _generation()
        replace()
        while _generation() == before:
            time.sleep(0.01)
        # Long enough not to look like a crash loop.
        time.sleep(1.1)
    _STOP.touch()
    seen = [json.loads(os.read(hear, 4096)) for hear in pipes]
    for _ in pipes:
        os.wait()
    _STOP.unlink()
    errors: Counter[str] = Counter()
    for _, _, one in seen:
        errors.update(one)
    return {
        "reads": sum(reads for reads, _, _ in seen),
        "longest_seconds": max(longest for _, longest, _ in seen),
        "errors": errors,
    }


def main() -> None:
    """Print the facts."""
    daemon = start_daemon()
    facts = {
        "release": os.uname().release,
        "deaths": while_reading(DEATHS, lambda: os.kill(_server(), signal.SIGKILL)),
        "replacements": while_reading(REPLACEMENTS, lambda: daemon.send_signal(signal.SIGUSR1)),
        "daemon": stop_daemon(daemon),
    }
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
