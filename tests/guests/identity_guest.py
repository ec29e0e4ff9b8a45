"""Runs inside a machine with real cgroups of any layout and prints who was taken for whom there, as JSON."""

import json
from pathlib import Path

from tests.support.cgroups import MIB, Cgroup, Limits, cgroup, find_layout
from tests.support.inside import MOUNT, start_daemon, stop_daemon
from tests.support.namespaces import Answerer, as_init, entering
from tests.support.readings import meminfo
from tests.support.waiting import wait_for


def _mib(answerer: Answerer) -> int:
    return meminfo(answerer.read(MOUNT / "proc/meminfo"))["MemTotal"] // 1024


def inside(first: Cgroup, second: Cgroup, session: Cgroup) -> list[int]:
    """Read in turn as a limited process inside, as init, as who enters from the root, and from a session."""
    with (
        as_init(first.directories) as init,
        entering(init.pid, second.directories) as limited,
        entering(init.pid) as administrator,
        entering(init.pid, session.directories) as user,
    ):
        order = (limited, init, limited, administrator, user, init, administrator, limited)
        return [_mib(each) for each in order]


def leaderless(first: Cgroup) -> list[int]:
    """Read as a container whose init has no main thread any more, and as who enters it."""
    with as_init(first.directories, leaderless=True) as init:
        wait_for("leader ends", lambda: b") Z " in Path(f"/proc/{init.pid}/stat").read_bytes())
        return [_mib(init)]


def init_in_root(first: Cgroup) -> list[int]:
    """Read as a limited process whose init is in the root, and as that init."""
    with as_init(find_layout().tops) as init, entering(init.pid, first.directories) as limited:
        return [_mib(limited), _mib(init), _mib(limited)]


def deleted() -> list[int]:
    """Read as a container whose group is called like one that was removed."""
    with (
        cgroup("x (deleted)", Limits(memory=64 * MIB)) as group,
        cgroup("x", Limits(memory=32 * MIB)),
        as_init(group.directories) as init,
    ):
        return [_mib(init)]


def main() -> None:
    """Print everything."""
    daemon = start_daemon()
    with (
        cgroup("first", Limits(memory=100 * MIB)) as first,
        cgroup("second", Limits(memory=200 * MIB)) as second,
        cgroup("session", Limits()) as session,
    ):
        facts = {
            "host": [meminfo(Path("/proc/meminfo").read_text())["MemTotal"] // 1024],
            "inside": inside(first, second, session),
            "leaderless": leaderless(first),
            "init in root": init_in_root(first),
            "deleted": deleted(),
        }
    stop_daemon(daemon)
    print(json.dumps(facts))  # noqa: T201 - this is the answer


if __name__ == "__main__":
    main()
