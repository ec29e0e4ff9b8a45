"""The CPU tree through one real mount, for containers with different CPUs and for the host."""

import errno
import json
import os
import stat
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, cast

import pytest

from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.support.cgroups import Cgroup, Limits
from tests.support.container import CPU_TREE, Container, run_on_host
from tests.support.cpus import LAST_CPU, bind_cpu_tree, look, machine_with
from tests.support.daemon import Daemon
from tests.support.invariants import check_stat
from tests.support.readings import cpuinfo_cpus

MakeContainer = Callable[[Limits], Container]

NOBODY: Final = 65534
_TWO_CPUS: Final = pytest.mark.needs("two-cpus")


@pytest.fixture
def make_machine(make_container: MakeContainer, daemon: Daemon) -> Callable[[Limits], Container]:
    """Run containers that have the CPU tree over theirs."""

    def make(limits: Limits) -> Container:
        container = make_container(limits)
        bind_cpu_tree(container, daemon)
        return container

    return make


@pytest.mark.parametrize(
    "limits, cpus",
    [
        (Limits(cpus="0"), [0]),
        pytest.param(Limits(cpus="1"), [1], marks=_TWO_CPUS),
        pytest.param(Limits(cpus="0-1"), [0, 1], marks=_TWO_CPUS),
        (Limits(cpu_quota=0.5), [0]),
        pytest.param(Limits(cpus="1", cpu_quota=1.5), [1], marks=_TWO_CPUS),
        pytest.param(Limits(cpus="0-1", cpu_quota=1.5), [0, 1], marks=_TWO_CPUS),
    ],
)
def test_all_name_the_same_cpus(
    make_machine: Callable[[Limits], Container], limits: Limits, cpus: list[int]
) -> None:
    """The lists, the directories, glibc, cpuinfo and stat agree in every container."""
    container = make_machine(limits)
    assert machine_with(*cpus) == look(container)
    assert cpus == cpuinfo_cpus(container.read("cpuinfo"))
    assert {"cpu", *(f"cpu{cpu}" for cpu in cpus)} == check_stat(container.read("stat")).keys()


@_TWO_CPUS
def test_two_containers_at_the_same_time(make_machine: Callable[[Limits], Container]) -> None:
    """Containers and host, all on one mount, never see each other's CPUs, however often they look."""
    expected = {"0": machine_with(0), "1": machine_with(1), "0-1": machine_with(0, 1)}
    containers = {cpus: make_machine(Limits(cpus=cpus)) for cpus in expected}
    with ThreadPoolExecutor(2 * len(containers)) as pool:
        jobs = [(cpus, pool.submit(look, containers[cpus], 150)) for cpus in [*expected, *expected]]
    assert [(cpus, expected[cpus]) for cpus, _ in jobs] == [(cpus, job.result()) for cpus, job in jobs]


def test_unprivileged_user(make_machine: Callable[[Limits], Container]) -> None:
    """A user without rights sees the container's CPUs just as well."""
    names = f"cd /{CPU_TREE}; ls -d cpu[0-9]* cpu*/topology/core_id; cat online present"
    look = f"{names}; getconf _NPROCESSORS_CONF"
    seen = make_machine(Limits(cpus=str(LAST_CPU))).run("sh", "-c", look, user=NOBODY)
    cpu = f"cpu{LAST_CPU}"
    assert [cpu, f"{cpu}/topology/core_id", str(LAST_CPU), str(LAST_CPU), "1"] == seen.split()


@_TWO_CPUS
def test_follows_the_cpuset(make_machine: Callable[[Limits], Container]) -> None:
    """A container that is moved to other CPUs sees them, in the lists and the directories."""
    container = make_machine(Limits(cpus="0"))
    for cpu in (0, 1, 0):
        container.group.set_cpus(str(cpu))
        # Longer than content is served again.
        container.run("sleep", "0.1")
        assert machine_with(cpu) == look(container)


@_TWO_CPUS
def test_mounts_inside_outlive_other_containers(make_machine: Callable[[Limits], Container]) -> None:
    """What a runtime mounted over a file of a CPU stays, whoever is told that this CPU is not there."""
    masked, other = make_machine(Limits(cpus="1")), make_machine(Limits(cpus="0"))
    masked.run("mount", "-t", "tmpfs", "mask", f"/{CPU_TREE}/cpu1/topology")
    for _ in range(3):
        assert machine_with(0) == look(other)
        # Longer than names are remembered.
        other.run("sleep", "1.1")
    assert "" == masked.run("ls", f"/{CPU_TREE}/cpu1/topology")


