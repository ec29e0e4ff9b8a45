"""Tries what tests need of a machine: each probe returns, or raises `UnableError` with the reason."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.cache import cache_directory
from tests.support.cgroups import MIB, Limits, cgroup, find_layout
from tests.support.cgroups.place import room_for_groups
from tests.support.daemon import REPOSITORY
from tests.support.disk import directory_for_files, reaches_a_disk
from tests.support.docker import BUSYBOX, busybox_image
from tests.support.docker import debian_image as make_debian_image
from tests.support.docker import docker as running_docker
from tests.support.guest import covered_paths
from tests.support.mounts import mounts
from tests.support.readings import meminfo
from tests.support.swap import swap_file
from tests.support.systemd import systemd_machine

_TESTBED: Final = REPOSITORY / "tests/support/testbed"
_HUGE_PAGES: Final = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
_RESEND_SINCE: Final = (6, 9)
_NOBODY: Final = "65534"
#: Made and removed at once.
_LIMITS: Final = Limits(memory=64 * MIB, cpus="0", cpu_quota=0.5)


class UnableError(Exception):
    """A machine cannot do something; the message is why, one line."""


@contextmanager
def _unable_if(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors of what is tried into `UnableError`."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        raise UnableError(
            said[-1] if said else f"{error.cmd[0]} ends with status {error.returncode}"
        ) from error
    except OSError as error:
        raise UnableError(str(error)) from error
    except errors as error:
        notes = [line for note in getattr(error, "__notes__", ()) for line in note.strip().splitlines()]
        raise UnableError(" ".join([str(error).splitlines()[0], *notes[-1:]])) from error


def _run(*command: str | Path, **environment: str) -> None:
    """Run a command that has to succeed."""
    with _unable_if():
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=os.environ | environment,
        )


def _in_directory(work: Callable[[Path], object], *errors: type[Exception]) -> None:
    """Do `work` in a directory of its own, where those of the tests are."""
    with (
        tempfile.TemporaryDirectory(prefix="pylxcfs-probe-", dir=directory_for_files()) as directory,
        _unable_if(*errors),
    ):
        work(Path(directory))


def root() -> None:
    """Try to be root."""
    if os.geteuid():
        raise UnableError(f"run by user {os.geteuid()}")


def fuse() -> None:
    """Open /dev/fuse."""
    with _unable_if():
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))


def namespaces() -> None:
    """Make every namespace that a container has, and mounts in it."""
    kinds = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")
    script = 'mount -t tmpfs none "$0" && mount --bind "$0" "$0"'
    _in_directory(lambda directory: _run("unshare", *kinds, "--mount-proc", "sh", "-c", script, directory))


def cgroups() -> None:
    """Make a cgroup, limit it, and move a process there."""

    def move() -> None:
        name = f"pylxcfs-probe-{os.getpid()}"
        with room_for_groups(name), cgroup(name, _LIMITS) as group:
            script = 'for directory; do echo $$ > "$directory/cgroup.procs" || exit; done'
            _run("sh", "-c", script, "sh", *map(str, group.directories))

    # No mount at all is a hierarchy that is not found.
    with _unable_if(KeyError, ValueError, AssertionError):
        move()


def cgroup_v1() -> None:
    """Look for the controllers that v1 has in another way."""
    found = {
        word for mount in mounts() if mount.fs_type == "cgroup" for word in mount.super_options.split(",")
    }
    missing = {"memory", "cpu", "cpuacct", "cpuset", "blkio"} - found
    if missing:
        raise UnableError(f"no cgroup v1 hierarchy for {', '.join(sorted(missing))}")


def pressure() -> None:
    """Read the pressure that the kernel tells, and look for a cgroup2 hierarchy."""
    with _unable_if():
        Path("/proc/pressure/cpu").read_bytes()
    if not any(mount.fs_type == "cgroup2" for mount in mounts()):
        raise UnableError("no cgroup2 hierarchy is mounted")


def disk() -> None:
    """Write to a disk, counted."""
    directory = directory_for_files()
    if not reaches_a_disk(directory):
        raise UnableError(f"no request to a disk is counted of what is written in {directory}")


def swap() -> None:
    """Have the host swap to a file, unless it has swap."""
    if meminfo(Path("/proc/meminfo").read_text())["SwapTotal"]:
        return

    def try_swap(directory: Path) -> None:
        with swap_file(directory / "swap", 1):
            pass

    _in_directory(try_swap)


def cpuset() -> None:
    """Look for the controller."""
    if not find_layout().version("cpuset"):
        raise UnableError("no cgroup hierarchy has cpuset")


def two_cpus() -> None:
    """Look for CPUs 0 and 1 among those that may be used."""
    allowed = os.sched_getaffinity(0)
    if not {0, 1} <= allowed:
        raise UnableError(f"CPUs that may be used: {', '.join(map(str, sorted(allowed)))}")


def huge_pages() -> None:
    """Set the number of huge pages to what it is."""
    with _unable_if():
        _HUGE_PAGES.write_text(_HUGE_PAGES.read_text())


def resend() -> None:
    """Ask for the kernel's version: whether it can send a FUSE request again is told only by doing it."""
    release = os.uname().release
    if tuple(map(int, release.split(".")[:2])) < _RESEND_SINCE:
        raise UnableError(f"Linux {release} cannot send FUSE requests again")


