"""What processes in real containers read."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container, run_on_host, run_once
from tests.support.daemon import Daemon
from tests.support.invariants import History, check_meminfo, check_stat
from tests.support.readings import (
    IDLE,
    IOWAIT,
    cpuinfo_cpus,
    meminfo,
    stat_cpus,
    swaps,
    total_time,
    uptime,
)
from tests.support.waiting import wait_for

MakeCgroup = Callable[..., Cgroup]
MakeContainer = Callable[..., Container]

NOBODY: Final = 65534
KIB_100_MIB: Final = 100 * 1024
#: Takes memory, 10 MiB per line of input, and answers each line.
_ALLOCATE: Final = """
import sys
held = []
for line in sys.stdin:
    held.append(b"x" * (10 << 20))
    print(len(held), flush=True)
"""
_BURN: Final = """
print("burning", flush=True)
while True:
    pass
"""
_TWO_CPUS: Final = pytest.mark.needs("two-cpus")


@contextmanager
def talking(container: Container, program: str) -> Iterator[Callable[[], str]]:
    """Run a Python program inside; each call sends it a line and returns its answer."""
    with container.start(sys.executable, "-I", "-S", "-c", program) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask() -> str:
            stdin.write("\n")
            stdin.flush()
            return stdout.readline()

        try:
            yield ask
        finally:
            stdin.close()
            # nsenter waits for the program inside; that one must end first.
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()


@contextmanager
def burning(container: Container, processes: int = 1) -> Iterator[None]:
    """Keep `processes` busy loops running inside."""
    if processes == 0:
        yield
        return
    with talking(container, _BURN) as ask:
        assert ask() == "burning\n"
        with burning(container, processes - 1):
            yield


def total(container: Container) -> int:
    """Read MemTotal inside, in kB."""
    return meminfo(container.read("meminfo"))["MemTotal"]


def test_memory_limit_is_total(make_container: MakeContainer) -> None:
    """A container limited to 100 MiB has 100 MiB in meminfo."""
    assert total(make_container(Limits(memory=100 * MIB))) == KIB_100_MIB


def test_one_cpu_of_cpuset(make_container: MakeContainer) -> None:
    """A container confined to CPU 0 has that one CPU in cpuinfo and stat."""
    container = make_container(Limits(cpus="0"))
    assert cpuinfo_cpus(container.read("cpuinfo")) == [0]
    assert set(check_stat(container.read("stat"))) == {"cpu", "cpu0"}


@_TWO_CPUS
def test_cpus_keep_the_kernels_numbers(make_container: MakeContainer) -> None:
    """A container confined to CPU 1 has a CPU numbered 1, as sched_getaffinity says."""
    container = make_container(Limits(cpus="1"))
    assert cpuinfo_cpus(container.read("cpuinfo")) == [1]
    assert set(check_stat(container.read("stat"))) == {"cpu", "cpu1"}


@pytest.mark.parametrize(
    "cpu_set, quota, cpus",
    [
        (None, 0.25, 1),
        (None, 1.0, 1),
        pytest.param("0-1", 0.25, 1, marks=_TWO_CPUS),
        pytest.param("0-1", 1.0, 1, marks=_TWO_CPUS),
        pytest.param("0-1", 1.5, 2, marks=_TWO_CPUS),
    ],
)
def test_quota_cuts_cpus(make_container: MakeContainer, cpu_set: str | None, quota: float, cpus: int) -> None:
    """A CPU quota shows as that many CPUs, rounded up."""
    container = make_container(Limits(cpus=cpu_set, cpu_quota=quota))
    assert len(cpuinfo_cpus(container.read("cpuinfo"))) == cpus
    assert len(check_stat(container.read("stat"))) == cpus + 1


def test_smaller_ancestor_wins(make_cgroup: MakeCgroup, make_container: MakeContainer) -> None:
    """A container's limits are its ancestors' where those are smaller."""
    parent = make_cgroup(Limits(memory=100 * MIB, cpu_quota=1.0))
    container = make_container(make_cgroup(Limits(memory=200 * MIB), parent=parent))
    assert total(container) == KIB_100_MIB
    assert len(cpuinfo_cpus(container.read("cpuinfo"))) == 1


def test_own_limit_below_ancestor(make_cgroup: MakeCgroup, make_container: MakeContainer) -> None:
    """A container's own limits hold where they are smaller than its ancestors'."""
    parent = make_cgroup(Limits(memory=200 * MIB))
    assert total(make_container(make_cgroup(Limits(memory=100 * MIB), parent=parent))) == KIB_100_MIB


def test_nested_group_is_still_the_container(make_cgroup: MakeCgroup, make_container: MakeContainer) -> None:
    """A process in a group below its container's init sees the container, not its own group."""
    container = make_container(Limits(memory=100 * MIB))
    # A group with processes has no groups with limits below it on cgroup v2.
    v1 = container.group.layout.version("memory") == 1
    nested = make_cgroup(Limits(memory=50 * MIB if v1 else None), parent=container.group)
    assert meminfo(container.run("cat", "/proc/meminfo", group=nested))["MemTotal"] == KIB_100_MIB


