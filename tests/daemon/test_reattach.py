"""Binds that lost their server are attached anew in running containers, and taken away."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import pytest

from pylxcfs.procfiles.binds import NODE_DIRECTORY
from tests.support.asking import stopped
from tests.support.cgroups import MIB, Limits
from tests.support.container import FILES, Container
from tests.support.cpus import LAST_CPU
from tests.support.operator import Site, kernel_places, mount_table, own_mounts
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

MakeBound = Callable[..., Container]

CPU: Final = "/sys/devices/system/cpu"
DEAD: Final = "Transport endpoint is not connected"
WAIT: Final = ("sh", "-c", "echo ready; exec sleep infinity")
TARGETS: Final = frozenset(f"/proc/{file}" for file in FILES)


def total(container: Container) -> int:
    """Read MemTotal inside, in kB."""
    return meminfo(container.read("meminfo"))["MemTotal"]


def is_dead(container: Container, file: str = "/proc/meminfo") -> bool:
    """Tell whether reading a file inside says that its server is gone."""
    command = container.command("cat", file)
    return DEAD in subprocess.run(command, check=False, capture_output=True, text=True).stderr


def host_total() -> int:
    """Read the host's own MemTotal, in kB."""
    return meminfo(Path("/proc/meminfo").read_text())["MemTotal"]


def test_twenty_containers(site: Site, make_bound: MakeBound, capsys: pytest.CaptureFixture[str]) -> None:
    """After a kill -9, one command brings all files back in twenty containers, each with its own numbers."""
    containers = [make_bound(Limits(memory=(40 + number) * MIB)) for number in range(20)]
    pids = {container.init_pid for container in containers}
    site.replace()
    assert all(is_dead(container) for container in containers)
    done = site.ctl_text("reattach")
    assert f"20 containers, {20 * len(FILES)} binds: {20 * len(FILES)} attached, in " in done.stdout
    with capsys.disabled():
        print(f"\n{done.stdout.splitlines()[-1]}")  # noqa: T201 - how long it took is worth a look
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r" dead +attached$", done.stdout, re.MULTILINE)) == 20 * len(FILES)
    for number, container in enumerate(containers):
        assert total(container) == (40 + number) * 1024
        for file in FILES:
            container.read(file)
    again = site.ctl("reattach")
    assert again.actions(pids) == {("alive", "nothing")}
    assert again.status == 0


def test_attached_binds_are_closed(site: Site, make_bound: MakeBound) -> None:
    """What is attached is read-only, without set-user-ID, devices or programs, and in no peer group."""
    container = make_bound()
    site.replace()
    subprocess.run(["mount", "--make-shared", site.mount_point], check=True)
    site.ctl("reattach")
    lines = [line for line in mount_table(container.init_pid).splitlines() if f" {site.fsname} " in line]
    attached = [line.split() for line in lines if line.split()[4] in TARGETS]
    assert len(attached) == len(FILES)
    for fields in attached:
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(fields[5].split(","))
        assert fields[6] == "-"


def test_dry_run_changes_nothing(site: Site, make_bound: MakeBound) -> None:
    """With --dry-run the same binds are listed, and the mount table stays as it is."""
    container = make_bound()
    site.replace()
    before = kernel_places(container.init_pid)
    assert site.ctl("reattach", "--dry-run").actions({container.init_pid}) >= {("dead", "would attach")}
    assert kernel_places(container.init_pid) == before
    assert is_dead(container)


def test_detach_and_start_again(site: Site, make_bound: MakeBound) -> None:
    """Detach leaves nobody with a dead file after a stop; the next start's reattach brings all back."""
    container = make_bound(Limits(memory=50 * MIB))
    assert site.ctl("detach", "--dry-run").of("/proc/meminfo") == ("alive", "would detach")
    assert total(container) == 50 * 1024
    assert site.ctl("detach").of("/proc/meminfo") == ("alive", "detached")
    assert total(container) == host_total()
    site.daemon.stop()
    assert not TARGETS & set(own_mounts(container.init_pid, site.fsname))
    for file in FILES:
        container.read(file)
    site.start()
    assert site.ctl("reattach").of("/proc/meminfo") == ("missing", "attached")
    assert total(container) == 50 * 1024
    assert site.ctl("reattach").of("/proc/meminfo") == ("alive", "nothing")


def test_detach_without_a_daemon(site: Site, make_bound: MakeBound) -> None:
    """Where the daemon cannot be started again, detach takes the dead files away."""
    container = make_bound()
    site.daemon.kill()
    subprocess.run(["umount", "--lazy", site.mount_point], check=True)
    assert is_dead(container)
    assert site.ctl("detach").of("/proc/meminfo") == ("dead", "detached")
    assert total(container) == host_total()


