"""Runs inside a machine: pytest on parts of the suite, with a disk below TMPDIR; prints outcomes as JSON.

The first argument is JSON: for each place (`PLACES`) the arguments of pytest there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.inside import CLONE_NEWCGROUP, CLONE_NEWNS, V2, check, libc, put

_DISKS: Final = ("/dev/ubda", "/dev/vda")
_MS_REC_PRIVATE: Final = 0x44000
_LAZILY: Final = 2


def _here() -> Path:
    """Stay where this machine's processes are: in the root cgroups."""
    return V2


def _namespace() -> Path:
    """Be in a container: its group is the top of all that is seen, and holds its processes."""
    box = V2 / "container"
    box.mkdir()
    put(box / "cgroup.procs", os.getpid())
    check(libc.unshare(CLONE_NEWCGROUP | CLONE_NEWNS))
    check(libc.mount(None, b"/", None, _MS_REC_PRIVATE, None))
    check(libc.umount2(bytes(V2), _LAZILY))
    check(libc.mount(b"cgroup2", bytes(V2), b"cgroup2", 0, None))
    return V2


def _delegated() -> Path:
    """Be in a service of systemd's with ``Delegate=yes``: sd_booted(3), and the mark of such groups."""
    own = V2 / "system.slice/own.service"
    own.mkdir(parents=True)
    for group in (V2, own.parent):
        put(group / "cgroup.subtree_control", "+cpu +memory +io +pids")
    put(own / "cgroup.procs", os.getpid())
    os.setxattr(own, "trusted.delegate", b"1")
    Path("/run/systemd/system").mkdir(parents=True)
    return own


PLACES: Final[Mapping[str, Callable[[], Path]]] = {
    "here": _here,
    "namespace": _namespace,
    "delegated": _delegated,
}


class Outcomes:
    """Collects what became of each test."""

    def __init__(self) -> None:
        """Know of none yet."""
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:  # noqa: ANN401 - pytest is imported in children
        """Keep how a test ended; of what is no success, why."""
        if report.when == "call" and report.passed:
            self.found.setdefault(report.nodeid, report.outcome)
        elif not report.passed:
            self.found[report.nodeid] = f"{report.outcome}: {report.longreprtext}"


def _state(group: Path) -> dict[str, object] | None:
    """Return what a run must not change of the v2 group in which it is."""
    if not (group / "cgroup.procs").exists():
        return None
    return {
        "holds us": str(os.getpid()) in (group / "cgroup.procs").read_text().split(),
        "groups": sorted(path.name for path in group.iterdir() if path.is_dir()),
        "enabled": (group / "cgroup.subtree_control").read_text(),
    }


def _run(place: str, arguments: list[str]) -> dict[str, object]:
    import pytest  # noqa: PLC0415 - it keeps too much from one run to the next

    group = PLACES[place]()
    before = _state(group)
    outcomes = Outcomes()
    pytest.main(["-p", "no:cacheprovider", *arguments], plugins=[outcomes])
    return {"outcomes": outcomes.found, "before": before, "after": _state(group)}


def _in_child(place: str, arguments: list[str]) -> object:
    hear, say = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(hear)
            with os.fdopen(say, "w") as out:
                json.dump(_run(place, arguments), out)
        finally:
            os._exit(0)
    os.close(say)
    with os.fdopen(hear) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def main() -> None:
    """Run pytest in each place."""
    directory = Path("/run/disk")
    directory.mkdir()
    disk = next(path for path in _DISKS if os.path.exists(path))
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    subprocess.run(["mount", disk, directory], check=True)
    directory.chmod(0o755)
    os.environ["TMPDIR"] = str(directory)
    # What this machine lacks is left out.
    os.environ.pop("CI", None)
    answer = os.dup(1)
    os.dup2(2, 1)
    found = {place: _in_child(place, arguments) for place, arguments in json.loads(sys.argv[1]).items()}
    with os.fdopen(answer, "w") as out:
        json.dump(found, out)


main()
