"""What this kernel and the options let containers see: told once, at start."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pylxcfs.cgroup.detect import Hierarchy
from pylxcfs.config import ViewConfig
from pylxcfs.containers.processes import PROCESS_GONE, Processes

#: What it is about → whether it is there; None where that cannot be told.
Features = Mapping[str, bool | None]


def kernel_features(
    proc_root: Path, hierarchies: Iterable[Hierarchy], processes: Processes, *, counts_tasks: bool
) -> Features:
    """Find out which abilities this kernel has that change what is shown, or how quickly."""
    v1 = {name for hierarchy in hierarchies for name in hierarchy.names}
    return {
        "swap accounting": _accounts_swap(hierarchies),
        "time per cpu": "cpuacct" in v1,
        "cgroupstats": counts_tasks,
        "namespace ioctl": _tells_init(processes),
        "pressure": (proc_root / "pressure").is_dir(),
    }


def options(view: ViewConfig) -> Features:
    """Return which options are in effect."""
    return {
        "cfs": view.cfs,
        "loadavg": view.loadavg,
        "swap": view.swap,
        "zswap": view.zswap,
        "memory-high": view.memory_high,
        "compact-cpus": view.compact_cpus,
    }


def describe(features: Features) -> str:
    """Write features in one line."""
    words = {True: "yes", False: "no", None: "unknown"}
    return ", ".join(f"{name} {words[there]}" for name, there in features.items())


def _accounts_swap(hierarchies: Iterable[Hierarchy]) -> bool | None:
    """Tell whether swap is counted per cgroup; v2 shows it in a cgroup that has the controller only."""
    for hierarchy in hierarchies:
        top = Path(hierarchy.mount_point)
        if "memory" in hierarchy.names:
            return (top / "memory.memsw.limit_in_bytes").exists()
        if hierarchy.is_v2:
            for cgroup in (top, *(Path(entry.path) for entry in os.scandir(top) if entry.is_dir())):
                if (cgroup / "memory.max").exists():
                    return (cgroup / "memory.swap.max").exists()
    return None


def _tells_init(processes: Processes) -> bool:
    try:
        with processes.hold(os.getpid()) as process:
            process.ask_for_init()
    except (*PROCESS_GONE, OSError):
        return False
    return True