def test_detach_from_a_daemon_that_hangs(site: Site, make_bound: MakeBound) -> None:
    """Detach does not ask the server, so works while it hangs."""
    container = make_bound()
    with stopped(site.daemon):
        done = site.ctl_text("detach")
    assert re.search(r" /proc/meminfo +unresponsive +detached$", done.stdout, re.MULTILINE)
    assert f"1 containers, {len(FILES)} binds: {len(FILES)} detached, in " in done.stdout
    assert total(container) == host_total()


def test_detach_from_a_dead_daemon(site: Site, make_bound: MakeBound) -> None:
    """Binds of a mount whose server is gone are called dead, though the mount is still there."""
    container = make_bound()
    site.daemon.kill()
    done = site.ctl_text("detach")
    assert re.search(r" /proc/meminfo +dead +detached$", done.stdout, re.MULTILINE)
    assert f"1 containers, {len(FILES)} binds: {len(FILES)} detached, in " in done.stdout
    assert total(container) == host_total()


def test_a_single_container(site: Site, make_bound: MakeBound) -> None:
    """With --container only that one is touched."""
    one, other = make_bound(Limits(memory=50 * MIB)), make_bound()
    site.replace()
    report = site.ctl("reattach", "--container", one.group.name)
    assert {row.pid for row in report.rows} == {one.init_pid}
    assert total(one) == 50 * 1024
    assert is_dead(other)
    assert site.ctl("detach", "--container", one.group.name).of("/proc/meminfo")[1] == "detached"
    assert total(one) == host_total()


def test_unknown_container(site: Site) -> None:
    """A container that is not there is one line and exit status 1."""
    report = site.ctl("reattach", "--container", "no-such-container")
    assert report.status == 1
    assert report.stderr == ("pylxcfsctl: no running container is called 'no-such-container'\n")


def test_retrofit(site: Site, make_bound: MakeBound) -> None:
    """A container started without any bind gets all files that docker-args names."""
    container = make_bound(Limits(memory=50 * MIB, cpus=str(LAST_CPU)), files=())
    assert total(container) == host_total()
    report = site.ctl("reattach", "--container", container.group.name)
    assert report.status == 0, report.stdout
    assert report.of("/proc/meminfo") == ("none", "attached")
    assert report.of(CPU) == ("none", "attached")
    # A kernel without NUMA has no such directory.
    if os.path.isdir(f"/{NODE_DIRECTORY}"):
        assert report.of(f"/{NODE_DIRECTORY}") == ("none", "attached")
    assert total(container) == 50 * 1024
    assert container.run("cat", f"{CPU}/online") == f"{LAST_CPU}\n"


def test_started_while_nobody_served(site: Site, make_bound: MakeBound) -> None:
    """A container that has the kernel's own files bound in the place of ours is given ours."""
    container = make_bound(Limits(memory=50 * MIB, cpus="0"), files=())
    container.run("mount", "--bind", "/proc/meminfo", "/proc/meminfo")
    container.run("mount", "--bind", CPU, CPU)
    report = site.ctl("reattach")
    of_it = {(row.file, row.state, row.action) for row in report.rows if row.pid == container.init_pid}
    assert {("/proc/meminfo", "fallback", "attached"), (CPU, "fallback", "attached")} == of_it
    assert total(container) == 50 * 1024
    assert container.run("cat", f"{CPU}/online") == "0\n"
    again = site.ctl("reattach")
    assert {("alive", "nothing")} == again.actions({container.init_pid})
    report = site.ctl("detach", "--container", container.group.name)
    assert ("alive", "detached") == report.of("/proc/meminfo")
    assert total(container) == host_total()


def test_nothing_is_retrofitted_unasked(site: Site, make_bound: MakeBound) -> None:
    """Without --container, a container that never had our files gets none."""
    container = make_bound(files=("meminfo",))
    site.replace()
    site.ctl("reattach")
    assert {"/proc/meminfo"} == TARGETS & set(own_mounts(container.init_pid, site.fsname))