def test_group_beside_init_scope_is_still_the_container(
    make_cgroup: MakeCgroup, make_container: MakeContainer
) -> None:
    """A service of a container with systemd sees the container, not its own limits."""
    group = make_cgroup(Limits(memory=100 * MIB))
    container = make_container(make_cgroup(Limits(), parent=group, name="init.scope"))
    service = make_cgroup(Limits(memory=50 * MIB), parent=group)
    assert meminfo(container.run("cat", "/proc/meminfo", group=service))["MemTotal"] == KIB_100_MIB


def test_init_scope_is_trimmed(make_cgroup: MakeCgroup, make_container: MakeContainer) -> None:
    """A container whose init moved itself to /init.scope is the group above that."""
    group = make_cgroup(Limits(memory=100 * MIB))
    scope = make_cgroup(Limits(memory=50 * MIB), parent=group, name="init.scope")
    assert total(make_container(scope)) == KIB_100_MIB


def test_shared_pid_namespace(make_cgroup: MakeCgroup, make_container: MakeContainer) -> None:
    """Containers that share a pid namespace each see their own limit, in whatever order they read."""
    pod = make_cgroup(Limits())
    pause = make_container(make_cgroup(Limits(memory=50 * MIB), parent=pod))
    sibling = make_cgroup(Limits(memory=100 * MIB), parent=pod)
    for _ in range(3):
        text = pause.run("cat", "/proc/meminfo", group=sibling, own_mounts=True)
        assert meminfo(text)["MemTotal"] == KIB_100_MIB
        assert total(pause) == 50 * 1024


@pytest.mark.needs("root-cgroup")
@pytest.mark.parametrize("file", ["cpuinfo", "swaps"])
def test_host_reads_the_hosts_file(daemon: Daemon, file: str) -> None:
    """A host process in the root cgroups reads the host's own file, byte for byte."""

    def steady(text: str) -> list[str]:
        return [line for line in text.splitlines(keepends=True) if "MHz" not in line]

    assert steady(Path("/proc", file).read_text()) == steady(run_on_host("cat", str(daemon.proc / file)))


@pytest.mark.needs("root-cgroup")
@pytest.mark.parametrize("file", ["meminfo", "stat", "diskstats"])
def test_host_reads_the_hosts_fields(daemon: Daemon, file: str) -> None:
    """A host process in the root cgroups reads all lines and fields of the host's changing files."""

    def shape(text: str) -> list[tuple[str, int]]:
        key = 2 if file == "diskstats" else 0
        return [(line.split()[key], len(line.split())) for line in text.splitlines()]

    assert shape(Path("/proc", file).read_text()) == shape(run_on_host("cat", str(daemon.proc / file)))


@pytest.mark.needs("root-cgroup")
def test_host_total_is_the_hosts(daemon: Daemon) -> None:
    """A host process in the root cgroups reads the host's MemTotal and uptime."""
    here = meminfo(Path("/proc/meminfo").read_text())
    assert here["MemTotal"] == meminfo(run_on_host("cat", str(daemon.proc / "meminfo")))["MemTotal"]
    before = uptime(Path("/proc/uptime").read_text())
    there = uptime(run_on_host("cat", str(daemon.proc / "uptime")))
    assert before <= there <= uptime(Path("/proc/uptime").read_text())


