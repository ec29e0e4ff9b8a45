"""What people's own programs print in docker containers of 100 MiB and one CPU."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.cgroups import find_layout
from tests.support.checking import check_invariants
from tests.support.container import FILES
from tests.support.daemon import Daemon, lxcfs
from tests.support.docker import BUSYBOX, DEBIAN, READ_PASS, Docker, binds
from tests.support.invariants import check_meminfo, check_stat
from tests.support.readings import cpuinfo_cpus, meminfo, named_texts, swaps, uptime
from tests.support.waiting import wait_for

TOTAL: Final = 100 * 1024
_PSUTIL: Final = """
import json, psutil
memory = psutil.virtual_memory()
print(json.dumps({
    "total": memory.total, "available": memory.available, "used": memory.used, "percent": memory.percent,
    "cpus": psutil.cpu_count(), "cpu_times": len(psutil.cpu_times(percpu=True)),
    "swap": psutil.swap_memory().total, "boot_time": psutil.boot_time(),
    "started": psutil.Process().create_time(),
}))
"""

Run = Callable[..., str]


@pytest.fixture
def debian(dockerd: Docker, daemon: Daemon) -> Run:
    """Run a command in a Debian container."""
    return lambda *argv: dockerd.run(DEBIAN, *argv, served=daemon.proc)


@pytest.fixture
def busybox(dockerd: Docker, daemon: Daemon) -> Run:
    """Run a command in a busybox container."""
    return lambda *argv: dockerd.run(BUSYBOX, *argv, served=daemon.proc)


@contextmanager
def detached(dockerd: Docker, served: Path, *limits: str, some_hidden: bool = False) -> Iterator[str]:
    """Run a Debian container that does nothing; yield its id. `some_hidden`: CPUs are taken from it."""
    container = dockerd("run", "--detach", *limits, *binds(served), DEBIAN, "sleep", "infinity").strip()
    try:
        yield container
        check_invariants(lambda: named_texts(dockerd("exec", container, *READ_PASS)), some_hidden=some_hidden)
    finally:
        dockerd("rm", "--force", container)


def _host_total() -> int:
    return meminfo(Path("/proc/meminfo").read_text())["MemTotal"]


def test_free(debian: Run) -> None:
    """Procps' free shows 100 MiB of memory, nearly all of it free, and the swap that meminfo has."""
    _titles, memory, swap = (line.split() for line in debian("free", "-k").splitlines())
    assert int(memory[1]) == TOTAL
    assert int(memory[2]) < TOTAL // 2
    assert TOTAL // 2 < int(memory[3]) <= TOTAL
    assert int(memory[3]) <= int(memory[6]) <= TOTAL
    assert int(swap[1]) == int(swap[2]) + int(swap[3])


def test_top(debian: Run) -> None:
    """Procps' top shows 100 MiB, one CPU by its number, and a fresh uptime."""
    text = debian("top", "-b", "-n1", "-1")
    total = re.search(r"^MiB Mem : +([\d.]+) total", text, re.MULTILINE)
    assert total is not None, text
    assert float(total[1]) == 100.0
    assert re.findall(r"^%Cpu(\d+)", text, re.MULTILINE) == ["0"]
    assert re.search(r"up 0 min|up 1 min", text), text


def test_top_summary(debian: Run) -> None:
    """Procps' top in its usual form shows percentages that add up to the whole."""
    text = debian("top", "-b", "-n1")
    (line,) = (line for line in text.splitlines() if line.startswith("%Cpu"))
    shares = [float(number) for number in re.findall(r"([\d.]+) (?:us|sy|ni|id|wa|hi|si|st)", line)]
    assert len(shares) == 8, line
    assert 99.0 <= sum(shares) <= 101.0, line


def test_uptime(debian: Run) -> None:
    """Procps' uptime says that the container was just started."""
    assert re.search(r"up 0 min|up 1 min", debian("uptime"))


def test_nproc(debian: Run) -> None:
    """Nproc shows one CPU."""
    assert debian("nproc") == "1\n"


def test_vmstat(debian: Run) -> None:
    """Vmstat shows free memory below the limit and CPU shares that add up to the whole."""
    titles, numbers = (line.split() for line in debian("vmstat", "-S", "k").splitlines()[1:])
    values = dict(zip(titles, map(int, numbers), strict=True))
    assert 0 < values["free"] <= 100 * (1 << 20) // 1000
    assert values["cache"] + values["buff"] <= 100 * (1 << 20) // 1000
    assert 98 <= sum(values[share] for share in ("us", "sy", "id", "wa", "st")) <= 102