def root_cgroup() -> None:
    """Move a process into the top groups, as the host's processes are in them."""
    script = 'for top; do echo $$ > "$top/cgroup.procs" || exit; done'
    with room_for_groups(f"pylxcfs-probe-{os.getpid()}"):
        _run("sh", "-c", script, "sh", *map(str, find_layout().tops))


def strace() -> None:
    """Trace a process."""
    _run("strace", "-o", "/dev/null", "true")


def personality() -> None:
    """Start a process with another personality and without address randomisation."""
    _run("setarch", "linux32", "--addr-no-randomize", "true")


def other_user() -> None:
    """Become somebody else."""
    _run("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "true")


def user_namespaces() -> None:
    """Make a user namespace."""
    _run("unshare", "--user", "--map-root-user", "true")


def pypi() -> None:
    """Fetch a small package."""
    fetch = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check")
    _in_directory(lambda directory: _run(*fetch, "--dest", directory, "sniffio"))


def debian_image() -> None:
    """Make the Debian that containers run, or find it kept."""
    with _unable_if():
        make_debian_image()


def docker() -> None:
    """Run a container."""

    def run(directory: Path) -> None:
        with running_docker(f"pylxcfs-probe-{os.getpid()}", directory) as client:
            client("import", busybox_image(directory), BUSYBOX)
            client("run", "--rm", "--memory", "64m", BUSYBOX, "true")

    _in_directory(run, AssertionError)


def systemd() -> None:
    """Boot systemd in namespaces."""

    def boot(directory: Path) -> None:
        (directory / "machine").mkdir()
        name = f"pylxcfs-probe-{os.getpid()}"
        with systemd_machine(directory / "machine", name, *covered_paths()):
            pass

    _in_directory(boot, AssertionError)


def uml() -> None:
    """Boot a user-mode-linux."""
    if platform.machine() != "x86_64":
        raise UnableError(f"none for {platform.machine()}")
    if shutil.which("linux.uml") is None:
        raise UnableError("no program linux.uml")
    _in_directory(lambda directory: _run(_TESTBED / "uml-run", "true", TESTBED_STATE=str(directory)))


def qemu() -> None:
    """Look for the emulator and get the kernel that it boots; the boot itself takes long."""
    if platform.machine() != "x86_64":
        raise UnableError(f"none for {platform.machine()}")
    _run("qemu-system-x86_64", "--version")
    _run(_TESTBED / "qemu-run", "--install", TESTBED_CACHE=str(cache_directory()))
