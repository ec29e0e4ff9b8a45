"""Podman containers that get our files by a device, by a hook, or by their runtime."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from pylxcfs.runtime.programs import CRUN_WRAPPER, HOOK, WRAPPER, Options, install_programs
from tests.support.capabilities import needing
from tests.support.cgroups import cgroup
from tests.support.daemon import Daemon
from tests.support.docker import busybox_image
from tests.support.mounts import unmount_under
from tests.support.operator import CTL
from tests.support.readings import meminfo
from tests.support.session import Session
from tests.support.short_paths import short_directory

_IMAGE: Final = "pylxcfs-test-busybox"
#: Limits that need no right beyond those of the machine; podman's own are higher than many a machine's.
_RUN: Final = (
    *("run", "--rm", "--network", "none", "--memory", "100m"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
)
_SHOW: Final = "cat /proc/meminfo; printf 'Binds: '; grep -c ' fuse.lxcfs ' /proc/mounts; true"
#: In a mount namespace of its own, /etc/cdi is ours: podman 4 looks nowhere else.
_PREPARE_ETC: Final = """set -e
mount -t tmpfs none /etc
mkdir /etc/cdi /etc/containers
mount --bind "$0" /etc/cdi
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
"""
TOTAL: Final = 100 * 1024
#: The files of /proc that runc lets anybody bind over, and the CPU tree.
BINDS: Final = 9
#: A device binds the machine's NUMA nodes too, where it has any.
_NODES: Final = int(Path("/sys/devices/system/node").exists())
#: crun runs nothing on a hybrid host whose cgroup2 hierarchy has a controller, as one that v1 has let go of.
_WITHOUT_UNIFIED: Final = (
    *("unshare", "--mount", "sh", "-c"),
    *("""! mountpoint -q /sys/fs/cgroup/unified || umount --lazy /sys/fs/cgroup/unified; exec "$@" """, "sh"),
)


@dataclass(frozen=True, slots=True)
class Podman:
    """Podman with files of its own, containers in a cgroup of its own, and our programs."""

    directory: Path
    runtime: Path
    parent: str

    @property
    def libexec(self) -> Path:
        """Where our programs are."""
        return self.directory / "libexec"

    def __call__(self, *argv: str | Path, within: tuple[str | Path, ...] = ()) -> str:
        """Run podman; return what it printed."""
        command = [
            *(
                *_WITHOUT_UNIFIED,
                *within,
                "podman",
                "--root",
                self.directory / "root",
                "--runroot",
                self.runtime / "run",
            ),
            *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
            *argv,
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def show(
        self, *options: str | Path, run: tuple[str, ...] = (), within: tuple[str | Path, ...] = ()
    ) -> tuple[int, int]:
        """Run a container; return the memory that it sees, in KiB, and how many of our mounts it has."""
        parent = ("--cgroup-parent", self.parent)
        text = self(*options, *_RUN, *parent, *run, _IMAGE, "sh", "-c", _SHOW, within=within)
        shown, _, binds = text.rpartition("Binds: ")
        return meminfo(shown)["MemTotal"], int(binds)


@pytest.fixture(scope="module")
@needing("podman", "crun", "runc", "busybox")
def podman(machine: Session, daemon: Daemon, new_directory: Callable[[str], Path]) -> Iterator[Podman]:
    """Make podman ready."""
    directory = new_directory("podman")
    with cgroup(f"{machine.token}-podman") as group, short_directory() as runtime:
        made = Podman(directory, runtime, f"/{group.name}")
        install_programs(made.libexec, Options(str(daemon.mount_point)))
        made("import", busybox_image(directory), _IMAGE)
        yield made
        made("system", "reset", "--force")
        unmount_under(directory)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_device(podman: Podman, daemon: Daemon, runtime: str) -> None:
    """One option in place of nine."""
    specification = podman.directory / "cdi/pylxcfs.json"
    command = [*CTL, "cdi", "--mount-point", str(daemon.mount_point), "--output", str(specification)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b""
    script = f'{_PREPARE_ETC}exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", script, specification.parent)
    show = ("--runtime", runtime)
    assert podman.show(*show, run=("--device", "pylxcfs.io/proc=all"), within=within) == (
        TOTAL,
        BINDS + _NODES,
    )
    assert podman.show(*show, run=("--device", "pylxcfs.io/proc=meminfo"), within=within) == (TOTAL, 1)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_hook(podman: Podman, runtime: str) -> None:
    """Pressure too: the list of what runc refuses is about binds in the configuration."""
    hooks = podman.directory / "hooks"
    hooks.mkdir(exist_ok=True)
    hook = {"path": str(podman.libexec / HOOK)}
    document = {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": ["createContainer"]}
    (hooks / "pylxcfs.json").write_text(json.dumps(document))
    assert podman.show("--runtime", runtime, "--hooks-dir", hooks) == (TOTAL, BINDS + 1)


@pytest.mark.parametrize("program", [WRAPPER, CRUN_WRAPPER])
def test_runtime(podman: Podman, program: str) -> None:
    """With runc behind it, or with crun."""
    assert podman.show("--runtime", podman.libexec / program) == (TOTAL, BINDS + 1)


def test_opting_out(podman: Podman) -> None:
    """By an annotation."""
    no = ("--annotation", "pylxcfs.io/inject=disabled")
    assert podman.show("--runtime", podman.libexec / WRAPPER, run=no)[1] == 0


def test_a_users_own_bind_wins(podman: Podman, tmp_path: Path) -> None:
    """Over the hook as well."""
    (tmp_path / "uptime").write_text("1.00 1.00\n")
    own = ("--volume", f"{tmp_path}/uptime:/proc/uptime")
    assert podman.show("--runtime", podman.libexec / WRAPPER, run=own) == (TOTAL, BINDS)
