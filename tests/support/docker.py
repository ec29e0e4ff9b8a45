"""A docker daemon of the tests' own, with images made on this machine."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.cache import cache_directory
from tests.support.cgroups import cgroup
from tests.support.container import CPU_TREE, FILES, pass_command
from tests.support.invariants import PASS, check_alone
from tests.support.mounts import mounts_under, unmount_under
from tests.support.readings import named_texts
from tests.support.short_paths import short_directory
from tests.support.waiting import wait_for

DEBIAN: Final = "pylxcfs-test-debian"
BUSYBOX: Final = "pylxcfs-test-busybox"
_SUITE: Final = "bookworm"
_PACKAGES: Final = ("procps", "python3-psutil")
#: Reads everything that the invariants speak of, in a container that has our CPU tree.
READ_PASS: Final = pass_command(f"/{CPU_TREE}")
#: Between what a command printed and that; for printf(1).
_MARK: Final = "\\n== afterwards\\n"
#: What docker starts here needs no network, most build machines let it have none, and theirs stays as it is.
_DAEMON_OPTIONS: Final = (
    *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"),
    *("--exec-opt", "native.cgroupdriver=cgroupfs"),
)


def _make_debian(image: Path, directory: Path) -> None:
    root = directory / "debian"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, root],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    unwanted = ("./proc/*", "./sys/*", "./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*")
    excludes = [f"--exclude={pattern}" for pattern in unwanted]
    subprocess.run(["tar", "-C", root, *excludes, "-cf", image, "."], check=True)
    unmount_under(root)


def debian_image() -> Path:
    """Name a tar file with a small Debian; made by debootstrap once and kept."""
    image = cache_directory() / f"debian-{_SUITE}-{'-'.join(_PACKAGES)}.tar"
    if not image.exists():
        # Beside its place, so that it gets there whole or not at all.
        with tempfile.TemporaryDirectory(dir=image.parent) as directory:
            made = Path(directory) / "image.tar"
            _make_debian(made, Path(directory))
            made.rename(image)
    return image


def busybox_image(directory: Path) -> Path:
    """Make a tar file with busybox-static under all its names."""
    root = directory / "busybox"
    (root / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin" / "busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    image = directory / "busybox.tar"
    subprocess.run(["tar", "-C", root, "-cf", image, "."], check=True)
    return image


class Docker:
    """A running docker daemon."""

    def __init__(self, socket: Path) -> None:
        """Talk to the daemon at `socket`."""
        self.address = f"unix://{socket}"
        self._client = ["docker", "--host", self.address]

    def __call__(self, *argv: str | Path) -> str:
        """Run the docker client; return what it printed."""
        command = [*self._client, *map(str, argv)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def output(self, *argv: str) -> str:
        """Run the docker client, whatever its status; return what it printed to both its outputs."""
        return subprocess.run(
            [*self._client, *argv], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ).stdout

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        """Start the docker client; its input and output are the caller's to use."""
        return subprocess.Popen(
            [*self._client, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ready(self) -> bool:
        """Tell whether the daemon answers."""
        return subprocess.run([*self._client, "version"], check=False, capture_output=True).returncode == 0

    def run(
        self,
        image: str,
        *argv: str,
        served: Path,
        limits: Sequence[str] = ("-m", "100m", "--cpuset-cpus", "0"),
        check: bool = True,
    ) -> str:
        """Run a command in a container with the files of `served` over its own; return what it printed.

        Afterwards check the invariants of each file in the same container.
        """
        script = f'"$@"; status=$?; printf "{_MARK}"; {shlex.join(READ_PASS)}; exit $status'
        command = ("sh", "-c", script, "run", *argv)
        printed = self("run", "--rm", *limits, *binds(served), image, *command)
        before, _, after = printed.rpartition(_MARK.encode().decode("unicode_escape"))
        readings = named_texts(after)
        assert list(PASS) == [name for name, _ in readings]
        if check:
            check_alone(readings)
        return before


def binds(served: Path) -> list[str]:
    """Spell docker's options that bind the files of `served`, and its CPU tree, over a container's."""
    files = {served / file: f"/proc/{file}" for file in FILES}
    tree = {served.parent / CPU_TREE: f"/{CPU_TREE}"}
    return [word for source, target in (files | tree).items() for word in ("-v", f"{source}:{target}:ro")]


@contextmanager
def dockerd(directory: Path, parent: str, *options: str | Path) -> Iterator[Docker]:
    """Run a docker daemon whose files are in `directory` and whose containers are in cgroup `parent`."""
    with short_directory() as runtime:
        log = directory / "log"
        socket = runtime / "socket"
        command: list[str | Path] = [
            *("dockerd", "--host", f"unix://{socket}", "--pidfile", runtime / "pid"),
            *("--data-root", directory / "data", "--exec-root", runtime / "exec"),
            *("--cgroup-parent", parent),
            *_DAEMON_OPTIONS,
            *options,
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        client = Docker(socket)
        try:
            wait_for("dockerd answers", client.ready, alive=lambda: process.poll() is None)
            yield client
            for container in client("ps", "--all", "--quiet").split():
                client("rm", "--force", container)
        except AssertionError as error:
            error.add_note(log.read_text())
            raise
        finally:
            process.terminate()
            process.wait()
            unmount_under(directory)


@contextmanager
def docker(token: str, directory: Path, *options: str | Path) -> Iterator[Docker]:
    """Run a docker daemon whose files are in `directory` and whose containers are in cgroup `token`."""
    with cgroup(f"{token}-docker") as group, dockerd(directory, group.membership, *options) as client:
        yield client
    assert mounts_under(directory) == []