def test_host_process_in_a_group_sees_the_group(daemon: Daemon, make_cgroup: MakeCgroup) -> None:
    """A process in the host's namespaces but in a limited cgroup sees that cgroup, a neighbour its own."""
    small = make_cgroup(Limits(memory=50 * MIB))
    large = make_cgroup(Limits(memory=100 * MIB))
    meminfo_path = str(daemon.proc / "meminfo")
    for _ in range(3):
        assert meminfo(run_on_host("cat", meminfo_path, group=small))["MemTotal"] == 50 * 1024
        assert meminfo(run_on_host("cat", meminfo_path, group=large))["MemTotal"] == KIB_100_MIB


@pytest.mark.parametrize("file", ["cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime"])
def test_unprivileged_reader(make_container: MakeContainer, file: str) -> None:
    """An unprivileged user reads every file, with the same first field as root."""
    container = make_container(Limits(memory=100 * MIB))
    as_nobody = container.run("cat", f"/proc/{file}", user=NOBODY)
    assert [line.split()[:1] for line in container.read(file).splitlines()[1:]] == [
        line.split()[:1] for line in as_nobody.splitlines()[1:]
    ]


def test_unprivileged_reader_sees_limit(make_container: MakeContainer) -> None:
    """An unprivileged user sees the container's limit."""
    container = make_container(Limits(memory=100 * MIB))
    assert meminfo(container.run("cat", "/proc/meminfo", user=NOBODY))["MemTotal"] == KIB_100_MIB


def _age(pid: int) -> float:
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return uptime(Path("/proc/uptime").read_text()) - ticks / os.sysconf("SC_CLK_TCK")


def test_uptime_is_age_of_init(make_container: MakeContainer) -> None:
    """A container's uptime is the age of its init."""
    container = make_container(Limits())
    tick = 0.02
    before = _age(container.init_pid)
    read = uptime(container.read("uptime"))
    assert before - tick <= read <= _age(container.init_pid) + tick


def test_uptime_grows(make_container: MakeContainer) -> None:
    """A container's uptime and idle time only grow."""
    container = make_container(Limits())
    first = [float(number) for number in container.read("uptime").split()]
    wait_for("uptime grows", lambda: uptime(container.read("uptime")) > first[0])
    assert float(container.read("uptime").split()[1]) >= first[1]


def test_limit_change_shows(make_container: MakeContainer) -> None:
    """A changed limit shows once cached content has aged."""
    container = make_container(Limits(memory=100 * MIB))
    assert total(container) == KIB_100_MIB
    container.group.set_memory(200 * MIB)
    wait_for("new memory limit shows", lambda: total(container) == 2 * KIB_100_MIB)


@_TWO_CPUS
def test_change_of_cpus_shows(make_container: MakeContainer) -> None:
    """A changed CPU set or quota shows once cached content has aged."""
    container = make_container(Limits(memory=100 * MIB, cpus="0-1"))
    assert [0, 1] == cpuinfo_cpus(container.read("cpuinfo"))
    container.group.set_cpus("1")
    wait_for("new cpuset shows", lambda: cpuinfo_cpus(container.read("cpuinfo")) == [1])
    container.group.set_cpus("0-1")
    container.group.set_cpu_quota(1.0)
    wait_for("new quota shows", lambda: len(cpuinfo_cpus(container.read("cpuinfo"))) == 1)


def test_limit_change_shows_at_once_without_cache(
    start_daemon: Callable[..., Daemon], make_container: MakeContainer
) -> None:
    """With --cache-ttl 0 a changed limit shows at the next read."""
    served = start_daemon("--cache-ttl", "0").proc
    container = make_container(Limits(memory=100 * MIB), served=served)
    for mebibytes in (100, 200, 50, 150):
        container.group.set_memory(mebibytes * MIB)
        assert total(container) == mebibytes * 1024


def test_meminfo_follows_use(make_container: MakeContainer) -> None:
    """Memory that is taken is missing from MemFree, and the fields never contradict each other."""
    container = make_container(Limits(memory=100 * MIB))
    before = check_meminfo(container.read("meminfo"))
    with talking(container, _ALLOCATE) as allocate:
        for _ in range(7):
            assert allocate()
            check_meminfo(container.read("meminfo"))
        wait_for(
            "70 MiB show as taken",
            lambda: before["MemFree"] - check_meminfo(container.read("meminfo"))["MemFree"] >= 60 * 1024,
        )

        def anonymous() -> list[int]:
            fields = check_meminfo(container.read("meminfo"))
            return [fields["AnonPages"], fields["Active(anon)"] + fields["Inactive(anon)"]]

        # The kernel brings memory.stat up to date every two seconds.
        wait_for("70 MiB show as anonymous", lambda: min(anonymous()) >= 70 * 1024)


