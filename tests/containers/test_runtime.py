"""Docker containers that are started without any option, once docker has our runtime."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.capabilities import needing
from tests.support.daemon import Daemon
from tests.support.docker import BUSYBOX, DEBIAN, Docker, busybox_image, debian_image, docker
from tests.support.operator import CTL
from tests.support.readings import meminfo
from tests.support.session import Session
from tests.support.waiting import wait_for

_LIMITS: Final = ("--memory", "256m", "--cpuset-cpus", "0")
TOTAL: Final = 256 * 1024
#: What every container has a mount of, by mountinfo: the files, the CPU tree, pressure.
_COUNT: Final = "grep -c ' - fuse.lxcfs ' /proc/self/mountinfo"


@dataclass(frozen=True, slots=True)
class Installed:
    """A docker daemon with our runtime as its default, and what was installed for it."""

    docker: Docker
    libexec: Path

    def run(self, *argv: str, options: tuple[str, ...] = ()) -> str:
        """Run a command in a Debian container that was given no bind."""
        return self.docker("run", "--rm", *_LIMITS, *options, DEBIAN, *argv)

    def binds(self, *options: str) -> int:
        """Return how many of our mounts a new container has."""
        return int(self.run("sh", "-c", f"{_COUNT}; true", options=options))


def _install(verb: str, config: Path, directory: Path, *options: str) -> str:
    places = ("--libexec", directory / "libexec", "--state", directory / "state")
    done = subprocess.run(
        [*CTL, verb, f"--docker={config}", *places, *options], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
@needing("docker", "debian-image")
def installed(machine: Session, daemon: Daemon, new_directory: Callable[[str], Path]) -> Iterator[Installed]:
    """Install our runtime for a docker daemon; at the end its configuration is as it was before."""
    directory = new_directory("runtime")
    config = directory / "daemon.json"
    before = '{"debug": false,\n   "labels": ["kept=yes"]}\n'
    config.write_text(before)
    options = ("--default", "--mount-point", str(daemon.mount_point))
    assert "default-runtime" in _install("install-runtime", config, directory, *options, "--dry-run")
    assert config.read_text() == before
    printed = _install("install-runtime", config, directory, *options)
    then = "systemctl reload docker (running containers go on)"
    assert printed == f"docker: {config}: written. To take effect: {then}\n"
    (directory / "docker").mkdir()
    with docker(machine.token, directory / "docker", "--config-file", config) as client:
        client("import", debian_image(), DEBIAN)
        client("import", busybox_image(directory), BUSYBOX)
        yield Installed(client, directory / "libexec")
    _install("uninstall-runtime", config, directory)
    assert config.read_text() == before
    assert not (directory / "libexec").exists()
    assert not (directory / "state").exists()


def test_free_shows_the_limit(installed: Installed) -> None:
    """Without any option."""
    assert installed.run("free", "-m").splitlines()[1].split()[:2] == ["Mem:", "256"]


def test_every_file(installed: Installed, daemon: Daemon) -> None:
    """Pressure too, which runc would refuse as a bind."""
    served = {f"/proc/{path.name}" for path in daemon.proc.iterdir()} | {"/sys/devices/system/cpu"}
    points = "sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) .* - fuse.lxcfs .*/\\1/p' /proc/self/mountinfo"
    assert set(installed.run("sh", "-c", points).split()) == served


def test_exec_and_restart(installed: Installed) -> None:
    """A command that is added later, and the same container once more."""
    container = installed.docker("run", "--detach", *_LIMITS, DEBIAN, "sleep", "infinity").strip()
    total = ("grep", "MemTotal", "/proc/meminfo")
    assert meminfo(installed.docker("exec", container, *total))["MemTotal"] == TOTAL
    installed.docker("restart", "--time", "0", container)
    assert meminfo(installed.docker("exec", container, *total))["MemTotal"] == TOTAL


def test_a_users_own_bind_wins(installed: Installed, tmp_path: Path) -> None:
    """And the other files are ours all the same."""
    (tmp_path / "uptime").write_text("1.00 1.00\n")
    own = ("--volume", f"{tmp_path}/uptime:/proc/uptime")
    assert installed.run("cat", "/proc/uptime", options=own) == "1.00 1.00\n"
    assert installed.binds(*own) == installed.binds() - 1


@pytest.mark.parametrize(
    "options", [("--label", "pylxcfs.io/inject=disabled"), ("--runtime", "runc")], ids=["label", "runc"]
)
def test_opting_out(installed: Installed, options: tuple[str, ...]) -> None:
    """By a label, or by asking for the ordinary runtime."""
    assert installed.binds(*options) == 0


def test_names_with_newlines(installed: Installed) -> None:
    """What a user may write into labels and environment changes nothing."""
    assert installed.binds("--label", "a=b\nc", "--env", "d=\x1b[2J\n", "--hostname", "h") > 0


def test_a_root_with_links_in_it(installed: Installed, tmp_path: Path) -> None:
    """Where an image has a link in place of /proc, runc decides; the host stays as it is."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "meminfo").write_text("the host's\n")
    image = tmp_path / "image.tar"
    script = f"mkdir -p bin && cp $(command -v busybox) bin/sh && ln -s {victim} proc; tar -cf {image} ."
    (tmp_path / "root").mkdir()
    subprocess.run(["sh", "-c", script], check=True, cwd=tmp_path / "root")
    installed.docker("import", image, "links")
    installed.docker.output("run", "--rm", *_LIMITS, "links", "/bin/sh", "-c", "true")
    assert (victim / "meminfo").read_text() == "the host's\n"
    assert str(victim) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("editor", ["raise SystemExit(1)", "import os; os.abort()", "syntax error", None])
def test_a_broken_wrapper_starts_containers(installed: Installed, editor: str | None) -> None:
    """They have the host's files."""
    path = installed.libexec / "wrapper.py"
    text = path.read_text()
    try:
        path.unlink() if editor is None else path.write_text(editor)
        assert installed.binds() == 0
    finally:
        path.write_text(text)
    assert installed.binds() > 0


def test_a_broken_hook_starts_containers(installed: Installed) -> None:
    """They have all files but pressure."""
    path = installed.libexec / "pylxcfs-hook"
    text = path.read_text()
    before = installed.binds()
    try:
        path.write_text(text.replace("-m pylxcfs.runtime.hook", "-c 'raise SystemExit(1)'"))
        assert installed.binds() == before - 1
    finally:
        path.write_text(text)


def test_without_a_daemon(installed: Installed, new_directory: Callable[[str], Path]) -> None:
    """Containers start with the host's files."""
    front = installed.libexec / "pylxcfs-runtime"
    text = front.read_text()
    nowhere = new_directory("nobody serves here")
    (line,) = (line for line in text.splitlines() if line.startswith("mount_point="))
    try:
        front.write_text(text.replace(line, f"mount_point='{nowhere}'"))
        assert installed.binds() == 0
    finally:
        front.write_text(text)


def test_a_daemon_that_is_replaced(installed: Installed, daemon: Daemon) -> None:
    """Readers in such a container notice nothing."""
    script = "while :; do cat /proc/meminfo >/dev/null || echo failed; echo; done"
    container = installed.docker("run", "--detach", *_LIMITS, BUSYBOX, "sh", "-c", script).strip()

    def reads() -> int:
        return installed.docker("logs", container).count("\n")

    wait_for("it reads", lambda: reads() > 0)
    before = reads()
    os.kill(daemon.server_pid, signal.SIGKILL)
    wait_for("it reads on", lambda: reads() > before + 10)
    assert "failed" not in installed.docker.output("logs", container)
    installed.docker("rm", "--force", container)
