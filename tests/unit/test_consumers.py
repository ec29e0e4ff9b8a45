"""What lscpu and psutil make of the files on machines that we do not have."""

import subprocess
from pathlib import Path

import psutil
import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.cgroup.parse import format_cpu_list
from pylxcfs.procfiles import cpuinfo, cpulists, stat
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView
from tests.support.readings import cpuinfo_cpus

CAPTURES = Path(__file__).parent / "captures"
MACHINES = sorted(path.parent.parent.name for path in CAPTURES.glob("*/proc/cpuinfo"))
#: Debian 12's lscpu knows no RISC-V: it takes a whole cpuinfo for nothing too.
UNKNOWN_TO_LSCPU = "riscv64-visionfive2"


def _view(cpus: list[int]) -> ResourceView:
    times = {cpu: CpuTimes(cpu * 10_000, 20_000, 30_000) for cpu in cpus}
    return ResourceView(0, cpu_part=CpuView(times), load_part=LoadView(None, 1, 0, 1, 1))


def _lscpu(root: Path, view: ResourceView, text: bytes, *arguments: str) -> str:
    """Ask lscpu about a machine with these CPUs and that cpuinfo."""
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_bytes(text)
    tree = root / "sys/devices/system/cpu"
    for cpu in view.cpu.cpus:
        (tree / f"cpu{cpu}").mkdir(parents=True)
    for name in ("online", "present", "possible"):
        (tree / name).write_bytes(cpulists.render_visible(view, HostSnapshot()))
    command = ["lscpu", "--sysroot", str(root), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("machine", [m for m in MACHINES if m != UNKNOWN_TO_LSCPU])
def test_lscpu(machine: str, tmp_path: Path) -> None:
    """Lscpu names the visible CPUs, and says of them what it says of them on the whole machine."""
    text = (CAPTURES / machine / "proc/cpuinfo").read_bytes()
    every = cpuinfo_cpus(text.decode())
    view = _view(every[1::3] or every)
    rendered = cpuinfo.render(view, HostSnapshot(cpuinfo=text))
    listed = _lscpu(tmp_path / "1", view, rendered, "--parse=CPU").splitlines()
    assert [str(cpu) for cpu in view.cpu.cpus] == [line for line in listed if not line.startswith("#")]
    told = _fields(_lscpu(tmp_path / "2", view, rendered))
    assert format_cpu_list(view.cpu.cpus).decode() == told["On-line CPU(s) list"]
    whole = _fields(_lscpu(tmp_path / "3", view, text))
    # Where processors differ, models would be those of the absent ones too.
    same = ("CPU(s)", "Vendor ID", "Flags", "BogoMIPS", "CPU dynamic MHz")
    assert [whole.get(name) for name in same] == [told.get(name) for name in same]


def _fields(told: str) -> dict[str, str]:
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in told.splitlines())}


@pytest.mark.parametrize("machine", sorted(path.parent.parent.name for path in CAPTURES.glob("*/proc/stat")))
def test_psutil(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Psutil finds the time of each visible CPU, their sum, and the host's counts of interrupts."""
    host = HostSnapshot(stat=(CAPTURES / machine / "proc/stat").read_bytes())
    (tmp_path / "stat").write_bytes(stat.render(_view([1, 3, 64]), host))
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert [(0.01, 0.02, 0.03), (0.03, 0.02, 0.03), (0.64, 0.02, 0.03)] == [
        (times.user, times.system, times.idle) for times in psutil.cpu_times(percpu=True)
    ]
    assert 0.68 == psutil.cpu_times().user
    assert psutil.cpu_stats().interrupts > 0