def test_meminfo_at_the_limit(make_container: MakeContainer, daemon: Daemon, work_directory: Path) -> None:
    """A container that has filled its limit with page cache has little free and much available."""
    container = make_container(Limits(memory=50 * MIB))
    container.run("dd", "if=/dev/zero", f"of={work_directory / 'filler'}", "bs=1M", "count=100", "conv=fsync")
    assert daemon.running()
    wait_for("limit is reached", lambda: meminfo(container.read("meminfo"))["MemFree"] < 20 * 1024)
    fields = check_meminfo(container.read("meminfo"))
    assert fields["MemAvailable"] > fields["MemFree"]
    (work_directory / "filler").unlink()


@pytest.mark.usefixtures("swap")
def test_swaps_agree_with_meminfo(make_container: MakeContainer) -> None:
    """A container limited to 32 MiB of swap has that much in meminfo and in swaps."""
    container = make_container(Limits(memory=50 * MIB, swap=32 * MIB))
    fields = check_meminfo(container.read("meminfo"))
    assert fields["SwapTotal"] == 32 * 1024
    size, used = swaps(container.read("swaps"))
    assert size == fields["SwapTotal"]
    assert used == fields["SwapTotal"] - fields["SwapFree"]


@pytest.mark.usefixtures("swap")
def test_swap_in_use(make_container: MakeContainer) -> None:
    """Swap that a container uses is missing from SwapFree, and swaps says the same."""
    container = make_container(Limits(memory=30 * MIB, swap=32 * MIB))
    with talking(container, _ALLOCATE) as allocate:
        for _ in range(4):
            assert allocate()

        def agree() -> bool:
            fields = check_meminfo(container.read("meminfo"))
            size, used = swaps(container.read("swaps"))
            return used > 0 and size - used == fields["SwapFree"]

        wait_for("swap in use shows", agree)


@pytest.mark.usefixtures("swap")
def test_swap_off(start_daemon: Callable[..., Daemon], make_container: MakeContainer) -> None:
    """With -u no container has swap."""
    container = make_container(Limits(memory=50 * MIB), served=start_daemon("-u").proc)
    fields = check_meminfo(container.read("meminfo"))
    assert (fields["SwapTotal"], fields["SwapFree"]) == (0, 0)
    assert swaps(container.read("swaps")) == (0, 0)


@_TWO_CPUS
def test_quota_view_off(start_daemon: Callable[..., Daemon], make_container: MakeContainer) -> None:
    """With --disable-cfs a quota does not show as CPUs."""
    served = start_daemon("--disable-cfs").proc
    container = make_container(Limits(cpus="0-1", cpu_quota=1.0), served=served)
    assert cpuinfo_cpus(container.read("cpuinfo")) == [0, 1]


def test_cpu_counters_never_go_back(
    start_daemon: Callable[..., Daemon], make_container: MakeContainer
) -> None:
    """No CPU counter goes back while a container computes and its quota and cpuset change."""
    served = start_daemon("--cache-ttl", "0").proc
    container = make_container(Limits(), served=served)
    history = History()
    cpu_sets = ("0-1", "0", "0-1", "1") if len(os.sched_getaffinity(0)) > 1 else ("0",)
    with burning(container, 2):
        for round_number in range(60):
            container.group.set_cpus(cpu_sets[round_number % len(cpu_sets)])
            container.group.set_cpu_quota((None, 0.5, 1.5)[round_number % 3])
            history.check([("stat", container.read("stat"))])


@_TWO_CPUS
def test_time_of_hidden_cpus_is_counted_once(
    start_daemon: Callable[..., Daemon], make_container: MakeContainer
) -> None:
    """However often CPUs are taken away and given back, no more time is shown than they can have had."""
    container = make_container(Limits(cpus="0-1"), served=start_daemon("--cache-ttl", "0").proc)
    for _ in range(10):
        for cpus in ("0", "1", "0-1"):
            container.group.set_cpus(cpus)
            times = check_stat(container.read("stat"), some_hidden=True)
    assert total_time(times["cpu"]) <= 2 * 100 * uptime(container.read("uptime")) + 2


