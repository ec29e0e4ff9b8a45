"""A machine that seems to have other CPUs: made-up files over the kernel's, for one process alone.

System calls and the kernel's checks of cgroup files still know only the real CPUs: CPU sets are made up too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pylxcfs.cgroup.parse import format_cpu_list
from pylxcfs.cgroup.types import CpuSet
from tests.support.cgroups import Cgroup

_CAPTURE: Final = Path(__file__).parents[1] / "unit/captures/linux-6.18-x86/proc"
#: Everything is private but what is mounted in the first directory: a mount there is seen outside. So nothing
#: that is bound here can be seen by anybody else, whatever the propagation of /proc and /sys is outside.
_ENTER: Final = """
set -e
shared=$1; shift
mount --bind "$shared" "$shared"
mount --make-shared "$shared"
exec unshare --mount --propagation unchanged sh -c '
    set -e
    mount --make-rprivate /proc
    mount --make-rprivate /sys
    while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
    shift
    exec "$@"
' inner "$@"
"""


@dataclass(frozen=True, slots=True)
class SeemingCpus:
    """Which CPUs the machine seems to have."""

    online: CpuSet
    present: CpuSet
    possible: CpuSet

    @classmethod
    def all_of(cls, count: int) -> "SeemingCpus":
        """Return a machine of `count` CPUs, all of them online."""
        cpus = CpuSet(range(count))
        return cls(cpus, cpus, cpus)

    def cpuinfo(self) -> bytes:
        """Describe each online CPU as this machine's first one."""
        _, first = (_CAPTURE / "cpuinfo").read_bytes().split(b"\n\n")[0].split(b"\n", 1)
        return b"".join(b"processor\t: %d\n%s\n\n" % (cpu, first) for cpu in self.online)

    def stat(self) -> bytes:
        """Give each online CPU some time of its own, and the rest of a real file."""
        rest = b"".join(
            line
            for line in (_CAPTURE / "stat").read_bytes().splitlines(keepends=True)
            if not line.startswith(b"cpu")
        )
        lines = [b"cpu%d %d 0 2 3 0 0 0 0 0 0\n" % (cpu, cpu) for cpu in self.online]
        first = b"cpu  %d 0 %d %d 0 0 0 0 0 0\n" % (sum(self.online), 2 * len(lines), 3 * len(lines))
        return first + b"".join(lines) + rest

    def _write_tree(self, root: Path) -> None:
        offline = CpuSet(sorted({*self.possible} - {*self.online}))
        lists = {
            "online": self.online,
            "present": self.present,
            "possible": self.possible,
            "offline": offline,
            "isolated": CpuSet(),
        }
        for cpu in self.present:
            (root / f"cpu{cpu}/topology").mkdir(parents=True)
            if cpu in self.online:
                (root / f"cpu{cpu}/topology/core_id").write_text(f"{cpu}\n")
        for name, cpus in lists.items():
            (root / name).write_bytes(format_cpu_list(cpus) + b"\n")
        (root / "kernel_max").write_text(f"{self.possible[-1]}\n")

    def entering(self, files: Path, shared: Path, cpusets: Mapping[Cgroup, str]) -> Iterable[str]:
        """Make the files below `files`; return what to put before a command so that it sees them.

        The command's mounts in `shared` are seen outside. `cpusets` are the effective CPUs of groups.
        """
        (files / "cpuinfo").write_bytes(self.cpuinfo())
        (files / "stat").write_bytes(self.stat())
        self._write_tree(files / "cpu")
        over = {
            files / "cpuinfo": Path("/proc/cpuinfo"),
            files / "stat": Path("/proc/stat"),
            files / "cpu": Path("/sys/devices/system/cpu"),
        }
        for number, (group, cpus) in enumerate(cpusets.items()):
            file = files / f"cpuset{number}"
            file.write_text(f"{cpus}\n")
            over[file] = group.of("cpuset").effective_cpus
        return binding(shared, over)


def binding(shared: Path, over: Mapping[Path, Path]) -> Iterable[str]:
    """Return what to put before a command so that it sees files, or directories, over the kernel's.

    The command's mounts in `shared` are seen outside.
    """
    pairs = (str(path) for pair in over.items() for path in pair)
    return ("sh", "-c", _ENTER, "enter", str(shared), *pairs, "--")
