"""LXC containers of an unmodified configuration, where our hook stands in the place of lxcfs' own."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.capabilities import needing
from tests.support.cgroups import MIB, Limits, cgroup
from tests.support.daemon import REPOSITORY, Daemon
from tests.support.docker import busybox_image
from tests.support.mounts import unmount_under
from tests.support.readings import meminfo, uptime
from tests.support.session import Session
from tests.support.waiting import wait_for

_NAME: Final = "pylxcfs-test"
_SNIPPETS: Final = "/usr/share/lxc/config/common.conf.d"
_CONFIG: Final = """
lxc.include = /usr/share/lxc/config/common.conf
lxc.uts.name = {name}
lxc.rootfs.path = dir:{root}
lxc.net.0.type = empty
lxc.cgroup.dir = {group}
lxc.init.cmd = /bin/sleep 100000
lxc.apparmor.profile = unconfined
"""
_MAPPED: Final = """
lxc.idmap = u 0 100000 65536
lxc.idmap = g 0 100000 65536
"""
#: A mount namespace in which our package is installed and the daemon serves at its usual place.
_INSTALL: Final = """
set -e
mount -t tmpfs none {snippets}
cp {deploy}/00-pylxcfs.conf {snippets}
mount -t tmpfs none /usr/share/lxcfs
sed -i 's,/usr/share/pylxcfs/lxc,{deploy},' {snippets}/00-pylxcfs.conf
echo root:100000:65536 >{directory}/subids
mount --bind {directory}/subids /etc/subuid
mount --bind {directory}/subids /etc/subgid
mount --rbind {served} /var/lib/lxcfs
exec sleep infinity
"""
#: One mount for each file of /proc, for the CPU tree, and for containers inside.
_FILES: Final = frozenset(
    {
        *("/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/pressure"),
        *("/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime"),
        *("/sys/devices/system/cpu", "/var/lib/lxcfs"),
        *(["/sys/devices/system/node"] if Path("/sys/devices/system/node").exists() else ()),
    }
)


@dataclass(frozen=True, slots=True)
class Lxc:
    """LXC in the mount namespace of a process, with one container."""

    namespace: int
    directory: Path

    def __call__(self, command: str, *argv: str) -> str:
        """Run a command of LXC on the container."""
        enter = ("nsenter", "--target", str(self.namespace), "--mount")
        done = subprocess.run(
            [*enter, f"lxc-{command}", "--lxcpath", str(self.directory), "--name", _NAME, *argv],
            check=False,
            capture_output=True,
            text=True,
        )
        log = self.directory / "log"
        assert done.returncode == 0, f"{done.stderr}{log.read_text() if log.exists() else ''}"
        return done.stdout

    def attach(self, *argv: str) -> str:
        """Run a program in the container."""
        return self("attach", "--", *argv)


@pytest.fixture(params=["privileged", "unprivileged"])
@needing("lxc-start", "newuidmap", "busybox")
def lxc(
    request: pytest.FixtureRequest, machine: Session, daemon: Daemon, new_directory: Callable[[str], Path]
) -> Iterator[Lxc]:
    """Start a container of 100 MiB."""
    directory = new_directory("lxc")
    root = directory / _NAME / "rootfs"
    for name in ("proc", "sys", "dev", "etc", "tmp", "var/lib/lxcfs"):
        (root / name).mkdir(parents=True)
    subprocess.run(["tar", "-C", root, "-xf", busybox_image(directory)], check=True)
    if request.param == "unprivileged":
        subprocess.run(["chown", "-R", "100000:100000", root], check=True)
    script = _INSTALL.format(
        snippets=_SNIPPETS, deploy=REPOSITORY / "deploy/lxc", directory=directory, served=daemon.mount_point
    )
    Path("/var/lib/lxcfs").mkdir(exist_ok=True)
    with ExitStack() as stack:
        group = stack.enter_context(cgroup(f"{machine.token}-lxc", Limits(memory=100 * MIB)))
        config = _CONFIG.format(name=_NAME, root=root, group=f"{group.name}/payload")
        mapped = _MAPPED if request.param == "unprivileged" else ""
        (directory / _NAME / "config").write_text(config + mapped)
        keeper = subprocess.Popen(["unshare", "--mount", "sh", "-c", script])
        stack.callback(keeper.wait)
        stack.callback(keeper.kill)
        made = Lxc(keeper.pid, directory)
        # The last thing that the script does.
        command = Path(f"/proc/{keeper.pid}/comm")
        wait_for(
            "it is installed", lambda: command.read_text() == "sleep\n", alive=lambda: keeper.poll() is None
        )
        made("start", "--logfile", str(directory / "log"))
        stack.callback(made, "stop", "--kill")
        yield made
    unmount_under(directory)
    shutil.rmtree(directory)


def test_every_file(lxc: Lxc) -> None:
    """As with lxcfs' hook, and pressure."""
    lines = lxc.attach("/bin/cat", "/proc/self/mountinfo").splitlines()
    assert {line.split()[4] for line in lines if " - fuse.lxcfs " in line} == _FILES


def test_numbers(lxc: Lxc) -> None:
    """Its limit, and its own age."""
    assert meminfo(lxc.attach("/bin/cat", "/proc/meminfo"))["MemTotal"] == 100 * 1024
    assert uptime(lxc.attach("/bin/cat", "/proc/uptime")) < uptime(Path("/proc/uptime").read_text())


def test_containers_inside(lxc: Lxc) -> None:
    """They bind from the same place as those outside."""
    text = lxc.attach("/bin/cat", "/var/lib/lxcfs/proc/meminfo")
    assert meminfo(text)["MemTotal"] == 100 * 1024


def test_starts_when_nobody_serves(lxc: Lxc) -> None:
    """With the host's files."""
    lxc("stop", "--kill")
    subprocess.run(
        ["nsenter", "--target", str(lxc.namespace), "--mount", "umount", "/var/lib/lxcfs"], check=True
    )
    lxc("start")
    host = meminfo(Path("/proc/meminfo").read_text())["MemTotal"]
    assert meminfo(lxc.attach("/bin/cat", "/proc/meminfo"))["MemTotal"] == host


def test_no_link_of_the_container_is_followed(lxc: Lxc) -> None:
    """Whatever an image has at a place of ours."""
    lxc("stop", "--kill")
    root = lxc.directory / _NAME / "rootfs"
    (lxc.directory / "victim").mkdir()
    (root / "var/lib/lxcfs").rmdir()
    (root / "var/lib/lxcfs").symlink_to(lxc.directory / "victim")
    lxc("start")
    assert "/var/lib/lxcfs" not in lxc.attach("/bin/cat", "/proc/self/mountinfo")
    assert list((lxc.directory / "victim").iterdir()) == []