def test_a_new_hierarchy_changes_nobody(
    start_daemon: Callable[..., Daemon],
    make_container: MakeContainer,
    new_directory: Callable[[str], Path],
) -> None:
    """A cgroup hierarchy that somebody mounts meanwhile makes no other container of one that is known."""
    container = make_container(Limits(), served=start_daemon("--cache-ttl", "0").proc)
    history = History()
    history.check([("stat", container.read("stat"))])
    # Whoever counted from the beginning again would find less idle time.
    container.group.set_cpu_quota(0.1)
    where = new_directory("hierarchy")
    name = f"none,name={where.parent.name}"
    subprocess.run(["mount", "-t", "cgroup", "-o", name, "cgroup", where], check=True)
    try:
        # Who asks is found out anew after a second.
        looked_at_again = time.monotonic() + 1.5
        while time.monotonic() < looked_at_again:
            history.check([("stat", container.read("stat"))])
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


def test_burnt_quota_is_not_idle(make_container: MakeContainer) -> None:
    """A container that burns all of its quota is not idle."""
    # So little that a busy machine has it for the container.
    container = make_container(Limits(cpu_quota=0.1))
    with burning(container, 2):
        before = stat_cpus(container.read("stat"))["cpu"]
        start = container.group.cpu_usage_usec()
        wait_for("much CPU time is spent", lambda: container.group.cpu_usage_usec() - start >= 400_000)
        after = stat_cpus(container.read("stat"))["cpu"]
    idle = after[IDLE] + after[IOWAIT] - before[IDLE] - before[IOWAIT]
    assert idle <= 0.2 * (total_time(after) - total_time(before)), (before, after)


def test_idle_container_is_idle(make_container: MakeContainer) -> None:
    """A container that does nothing is idle, for as long as it has run times its CPUs."""
    container = make_container(Limits(cpu_quota=1.0))
    before = stat_cpus(container.read("stat"))["cpu"][IDLE]
    wait_for("idle time passes", lambda: stat_cpus(container.read("stat"))["cpu"][IDLE] >= before + 20)
    hertz = os.sysconf("SC_CLK_TCK")
    assert stat_cpus(container.read("stat"))["cpu"][IDLE] <= (_age(container.init_pid) + 0.1) * hertz


def test_idle_of_uptime_is_idle_of_stat(make_container: MakeContainer) -> None:
    """Uptime's idle time is the one in stat."""
    container = make_container(Limits())
    hertz = os.sysconf("SC_CLK_TCK")
    before = stat_cpus(container.read("stat"))["cpu"][IDLE]
    idle = float(container.read("uptime").split()[1]) * hertz
    wait_for("stat is read anew", lambda: stat_cpus(container.read("stat"))["cpu"][IDLE] > before + 20)
    after = stat_cpus(container.read("stat"))["cpu"][IDLE]
    assert before - 2 <= idle <= after + 2


def test_container_gone_while_file_is_open(
    daemon: Daemon, make_cgroup: MakeCgroup, make_container: MakeContainer
) -> None:
    """A file opened through a container can still be read after the container and its cgroup are gone."""
    container = make_container(make_cgroup(Limits(memory=100 * MIB)))
    with Path(f"/proc/{container.init_pid}/root/proc/meminfo").open() as file:
        assert meminfo(file.read())
        container.kill()
        container.group.remove()
        assert meminfo(os.pread(file.fileno(), 1 << 20, 0).decode())
    assert daemon.serving()


