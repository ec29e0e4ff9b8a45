"""``--cpu-numbering compact``: the container's CPUs are numbered from 0, in every file alike."""

from pathlib import Path

import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes, Sample, advance, open_ledger
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.detect import Hierarchy
from pylxcfs.cgroup.layout import open_layout
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, CpuSet, CpuTime
from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.procfiles import cpuinfo
from pylxcfs.procfiles.table import VIRTUAL_FILES
from pylxcfs.view.host import HostReader, HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView
from tests.support.readings import cpuinfo_cpus, stat_cpus

CAPTURES = Path(__file__).parent / "captures"
MACHINES = {path.parent.parent.name: path.read_bytes() for path in sorted(CAPTURES.glob("*/proc/cpuinfo"))}
NAMES = ("cpu", "cpuacct", "cpuset")
FILES = {file.path: file for file in VIRTUAL_FILES}
SECOND = 1_000_000
CPUINFO = b"".join(b"processor\t: %d\ncore id\t\t: %d\n\n" % (cpu, cpu) for cpu in range(4))


@pytest.fixture
def builder(tmp_path: Path) -> ViewBuilder:
    """Return what builds views of a container on CPUs 1 and 3."""
    for name in NAMES:
        (tmp_path / name / "a").mkdir(parents=True)
    (tmp_path / "cpuset/a/cpuset.effective_cpus").write_text("1,3\n")
    times = "".join(f"{cpu} {cpu % 2 * cpu}000000000 0\n" for cpu in range(4))
    (tmp_path / "cpuacct/a/cpuacct.usage_all").write_text(f"cpu user system\n{times}")
    (tmp_path / "cpu/a/tasks").write_text("1\n")
    processes = Processes(HostReader(Path("/proc"), Path("/sys")).proc_fd)
    paths = CgroupPaths.of({name: CgroupPath("/a") for name in NAMES})
    reader = open_layout([Hierarchy((name,), str(tmp_path / name), "/") for name in NAMES], paths, 64)
    return ViewBuilder(reader, LoadTracker(reader, processes), ViewConfig(compact_cpus=True))


def test_every_file_has_the_same_numbers(builder: ViewBuilder) -> None:
    """Stat, cpuinfo and the lists name CPUs 0 and 1; their times and cores are those of 1 and 3."""
    paths = CgroupPaths.of({name: CgroupPath("/a") for name in NAMES})
    container = Container(paths, 1, 0, in_host_pid_namespace=False)
    host = HostSnapshot(
        cpuinfo=CPUINFO, stat=b"cpu 1\nbtime 5\n", online=CpuSet(range(4)), boottime_usec=60 * SECOND
    )

    def shown(path: str) -> bytes:
        file = FILES[path]
        return file.render(builder.build(container, file, host), host)

    assert {"cpu": 4, "cpu0": 1, "cpu1": 3} == {
        name: numbers[0] // 100 for name, numbers in stat_cpus(shown("proc/stat").decode()).items()
    }
    text = shown("proc/cpuinfo").decode()
    assert [0, 1] == cpuinfo_cpus(text)
    assert ["1", "3"] == [line.split()[-1] for line in text.splitlines() if line.startswith("core id")]
    for name in ("online", "present", "possible"):
        assert b"0-1\n" == shown(f"sys/devices/system/cpu/{name}")


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_cpuinfo_of_every_architecture(machine: str) -> None:
    """Every way in which an architecture numbers processors is followed."""
    text = MACHINES[machine]
    everyone = cpuinfo_cpus(text.decode(errors="replace"))
    kernel = CpuSet(everyone[1:] or everyone)
    view = ResourceView(0, cpus_part=CpuSet(range(len(kernel))), kernel_cpus_part=kernel)
    shown = cpuinfo.render(view, HostSnapshot(cpuinfo=text))
    assert list(range(len(kernel))) == cpuinfo_cpus(shown.decode(errors="replace"))
    plain = cpuinfo.render(ResourceView(0, cpus_part=kernel), HostSnapshot(cpuinfo=text))
    assert len(plain.splitlines()) == len(shown.splitlines())


def test_counters_go_on_when_the_cpuset_changes() -> None:
    """The CPU that is shown as 0 goes on from where it was, whichever CPU of the kernel it is now."""
    used = {0: CpuTime(5 * SECOND, 0), 1: CpuTime(SECOND, 0)}
    ledger = open_ledger(Sample(10 * SECOND, CpuSet([0]), used, kernel_cpus=CpuSet([0])))
    used = {0: CpuTime(5 * SECOND, 0), 1: CpuTime(2 * SECOND, 0)}
    ledger = advance(ledger, Sample(12 * SECOND, CpuSet([0]), used, kernel_cpus=CpuSet([1])))
    assert {0: CpuTimes(7 * SECOND, 0, 5 * SECOND)} == ledger.times


def test_each_visible_cpu_has_both_numbers() -> None:
    """A sample that numbers more or fewer than there are is refused."""
    with pytest.raises(ValueError, match="Sample"):
        Sample(0, CpuSet([0, 1]), kernel_cpus=CpuSet([3]))


def test_view_without_other_numbers() -> None:
    """By default both are the kernel's."""
    view = ResourceView(0, cpu_part=CpuView({3: CpuTimes(0, 0, 0)}))
    assert (3,) == view.cpus == view.kernel_cpus
