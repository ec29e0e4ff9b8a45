"""cpuinfo, stat and uptime."""

import re

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.procfiles import cpuinfo, stat, uptime
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView

ARM_TRAILER = b"Hardware\t: Generic board\nRevision\t: 0000\nSerial\t\t: 0000000000000000\n"


def machine(count: int) -> HostSnapshot:
    """Return an arm64 machine with `count` CPUs."""
    blocks = [
        b"processor\t: %d\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n\n" % cpu
        for cpu in range(count)
    ]
    lines = [b"cpu%d 9 9 9 9 9 9 9 9 9 9\n" % cpu for cpu in range(count)]
    return HostSnapshot(
        cpuinfo=b"".join(blocks),
        stat=b"cpu  9 9 9 9 9 9 9 9 9 9\n"
        + b"".join(lines)
        + b"intr 5 cpu\nctxt 6\nbtime 7\nprocesses 8\nprocs_running 9\nprocs_blocked 9\nsoftirq 5\n",
    )


def view(*cpus: int) -> ResourceView:
    """Return a container that sees `cpus`."""
    return ResourceView(
        12_345_678,
        cpu_part=CpuView({cpu: CpuTimes(19_999, 29_999, 1_234_567) for cpu in cpus}),
        load_part=LoadView(None, running=3, blocked=1, total=5, last_pid=77),
    )


def numbers(text: bytes) -> list[int]:
    """Return the processors that cpuinfo names."""
    return [int(number) for number in re.findall(rb"^processor\t: (\d+)$", text, re.MULTILINE)]


def test_cpuinfo_keeps_the_kernels_numbers() -> None:
    """A container of 512 CPUs' host sees its own, under the host's numbers."""
    assert numbers(cpuinfo.render(view(3, 64, 511), machine(512))) == [3, 64, 511]


def test_cpuinfo_of_all_cpus_is_the_hosts() -> None:
    """A container that sees every CPU sees the host's text."""
    assert cpuinfo.render(view(*range(512)), machine(512)) == machine(512).cpuinfo


def test_cpuinfo_numbers_are_whole() -> None:
    """CPU 1 does not bring along CPU 10."""
    assert numbers(cpuinfo.render(view(1), machine(12))) == [1]


def test_cpuinfo_keeps_what_belongs_to_no_processor() -> None:
    """The board's lines at the end stay, and so do lines in front."""
    text = b"Processor\t: ARMv7\n\n" + machine(4).cpuinfo + ARM_TRAILER
    rendered = cpuinfo.render(view(1), HostSnapshot(cpuinfo=text))
    assert rendered.startswith(b"Processor\t: ARMv7\n\n")
    assert rendered.endswith(b"\n\n" + ARM_TRAILER)
    assert numbers(rendered) == [1]


def test_cpuinfo_ends_with_a_line_end() -> None:
    """Text that ends with the dropped processor still ends with a whole line."""
    text = b"processor\t: 0\nflags\t: a\n\nprocessor\t: 1\nflags\t: a\n"
    assert cpuinfo.render(view(0), HostSnapshot(cpuinfo=text)) == b"processor\t: 0\nflags\t: a\n"


def test_stat_lines() -> None:
    """Ticks are rounded down per CPU, and the first line is the sum of the others."""
    assert stat.render(view(1, 3), machine(4)).splitlines() == [
        b"cpu  2 0 4 246 0 0 0 0 0 0",
        b"cpu1 1 0 2 123 0 0 0 0 0 0",
        b"cpu3 1 0 2 123 0 0 0 0 0 0",
        b"intr 5 cpu",
        b"ctxt 6",
        b"btime 7",
        b"processes 8",
        b"procs_running 3",
        b"procs_blocked 1",
        b"softirq 5",
    ]


def test_stat_uses_the_kernels_tick() -> None:
    """A kernel of another tick gets other numbers."""
    host = HostSnapshot(ticks_per_second=1000)
    assert stat.render(view(0), host) == b"cpu  19 0 29 1234 0 0 0 0 0 0\ncpu0 19 0 29 1234 0 0 0 0 0 0\n"


def test_uptime() -> None:
    """Uptime is rounded down as the kernel does, and idle is that of stat."""
    assert uptime.render(view(1, 3), HostSnapshot()) == b"12.34 2.46\n"


def test_uptime_with_another_tick() -> None:
    """Idle time is rounded down to hundredths from whole ticks."""
    assert uptime.render(view(1), HostSnapshot(ticks_per_second=1000)) == b"12.34 1.23\n"