def test_cgroup_removed_under_reader(daemon: Daemon, make_cgroup: MakeCgroup) -> None:
    """A reader whose cgroup went away reads its open file without error, and its new cgroup in a new one."""
    group = make_cgroup(Limits(memory=50 * MIB))
    other = make_cgroup(Limits(memory=100 * MIB))
    program = """
import os, sys
def total(file):
    return int(os.pread(file, 4096, 0).split()[1])
sys.stdin.readline()
file = os.open(sys.argv[1], os.O_RDONLY)
print(total(file), flush=True)
for line in sys.stdin:
    new = os.open(sys.argv[1], os.O_RDONLY)
    print(total(file), total(new), flush=True)
    os.close(new)
"""
    command = [sys.executable, "-I", "-S", "-c", program, str(daemon.proc / "meminfo")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        stdin, stdout = reader.stdin, reader.stdout

        def ask() -> list[int]:
            stdin.write("\n")
            return [int(word) for word in stdout.readline().split()]

        group.join(reader.pid)
        assert ask() == [50 * 1024]
        other.join(reader.pid)
        group.remove()
        opened, new = ask()
        assert opened > 0
        assert new == KIB_100_MIB
        stdin.close()


def test_splice_never_crosses_containers(make_container: MakeContainer) -> None:
    """What one container copies inside the kernel is not there for another that holds the same file open."""
    small, large = (make_container(Limits(memory=size * MIB)) for size in (50, 100))
    program = """
import os, sys
file = os.open("/proc/meminfo", os.O_RDONLY)
for line in sys.stdin:
    reader, writer = os.pipe()
    try:
        os.splice(file, writer, 4096, offset_src=0)
        print(os.read(reader, 4096).split()[1].decode(), flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""
    with talking(large, program) as ask:
        answers = {ask()}
        for _ in range(20):
            assert total(small) == 50 * 1024
            small.run("busybox", "cat", "/proc/meminfo")
            answers.add(ask())
    # Linux before 6.5 reads past the page cache here, so that it is an answer like any other.
    assert len(answers) == 1
    assert answers <= {f"{errno.EINVAL}\n", f"{KIB_100_MIB}\n"}


def test_reader_vanishes(daemon: Daemon, make_container: MakeContainer) -> None:
    """Readers that are killed while they read do no harm to others."""
    container = make_container(Limits(memory=100 * MIB))
    program = "print('reading', flush=True)\nwhile True:\n    open('/proc/stat', 'rb').read()\n"
    for _ in range(20):
        with talking(container, program) as ask:
            assert ask() == "reading\n"
    assert total(container) == KIB_100_MIB
    assert daemon.running()


def test_reused_namespace_numbers(daemon: Daemon, make_cgroup: MakeCgroup) -> None:
    """Short-lived containers, whose namespace numbers the kernel reuses, each see their own limit."""
    groups = {mebibytes: make_cgroup(Limits(memory=mebibytes * MIB)) for mebibytes in (50, 100)}
    for _ in range(100):
        for mebibytes, group in groups.items():
            text = run_once(daemon.proc, group, "cat", "/proc/meminfo")
            assert meminfo(text)["MemTotal"] == mebibytes * 1024


def test_pod_of_the_same_name(make_cgroup: MakeCgroup, make_container: MakeContainer) -> None:
    """A container in a group that was removed and made again reads its own files from the first read on."""
    name = f"{make_cgroup(Limits()).name}-pod"
    for quota in (0.5, 1.0):
        pod = make_cgroup(Limits(cpu_quota=quota), name=name)
        container = make_container(make_cgroup(Limits(memory=100 * MIB), parent=pod, name="main"))
        assert set(check_stat(container.read("stat"))) == {"cpu", "cpu0"}
        assert total(container) == KIB_100_MIB
        container.kill()
        container.group.remove()
        pod.remove()


@pytest.mark.parametrize("file", ["diskstats", "swaps", "loadavg", "cpuinfo", "uptime", "stat", "meminfo"])
def test_fresh_container_has_every_file(make_container: MakeContainer, file: str) -> None:
    """A container without any limit reads every file, ending in a newline unless empty."""
    text = make_container(Limits()).read(file)
    assert text.endswith("\n") or (file == "diskstats" and not text)


@pytest.mark.needs("disk")
def test_diskstats_counts_own_reads(make_container: MakeContainer, work_directory: Path) -> None:
    """Diskstats has a device once the container has written to it, with its own counts only."""
    container = make_container(Limits())
    container.group.count_requests(work_directory)
    target = work_directory / "written"
    container.run("dd", "if=/dev/zero", f"of={target}", "bs=64k", "count=16", "oflag=direct")

    def sectors() -> int:
        rows = [line.split() for line in container.read("diskstats").splitlines()]
        return max((int(row[9]) for row in rows), default=0)

    wait_for("written sectors show", lambda: sectors() >= 2048)
    assert sectors() < 4096
    target.unlink()
