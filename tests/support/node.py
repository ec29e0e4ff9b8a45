"""A machine whose daemon runs in containers, one after the other."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from tests.support.docker import Docker
from tests.support.image import IMAGE
from tests.support.mounts import mounts_under, unmount_under
from tests.support.processes import has_open
from tests.support.waiting import wait_for

#: docs/docker.md has the same.
CAPABILITIES: Final = ("SYS_ADMIN", "SYS_PTRACE", "SYS_CHROOT")
#: In the container.
MOUNT_POINT: Final = "/run/pylxcfs/lxcfs"


class Node:
    """What the daemon's containers have in common."""

    def __init__(self, client: Docker, directory: Path, name: str) -> None:
        """Share `directory` with all of them; `name` is their file system's, and nobody else's."""
        self.docker = client
        self.directory = directory
        self.name = name
        self._containers: list[str] = []

    @property
    def mount_point(self) -> Path:
        """Where the host sees the files."""
        return self.directory / "lxcfs"

    @property
    def proc(self) -> Path:
        """Where its proc files are."""
        return self.mount_point / "proc"

    def start(self, *options: str, hold: int = 600, capabilities: Sequence[str] = CAPABILITIES) -> str:
        """Start a daemon in a container of its own; return the container once it serves."""
        given = [word for capability in capabilities for word in ("--cap-add", capability)]
        volumes = (f"{self.directory}:/run/pylxcfs:rshared", "/sys/fs/cgroup:/sys/fs/cgroup")
        container = self.docker(
            *("run", "--detach", "--read-only", "--pid", "host", "--device", "/dev/fuse"),
            *("--cap-drop", "ALL", *given),
            *(word for volume in volumes for word in ("--volume", volume)),
            *(*options, IMAGE, "pylxcfs", "--pidfile", "/run/pylxcfs/pylxcfs.pid", "--hold", str(hold)),
            *("-o", f"fsname={self.name}", MOUNT_POINT),
        ).strip()
        self._containers.append(container)
        wait_for(
            f"the daemon in {container} serves",
            lambda: re.search(r"serving |serves after ", self.log(container)) is not None,
            alive=lambda: self.is_running(container),
        )
        if hold:
            wait_for("its holder keeps the connection", lambda: self._is_held(container))
        return container

    def log(self, container: str) -> str:
        """Return what a container has printed."""
        return self.docker.output("logs", container)

    def is_running(self, container: str) -> bool:
        """Tell whether a container runs."""
        return self.docker("inspect", "--format", "{{.State.Running}}", container).strip() == "true"

    def ctl(self, container: str, *arguments: str) -> str:
        """Run pylxcfsctl in the daemon's container."""
        return self.docker("exec", container, "pylxcfsctl", *arguments, "--mount-point", MOUNT_POINT)

    def holders(self) -> list[psutil.Process]:
        """Return the holders of this node's mount."""
        return self._processes("pylxcfs.supervision.holder")

    def leaving(self) -> list[psutil.Process]:
        """Return who was started by a holder, to give containers the kernel's files and end."""
        return self._processes("--leave")

    def _processes(self, word: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if word in words and f"fsname={self.name}" in words:
                found.append(process)
        return found

    def _is_held(self, container: str) -> bool:
        """Tell whether there is one holder, of this container, and keeps the connection."""
        pid = int(self.docker("inspect", "--format", "{{.State.Pid}}", container))
        holders = self.holders()
        return [pid] == [each.ppid() for each in holders] and has_open(holders[0].pid, "/dev/fuse")

    def clean_up(self) -> None:
        """Remove what is still there."""
        for container in self._containers:
            self.docker.output("rm", "--force", container)
        unmount_under(self.mount_point)
        wait_for("its holder ends", lambda: self.holders() == [])


@contextmanager
def node(client: Docker, directory: Path) -> Iterator[Node]:
    """Make a directory that the host shares with containers, as it is by default under systemd."""
    for command in (("--bind", directory, directory), ("--make-rshared", directory)):
        subprocess.run(["mount", *command], check=True)
    made = Node(client, directory, f"{directory.parent.name}-{directory.name}")
    try:
        yield made
    finally:
        made.clean_up()
        subprocess.run(["umount", "--lazy", directory], check=True)
    assert mounts_under(directory) == []
