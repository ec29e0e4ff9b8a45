"""What a container sees of its CPUs, in every way that there is."""

import json
import os
import sys
from typing import Final

from tests.support.container import CPU_TREE, Container
from tests.support.daemon import Daemon

#: The machine's CPU with the highest number, of those that the tests may use.
LAST_CPU: Final = max(os.sched_getaffinity(0))
#: What a program inside finds out about its CPUs in every way that there is, again and again.
_LOOK: Final = """
import collections, json, os, re, sys
tree = "/sys/devices/system/cpu"

def numbers(names):
    return sorted(int(name[3:]) for name in names if re.fullmatch("cpu[0-9]+", name))

def listed(file):
    cpus = []
    for part in filter(None, open(f"{tree}/{file}").read().strip().split(",")):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus

def reachable(suffix):
    return [cpu for cpu in range(int(sys.argv[2])) if os.path.exists(f"{tree}/cpu{cpu}{suffix}")]

def openable():
    found = []
    for cpu in range(int(sys.argv[2])):
        try:
            os.listdir(f"{tree}/cpu{cpu}/topology")
            found.append(cpu)
        except FileNotFoundError:
            pass
    return found

seen = collections.Counter()
for _ in range(int(sys.argv[1])):
    seen[json.dumps([
        listed("online"), listed("present"), listed("possible"), numbers(os.listdir(tree)),
        numbers(entry.name for entry in os.scandir(tree) if entry.is_dir(follow_symlinks=False)),
        reachable(""), reachable("/topology/core_id"), openable(),
        listed("offline"), os.sysconf("SC_NPROCESSORS_CONF"), os.sysconf("SC_NPROCESSORS_ONLN"),
    ])] += 1
print(json.dumps(list(seen)))
"""


def bind_cpu_tree(container: Container, daemon: Daemon) -> None:
    """Put the daemon's CPU tree over the container's."""
    container.run("mount", "--bind", str(daemon.mount_point / CPU_TREE), f"/{CPU_TREE}")


def look(container: Container, times: int = 1, *, below: int = 8) -> list[object]:
    """Return the one thing that the container sees of its CPUs; fail if it is not always the same.

    Directories are tried by name for all CPUs `below` that number.
    """
    program = (sys.executable, "-I", "-S", "-c", _LOOK, str(times), str(below))
    seen = json.loads(container.run(*program))
    assert len(seen) == 1, seen
    found: list[object] = json.loads(seen[0])
    return found


def machine_with(*cpus: int) -> list[object]:
    """Return what a machine with these CPUs looks like."""
    return [list(cpus)] * 8 + [[], len(cpus), len(cpus)]
