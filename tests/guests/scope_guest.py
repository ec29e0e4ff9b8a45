"""Runs inside a machine with cgroup v2: the suite as a service of a real systemd, not a delegated group."""

import json
import sys
from pathlib import Path

from tests.support.daemon import REPOSITORY
from tests.support.guest import covered_paths
from tests.support.systemd import systemd_machine


def main() -> None:
    """Print what pytest said, and what it left, as JSON; its arguments are this program's."""
    directory = Path("/run/machine")
    directory.mkdir()
    with systemd_machine(directory, "machine", *covered_paths()) as machine:
        done = machine.try_run(
            *("systemd-run", "--quiet", "--pipe", "--wait", "--collect"),
            *(f"--working-directory={REPOSITORY}", "--setenv=PYTHONDONTWRITEBYTECODE=1"),
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]),
        )
        units = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "pylxcfs-test-*")
        groups = machine.run("find", "/sys/fs/cgroup", "-name", "pylxcfs-*")
    json.dump({"status": done.returncode, "printed": done.stdout, "left": units + groups}, sys.stdout)


main()