def test_swaps(debian: Run) -> None:
    """The swaps file is the one that meminfo has the sums of."""
    text = debian("sh", "-c", "cat /proc/meminfo; echo --; cat /proc/swaps")
    memory, _, areas = text.partition("--\n")
    assert areas.startswith("Filename")
    assert swaps(areas)[0] == check_meminfo(memory)["SwapTotal"]


def test_psutil(debian: Run) -> None:
    """Python's psutil sees 100 MiB, one CPU and its times, and when its own process began."""
    before = time.time()
    seen = json.loads(debian("python3", "-c", _PSUTIL))
    after = time.time()
    assert seen["total"] == TOTAL * 1024
    assert 0 < seen["available"] <= seen["total"]
    assert 0 <= seen["used"] < seen["total"]
    assert 0 <= seen["percent"] < 100
    assert seen["cpu_times"] == 1
    assert seen["cpus"] == 1
    # btime has whole seconds.
    assert before - 2 <= seen["started"] <= after + 2
    assert 0 < seen["boot_time"] <= seen["started"]


@pytest.mark.parametrize("image", [DEBIAN, BUSYBOX])
def test_files(dockerd: Docker, daemon: Daemon, image: str) -> None:
    """Every file can be read in either image and says what the container has."""
    texts = {file: dockerd.run(image, "cat", f"/proc/{file}", served=daemon.proc) for file in FILES}
    assert check_meminfo(texts["meminfo"])["MemTotal"] == TOTAL
    assert cpuinfo_cpus(texts["cpuinfo"]) == [0]
    assert set(check_stat(texts["stat"])) == {"cpu", "cpu0"}
    assert uptime(texts["uptime"]) < uptime(Path("/proc/uptime").read_text())
    assert swaps(texts["swaps"])[0] >= 0
    assert len(texts["loadavg"].split()) == 5


def test_busybox_free(busybox: Run) -> None:
    """Busybox's free asks sysinfo(2), which no file can change: it shows the host's total."""
    line = next(line for line in busybox("free").splitlines() if line.startswith("Mem:"))
    assert int(line.split()[1]) == _host_total()


def test_busybox_top(busybox: Run) -> None:
    """Busybox's top reads meminfo and stat: used and free make 100 MiB."""
    text = busybox("top", "-b", "-n1")
    memory = re.search(r"^Mem: (\d+)K used, (\d+)K free", text, re.MULTILINE)
    assert memory is not None, text
    assert int(memory[1]) + int(memory[2]) == TOTAL
    assert re.search(r"^CPU: +\d+% usr", text, re.MULTILINE), text


def test_busybox_uptime(busybox: Run) -> None:
    """Busybox's uptime runs (it asks sysinfo(2), so its answer is the host's)."""
    assert "up" in busybox("uptime")


def test_busybox_nproc(busybox: Run) -> None:
    """Busybox's nproc shows one CPU."""
    assert busybox("nproc") == "1\n"


def test_quota(dockerd: Docker, daemon: Daemon) -> None:
    """`--cpus 1` shows as one CPU in cpuinfo and stat."""
    text = dockerd.run(
        DEBIAN, "cat", "/proc/cpuinfo", "/proc/stat", served=daemon.proc, limits=("--cpus", "1")
    )
    assert len(cpuinfo_cpus(text)) == 1
    assert len(re.findall(r"^cpu\d+ ", text, re.MULTILINE)) == 1


def test_no_limits(dockerd: Docker, daemon: Daemon) -> None:
    """A container without limits has the host's memory."""
    text = dockerd.run(DEBIAN, "cat", "/proc/meminfo", served=daemon.proc, limits=())
    assert check_meminfo(text)["MemTotal"] == _host_total()


def test_host_pid_namespace(dockerd: Docker, daemon: Daemon) -> None:
    """A container in the host's pid namespace sees its own limit."""
    limits = ("-m", "100m", "--pid", "host")
    assert (
        meminfo(dockerd.run(DEBIAN, "cat", "/proc/meminfo", served=daemon.proc, limits=limits))["MemTotal"]
        == TOTAL
    )


def test_container_pid_namespace(dockerd: Docker, daemon: Daemon) -> None:
    """A container in another one's pid namespace sees its own limit, not the other's."""
    with detached(dockerd, daemon.proc, "-m", "50m") as other:
        limits = ("-m", "100m", "--pid", f"container:{other}")
        text = dockerd.run(DEBIAN, "cat", "/proc/meminfo", served=daemon.proc, limits=limits)
        assert meminfo(text)["MemTotal"] == TOTAL
        assert meminfo(dockerd("exec", other, "cat", "/proc/meminfo"))["MemTotal"] == TOTAL // 2