def test_the_tree_must_be_served(site: Site, make_bound: MakeBound) -> None:
    """Dead binds are not replaced by others that are dead as well, nor by those of a server that hangs."""
    container = make_bound()
    before = kernel_places(container.init_pid)
    with stopped(site.daemon):
        assert site.ctl("reattach").stderr == (
            f"pylxcfsctl: the server of {site.mount_point} does not answer\n"
        )
    site.daemon.kill()
    assert site.ctl("reattach").stderr == f"pylxcfsctl: {site.mount_point}: {DEAD}\n"
    subprocess.run(["umount", "--lazy", site.mount_point], check=True)
    assert site.ctl("reattach").stderr == f"pylxcfsctl: nothing of pylxcfs is mounted on {site.mount_point}\n"
    assert kernel_places(container.init_pid) == before


def test_cpu_directory_keeps_what_is_masked(site: Site, make_bound: MakeBound) -> None:
    """A directory bind comes back with the empty file systems that a runtime has put into it."""
    container = make_bound(files=())
    container.run("mount", "--bind", f"{site.mount_point}{CPU}", CPU)
    container.run("mount", "-t", "tmpfs", "-o", "ro", "none", f"{CPU}/cpu0/topology")
    site.replace()
    assert site.ctl("reattach").of(CPU) == ("dead", "attached")
    assert container.run("ls", f"{CPU}/cpu0/topology") == ""
    assert "online" in container.run("ls", CPU).split()
    assert site.ctl("detach").of(CPU) == ("alive", "detached")
    assert container.run("ls", f"{CPU}/cpu0/topology") == ""


def test_cpu_directory_with_something_else_in_it(site: Site, make_bound: MakeBound) -> None:
    """A directory in which a container has mounted something of its own is left alone, and said so."""
    container = make_bound(files=())
    container.run("mount", "--bind", f"{site.mount_point}{CPU}", CPU)
    container.run("mount", "--bind", "/etc", f"{CPU}/cpu0/topology")
    site.replace()
    before = kernel_places(container.init_pid)
    report = site.ctl("reattach")
    (reason,) = (row.reason for row in report.rows if row.file == CPU)
    assert f"mounted in it, on {CPU}/cpu0/topology" in reason
    assert report.status == 1
    assert kernel_places(container.init_pid) == before


@pytest.mark.parametrize(
    "source, target", [("proc", "/proc/tty"), ("sys/devices/system/cpu/cpu0", f"{CPU}/cpu0")]
)
def test_other_directories(site: Site, make_bound: MakeBound, source: str, target: str) -> None:
    """Whatever directory of our tree is bound below /proc or the CPU directory comes back as it was."""
    container = make_bound(files=())
    container.run("mount", "--bind", str(site.mount_point / source), target)
    names = container.run("ls", target)
    site.replace()
    assert is_dead(container, f"{target}/.")
    assert site.ctl("reattach").of(target) == ("dead", "attached")
    assert container.run("ls", target) == names


def test_elsewhere(site: Site, make_bound: MakeBound, new_directory: Callable[[str], Path]) -> None:
    """A bind anywhere else is listed and left alone."""
    container = make_bound(files=())
    place = str(new_directory("place"))
    container.run("mount", "--bind", str(site.mount_point / "proc"), place)
    site.replace()
    assert site.ctl("reattach").of(place) == ("dead", "left alone")
    assert is_dead(container, f"{place}/.")


def test_stacked_binds(site: Site, make_bound: MakeBound) -> None:
    """Of binds that others stacked upon dead ones, none is left below the new one."""
    container = make_bound(files=("meminfo",))
    for _ in range(2):
        site.replace()
        container.run("mount", "--bind", str(site.mount_point / "proc/meminfo"), "/proc/meminfo")
    site.replace()
    assert own_mounts(container.init_pid, site.fsname).count("/proc/meminfo") == 3
    assert site.ctl("reattach").of("/proc/meminfo") == ("dead", "attached")
    assert own_mounts(container.init_pid, site.fsname).count("/proc/meminfo") == 1
    assert total(container)


def test_names_that_the_kernel_has_dropped(site: Site, make_bound: MakeBound) -> None:
    """A dead bind whose name is gone with its server (``//deleted`` in mountinfo) is known all the same."""
    container = make_bound(files=())
    source, target = site.mount_point / f"{CPU}/cpu0".lstrip("/"), f"{CPU}/cpu0"
    container.run("mount", "--bind", str(source), target)
    site.daemon.kill()
    # Looking a name up on the dead mount makes the kernel drop it, once it is old enough.
    wait_for(
        "name is dropped",
        lambda: not os.path.exists(source) and f"{CPU}/cpu0//deleted" in mount_table(container.init_pid),
    )
    site.start()
    assert site.ctl("reattach").of(target) == ("dead", "attached")
    assert "topology" in container.run("ls", target).split()