@pytest.mark.needs("root-cgroup")
def test_limited_group_of_the_host(daemon: Daemon, make_cgroup: Callable[..., Cgroup]) -> None:
    """A process on the host sees the host's CPUs, or those of its own group."""
    tree = str(daemon.mount_point / CPU_TREE)
    assert sorted(os.listdir(f"/{CPU_TREE}")) == sorted(run_on_host("ls", tree).split())
    limited = run_on_host("ls", tree, group=make_cgroup(Limits(cpus=str(LAST_CPU)))).split()
    assert [f"cpu{LAST_CPU}"] == [name for name in limited if name[3:].isdigit()]


def _as_user(user: int, ask: Callable[[], object]) -> object:
    """Answer a question as `user`, in a forked child: its new identity must not be ours."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            with open(write_end, "w") as answer:
                json.dump(ask(), answer)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def _walk(root: str) -> Iterator[str]:
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            yield os.path.relpath(os.path.join(directory, name), root)


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return "content" if file.read(4096) else "empty"


_LISTS: Final = {Path(file.path).name for file in VIRTUAL_FILES if file.path.startswith(f"{CPU_TREE}/")}


def _describe(root: str, path: str) -> list[object]:
    """Return what is the host's for certain; counters and frequencies change between two looks."""
    full = os.path.join(root, path)
    status = os.lstat(full)
    if stat.S_ISLNK(status.st_mode):
        return [oct(status.st_mode), status.st_uid, status.st_gid, os.readlink(full)]
    # The lists have the exact length (tests/daemon/test_sizes.py), sysfs' a page.
    size = status.st_size if stat.S_ISREG(status.st_mode) and path not in _LISTS else 0
    read = _outcome(lambda: _read(full)) if stat.S_ISREG(status.st_mode) else ""
    return [oct(status.st_mode & ~0o222), status.st_uid, status.st_gid, size, read]


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_the_hosts_tree_but_for_write_bits(daemon: Daemon, user: int) -> None:
    """A host process finds every entry of the host with its mode, owner, target and errno of reading."""

    def tree(root: str) -> object:
        return _as_user(user, lambda: {path: _describe(root, path) for path in _walk(root)})

    assert tree(f"/{CPU_TREE}") == tree(str(daemon.mount_point / CPU_TREE))


@pytest.mark.parametrize("file", ["cpu0/topology/core_id", "vulnerabilities/meltdown", "kernel_max"])
def test_the_hosts_content(daemon: Daemon, file: str) -> None:
    """What never changes is the same byte by byte."""
    assert Path(f"/{CPU_TREE}/{file}").read_bytes() == (daemon.mount_point / CPU_TREE / file).read_bytes()


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_nothing_is_writable(daemon: Daemon, user: int) -> None:
    """No file can be opened for writing in any way, whatever the host's mode says."""
    root = str(daemon.mount_point / CPU_TREE)

    def attempts() -> object:
        files = [os.path.join(root, path) for path in _walk(root)]
        return [
            (file, flags)
            for file in files
            if stat.S_ISREG(os.lstat(file).st_mode)
            for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND)
            if _outcome(partial(os.open, file, flags)) != "EACCES"
        ]

    assert [] == _as_user(user, attempts)


OPERATIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "open a read-only file for writing": lambda cpu: os.open(f"{cpu}/kernel_max", os.O_WRONLY),
    "open a directory for writing": lambda cpu: os.open(f"{cpu}/cpu0", os.O_WRONLY),
    "open or create, present": lambda cpu: os.close(os.open(f"{cpu}/online", os.O_RDONLY | os.O_CREAT)),
    "create, present": lambda cpu: os.open(f"{cpu}/online", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "create, absent": lambda cpu: os.open(f"{cpu}/absent", os.O_WRONLY | os.O_CREAT),
    "open, absent": lambda cpu: os.open(f"{cpu}/absent", os.O_RDONLY),
    "look below a file": lambda cpu: os.open(f"{cpu}/online/below", os.O_RDONLY),
    "list a file": lambda cpu: os.listdir(f"{cpu}/online"),
    "read a directory": lambda cpu: os.read(os.open(f"{cpu}/cpu0", os.O_RDONLY), 1).decode(),
    "read a file that cannot be read": lambda cpu: os.read(
        os.open(f"{cpu}/power/autosuspend_delay_ms", os.O_RDONLY), 1
    ).decode(),
    "a CPU that does not exist": lambda cpu: os.stat(f"{cpu}/cpu9999").st_size,
    "not a CPU's name": lambda cpu: os.stat(f"{cpu}/cpu00").st_size,
    "up and down": lambda cpu: os.stat(f"{cpu}/cpu0/../cpu1/topology").st_nlink,
    "name too long": lambda cpu: os.stat(f"{cpu}/{'x' * 256}").st_size,
    "mkdir, absent": lambda cpu: os.mkdir(f"{cpu}/absent"),
    "mkdir, present": lambda cpu: os.mkdir(f"{cpu}/cpu0"),
    "rmdir": lambda cpu: os.rmdir(f"{cpu}/cpu0"),
    "rmdir, absent": lambda cpu: os.rmdir(f"{cpu}/absent"),
    "unlink": lambda cpu: os.unlink(f"{cpu}/kernel_max"),
    "unlink, absent": lambda cpu: os.unlink(f"{cpu}/absent"),
    "unlink a directory": lambda cpu: os.unlink(f"{cpu}/cpu0"),
    "rename to an absent name": lambda cpu: os.rename(f"{cpu}/kernel_max", f"{cpu}/absent"),
    "rename to a present name": lambda cpu: os.rename(f"{cpu}/kernel_max", f"{cpu}/modalias"),
    "link": lambda cpu: os.link(f"{cpu}/kernel_max", f"{cpu}/absent"),
    "symlink": lambda cpu: os.symlink("target", f"{cpu}/absent"),
    "symlink, present": lambda cpu: os.symlink("target", f"{cpu}/cpu0/node0"),
    "mknod": lambda cpu: os.mknod(f"{cpu}/absent"),
    "mkdir below a CPU": lambda cpu: os.mkdir(f"{cpu}/cpu0/absent"),
    "create below a CPU": lambda cpu: os.open(f"{cpu}/cpu0/absent", os.O_WRONLY | os.O_CREAT),
    "readlink of a link": lambda cpu: os.readlink(f"{cpu}/cpu0/subsystem"),
    "readlink of a file": lambda cpu: os.readlink(f"{cpu}/kernel_max"),
    "open a link without following": lambda cpu: os.open(
        f"{cpu}/cpu0/subsystem", os.O_RDONLY | os.O_NOFOLLOW
    ),
    "execute": lambda cpu: os.execv(f"{cpu}/kernel_max", ["kernel_max"]),  # noqa: S606
    "may be written": lambda cpu: os.access(f"{cpu}/cpu0/topology/core_id", os.W_OK),
    "may be read": lambda cpu: os.access(f"{cpu}/cpu0/topology/core_id", os.R_OK),
    "may be searched": lambda cpu: os.access(f"{cpu}/cpu0/topology", os.X_OK),
    "mknod of a device": lambda cpu: os.mknod(f"{cpu}/absent", stat.S_IFCHR, os.makedev(1, 3)),
    "read far away": lambda cpu: os.pread(os.open(f"{cpu}/kernel_max", os.O_RDONLY), 9, 1 << 40).decode(),
    "size": lambda cpu: os.stat(f"{cpu}/kernel_max").st_size,
}
#: As nobody the kernel has other answers before it asks a FUSE file system: (its own /sys', ours).
_FOR_NOBODY: Final = {
    "mknod of a device": ("EACCES", "EPERM"),
    "unlink a directory": ("EACCES", "EISDIR"),
}


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_answers_as_the_kernels_sys_does(daemon: Daemon, user: int) -> None:
    """Each operation has the same result as on the kernel's /sys."""

    def outcomes(root: str) -> dict[str, object]:
        found = _as_user(
            user, lambda: {name: _outcome(partial(call, root)) for name, call in OPERATIONS.items()}
        )
        return cast("dict[str, object]", found)

    kernels, ours = outcomes(f"/{CPU_TREE}"), outcomes(str(daemon.mount_point / CPU_TREE))
    differences = {name: (kernels[name], ours[name]) for name in OPERATIONS if kernels[name] != ours[name]}
    assert differences == (_FOR_NOBODY if user else {})
    assert daemon.running()
