"""Machines with cgroup v2, booted for one program, on top of this machine's files."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.cache import cache_directory
from tests.support.daemon import REPOSITORY

#: One CPU, and no cpuset, hugetlb and PSI in Debian's kernel for it; up in 2 s.
UML: Final = ("uml-run", "-s", "64M", "-d", "64M")
#: Emulated, so slow: four CPUs and all controllers; up in 5 s.
QEMU: Final = ("qemu-run", "-m", "1536M", "-s", "64M", "-d", "64M")
#: Covered by empty file systems in the guest (guest-init).
_COVERED: Final = ("/tmp", "/run", "/var/tmp", "/dev/shm")  # noqa: S108 - compared with, not written to
_TIME_LIMIT_SECONDS: Final = 600


def covered_paths() -> list[str]:
    """Name what the tests need and would not find in a machine that has those directories empty."""
    needed = {str(path) for path in (REPOSITORY, sys.prefix, sys.base_prefix)}
    return [path for path in sorted(needed) if path.startswith(_COVERED)]


@dataclass(frozen=True, slots=True)
class Guest:
    """A machine that is booted for one Python program, with swap and an empty disk."""

    program: Path
    arguments: tuple[str, ...] = ()
    #: The testbed, and its options.
    machine: tuple[str, ...] = UML

    @property
    def name(self) -> str:
        """What to call it in a table."""
        layout = [self.machine[place + 1] for place, word in enumerate(self.machine) if word == "-c"]
        return " ".join([self.program.stem.removesuffix("_guest"), *self.arguments, *layout])

    @property
    def need(self) -> str:
        """What a machine has to have for it (tests.support.capabilities)."""
        return self.machine[0].removesuffix("-run")


def guest_command(guest: Guest) -> list[str]:
    """Spell the command that boots, prints what the program prints, and ends with its status."""
    binds = [word for path in covered_paths() for word in ("-b", path)]
    testbed, *options = guest.machine
    return [
        *(str(REPOSITORY / "tests/support/testbed" / testbed), *options, "-t", str(_TIME_LIMIT_SECONDS)),
        *(*binds, "--", sys.executable, str(guest.program), *guest.arguments),
    ]


def guest_environment(state: Path) -> dict[str, str]:
    """Return the environment of that command, whose files are to be in `state`."""
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TESTBED_STATE": str(state),
        "TESTBED_CACHE": str(cache_directory()),
    }


def run_in_guest(state: Path, program: Path, *arguments: str, machine: Sequence[str] = UML) -> str:
    """Boot, run a Python program and return what it printed (tests: tests.support.guests)."""
    guest = Guest(program, arguments, tuple(machine))
    done = subprocess.run(
        guest_command(guest), env=guest_environment(state), capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