def inner(container: Container, *unshare: str) -> psutil.Popen:
    """Start a process with namespaces of its own inside."""
    return waiting(container.command("unshare", *unshare, *WAIT))


def waiting(command: list[str]) -> psutil.Popen:
    """Start a command that ends in `WAIT`, and wait until it has come to that."""
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def deepest(process: psutil.Popen) -> int:
    """Return the pid of the process at the end of the chain of children."""
    children = psutil.Process(process.pid).children(recursive=True)
    return int(children[-1].pid) if children else int(process.pid)


def end(process: psutil.Popen) -> None:
    """End what `waiting` started."""
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()
    process.stdout.close()


def read_total(pid: int) -> int:
    """Read MemTotal as a process sees it, in kB."""
    command = ["nsenter", f"--target={pid}", "--mount", "cat", "/proc/meminfo"]
    return meminfo(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["MemTotal"]


def test_nested_mount_namespace(site: Site, make_bound: MakeBound) -> None:
    """A copy of the mounts inside a container, like a systemd service's, is served as well."""
    container = make_bound(files=("meminfo",))
    process = inner(container, "--mount")
    try:
        site.replace()
        report = site.ctl("reattach")
        assert [("dead", "attached")] * 2 == [
            (row.state, row.action) for row in report.rows if row.file == "/proc/meminfo"
        ]
        assert read_total(deepest(process))
        assert total(container)
    finally:
        end(process)


def test_locked_by_a_user_namespace(site: Site, make_bound: MakeBound) -> None:
    """Where an unprivileged copy of the mounts is locked, the new bind goes on top; detach cannot."""
    container = make_bound(files=("meminfo",))
    process = inner(container, "--user", "--map-root-user", "--mount")
    try:
        pid = deepest(process)
        site.replace()
        report = site.ctl("reattach")
        (row,) = (row for row in report.rows if row.pid == pid and row.file == "/proc/meminfo")
        assert (row.action, row.reason) == ("attached", "on top of the old one, which is locked")
        assert own_mounts(pid, site.fsname).count("/proc/meminfo") == 2
        assert read_total(pid)
        again = site.ctl("reattach")
        assert again.actions({pid, container.init_pid}) >= {("alive", "nothing")}
        assert own_mounts(pid, site.fsname).count("/proc/meminfo") == 2
        report = site.ctl("detach")
        (row,) = (row for row in report.rows if row.pid == pid and row.file == "/proc/meminfo")
        assert (row.action, row.reason) == ("failed", "locked by a more privileged namespace")
        assert report.status == 1
    finally:
        end(process)


def test_shared_mounts_within_a_container(site: Site, make_bound: MakeBound) -> None:
    """Where mounts propagate between namespaces of one container, each gets the file once."""
    container = make_bound(files=())
    container.run("mount", "--make-shared", "/proc")
    container.run("mount", "--bind", str(site.mount_point / "proc/meminfo"), "/proc/meminfo")
    process = inner(container, "--mount", "--propagation", "unchanged")
    try:
        pids = {container.init_pid, deepest(process)}
        site.replace()
        report = site.ctl("reattach")
        assert report.actions(pids) >= {("dead", "attached")}
        for pid in pids:
            assert own_mounts(pid, site.fsname).count("/proc/meminfo") == 1
            assert read_total(pid)
        report = site.ctl("detach")
        assert {row.action for row in report.rows if row.file == "/proc/meminfo"} == {"detached"}
        for pid in pids:
            assert "/proc/meminfo" not in own_mounts(pid, site.fsname)
            assert read_total(pid) == host_total()
    finally:
        end(process)


def test_shared_mounts_between_containers(site: Site, make_bound: MakeBound) -> None:
    """Where attaching in one container would show in another, nothing is attached, and the reason is said."""
    container = make_bound(files=())
    container.run("mount", "--make-shared", "/proc")
    container.run("mount", "--bind", str(site.mount_point / "proc/meminfo"), "/proc/meminfo")
    # From the host's pid namespace: what is inside of the container's would belong to it.
    unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "unchanged")
    process = waiting(["nsenter", f"--target={container.init_pid}", "--mount", *unshare, *WAIT])
    try:
        site.replace()
        before = kernel_places(container.init_pid), kernel_places(deepest(process))
        rows = [row for row in site.ctl("reattach").rows if row.file == "/proc/meminfo"]
        assert [("left alone", "mounts there are shared with the host or with another container")] * 2 == [
            (row.action, row.reason) for row in rows
        ]
        assert (kernel_places(container.init_pid), kernel_places(deepest(process))) == before
    finally:
        end(process)
