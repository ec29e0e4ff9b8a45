"""A machine with cgroup v2 alone: user-mode-linux on top of this machine's files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.machine.daemon import REPOSITORY

#: Covered by empty file systems in the guest (uml-run).
_COVERED: Final = ("/tmp", "/run", "/var/tmp", "/dev/shm")  # noqa: S108 - compared with, not written to
_TIME_LIMIT_SECONDS: Final = 600


def run_in_guest(state: Path, program: Path, *arguments: str) -> str:
    """Boot, run a Python program with swap and an empty disk, and return what it printed."""
    needed = {str(path) for path in (REPOSITORY, sys.prefix, sys.base_prefix)}
    binds = [word for path in sorted(needed) if path.startswith(_COVERED) for word in ("-b", path)]
    limit = str(_TIME_LIMIT_SECONDS)
    result = subprocess.run(
        [
            *(str(REPOSITORY / "tests/testbed/uml-run"), "-s", "64M", "-d", "64M", "-t", limit, *binds, "--"),
            *(sys.executable, str(program), *arguments),
        ],
        env=os.environ
        | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "TESTBED_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == result.returncode, result.stderr
    return result.stdout
