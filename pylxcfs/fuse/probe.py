"""Asks a mounted file system whether it answers, without ever waiting for one that does not."""

import contextlib
import sys
from pathlib import Path
from typing import Final

#: How long a server may take to answer before it counts as hanging.
_ANSWER_SECONDS: Final = 5.0
_REAP_SECONDS: Final = 0.2
# statfs, not stat: the kernel answers stat from its attribute cache long after the server has died.
_PROBE: Final = """
import os, sys
try:
    os.statvfs(sys.argv[1])
    for name in sys.argv[2:]:
        os.read(os.open(os.path.join(sys.argv[1], name), os.O_RDONLY), 1)
except OSError as error:
    sys.exit(error.errno)
"""


def ask(path: Path, *files: str, seconds: float = _ANSWER_SECONDS) -> int | None:
    """Return the errno of the file system at `path`, 0 for none; None if it does not answer in time.

    With `files`, relative to `path`, also of reading from them.
    """
    # Only where something is mounted already: it would make up a tenth of the supervisor.
    import subprocess  # noqa: PLC0415

    # In a process of its own: a request that a hanging server has taken cannot be called off, not even by
    # SIGKILL, and whoever waits for it could not exit.
    child = subprocess.Popen([sys.executable, "-ISc", _PROBE, path, *files], stdin=subprocess.DEVNULL)  # noqa: S603 - ours
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        # Gone at once, unless the server had taken its request.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_REAP_SECONDS)
        return None
