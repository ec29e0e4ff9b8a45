"""The tasks of a container, all of them at once."""

from pathlib import Path

from pylxcfs.accounting.load_count import LoadCount
from pylxcfs.cgroup.types import CgroupPaths, CgroupReader, TaskCounts
from pylxcfs.containers.processes import Processes
from pylxcfs.view.host import HostReader


def list_tasks(reader: CgroupReader, paths: CgroupPaths) -> list[int]:
    """Return the ids of all tasks, in the order of the walk."""
    walk = reader.walk_tasks(paths)
    ids: list[int] = []
    while (group := walk.step()) is not None:
        ids += group.ids
    return ids


def count_load(reader: CgroupReader, paths: CgroupPaths) -> TaskCounts:
    """Count all tasks on this machine."""
    count = LoadCount(reader, Processes(HostReader(Path("/proc"), Path("/sys")).proc_fd), paths)
    while not count.run(1000):
        pass
    return count.counts
