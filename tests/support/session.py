"""What marks everything that one run of the tests has made, and how to find what it left behind."""

import os
import secrets
from typing import Final

import psutil

from tests.support.cgroups import find_layout
from tests.support.mounts import mounts

_VARIABLE: Final = "PYLXCFS_TEST_SESSION"


def token() -> str:
    """Return what the run of the tests that we are in is marked with."""
    return os.environ.get(_VARIABLE, "pylxcfs-test")


class Session:
    """One run of the tests: a token that processes inherit, in the name of every cgroup and directory."""

    def __init__(self) -> None:
        """Mark this process, and so all that it starts."""
        self.token = f"pylxcfs-test-{secrets.token_hex(4)}"
        os.environ[_VARIABLE] = self.token

    def _processes(self) -> list[str]:
        left = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(_VARIABLE) == self.token:
                    left.append(f"process {process.pid}: {' '.join(process.cmdline())} ({process.status()})")
            except psutil.Error:
                continue
        return left

    def leftovers(self) -> list[str]:
        """Name every mount, cgroup and process of this run that is still there."""
        left = [f"mount {mount.point}" for mount in mounts() if self.token in mount.point]
        for base in find_layout().bases:
            left += [f"cgroup {group}" for group in base.glob(f"{self.token}*")]
        return left + self._processes()