def test_update(dockerd: Docker, daemon: Daemon) -> None:
    """After `docker update -m` the container has its new size."""
    with detached(dockerd, daemon.proc, "-m", "100m", "--memory-swap", "100m") as container:

        def total() -> int:
            return meminfo(dockerd("exec", container, "cat", "/proc/meminfo"))["MemTotal"]

        assert total() == TOTAL
        dockerd("update", "-m", "200m", "--memory-swap", "200m", container)
        wait_for("new limit shows", lambda: total() == 2 * TOTAL)


@pytest.mark.needs("two-cpus")
def test_update_cpus(dockerd: Docker, daemon: Daemon) -> None:
    """After `docker update` of quota and CPU set the container has its new CPUs, in every file."""
    limits = ("--cpus", "1", "--cpuset-cpus", "0-1")
    with detached(dockerd, daemon.proc, *limits, some_hidden=True) as container:

        def cpus() -> tuple[list[int], set[str]]:
            text = dockerd("exec", container, "cat", "/proc/cpuinfo", "/proc/stat")
            return cpuinfo_cpus(text), set(re.findall(r"^cpu\d+", text, re.MULTILINE))

        assert cpus() == ([0], {"cpu0"})
        dockerd("update", "--cpus", "2", container)
        wait_for("new quota shows", lambda: cpus() == ([0, 1], {"cpu0", "cpu1"}))
        dockerd("update", "--cpuset-cpus", "1", container)
        wait_for("new CPU set shows", lambda: cpus() == ([1], {"cpu1"}))


def test_restart(dockerd: Docker, daemon: Daemon) -> None:
    """After `docker restart` the container has its limits again, and the age of its new first process."""
    with detached(dockerd, daemon.proc, "-m", "100m", "--cpus", "1") as container:

        def read(file: str) -> str:
            return dockerd("exec", container, "cat", f"/proc/{file}")

        def age() -> float:
            pid = int(dockerd("inspect", "--format", "{{.State.Pid}}", container))
            return time.time() - psutil.Process(pid).create_time()

        for _ in range(2):
            assert meminfo(read("meminfo"))["MemTotal"] == TOTAL
            assert len(cpuinfo_cpus(read("cpuinfo"))) == 1
            before, shown, after = age(), uptime(read("uptime")), age()
            # What a start time is counted from, btime, has whole seconds.
            assert before - 2 <= shown <= after + 2
            dockerd("restart", "--time", "0", container)


def test_unprivileged_user(dockerd: Docker, daemon: Daemon) -> None:
    """A container that runs as an unprivileged user sees its limit."""
    limits = ("-m", "100m", "--user", "65534:65534", "--cap-drop", "ALL")
    assert (
        meminfo(dockerd.run(DEBIAN, "cat", "/proc/meminfo", served=daemon.proc, limits=limits))["MemTotal"]
        == TOTAL
    )


@pytest.mark.needs("lxcfs")
def test_agrees_with_lxcfs(dockerd: Docker, daemon: Daemon, new_directory: Callable[[str], Path]) -> None:
    """Lxcfs and pylxcfs show the same total, swap and CPUs."""
    program = ("cat", "/proc/meminfo", "/proc/cpuinfo")
    ours = dockerd.run(DEBIAN, *program, served=daemon.proc)
    with lxcfs(new_directory("lxcfs")) as other:
        theirs = dockerd.run(DEBIAN, *program, served=other.proc, check=False)

    def facts(text: str) -> list[str]:
        return re.findall(r"^(?:MemTotal|SwapTotal): .*", text, re.MULTILINE)

    assert facts(theirs) == facts(ours)
    assert len(cpuinfo_cpus(theirs)) == len(cpuinfo_cpus(ours))


def test_runc_refuses_pressure(dockerd: Docker, daemon: Daemon) -> None:
    """No runc container starts with a bind over /proc/pressure, so docker-args leaves it out."""
    for file in ("pressure", "pressure/cpu"):
        with pytest.raises(AssertionError, match="cannot be mounted because it is inside /proc"):
            dockerd("run", "--rm", "-v", f"{daemon.proc}/{file}:/proc/{file}", DEBIAN, "true")


def test_pressure_in_a_running_container(dockerd: Docker, daemon: Daemon) -> None:
    """What runc refuses can be bound once the container runs, and then shows the container's pressure."""
    served = daemon.mount_point
    with detached(dockerd, daemon.proc, "-v", f"{served}:{served}:ro") as container:
        pid = dockerd("inspect", "--format", "{{.State.Pid}}", container).strip()
        enter = ("nsenter", "--target", pid, "--mount")
        subprocess.run([*enter, "mount", "--bind", f"{served}/proc/pressure", "/proc/pressure"], check=True)
        shown = dockerd("exec", container, "cat", "/proc/pressure/memory")
        unified = find_layout().unified
        assert unified is not None
        (group,) = unified.top.glob(f"**/{container}")
        assert shown == (group / "memory.pressure").read_text()
