"""pylxcfsctl doctor, on this machine with healthy and with broken daemons."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from tests.support.asking import Answer, ask, ask_text, runtime_directory, stopped
from tests.support.container import Container
from tests.support.daemon import REPOSITORY, Daemon, file_system_name, pylxcfs_command
from tests.support.mounts import mounts_under, unmount_under
from tests.support.operator import Site
from tests.support.session import Session
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]

#: What a healthy daemon may be warned of here: machines differ, and others work on this one.
_OF_THE_MACHINE: Final = {"propagation", "other lxcfs mounts", "fd store", "selinux", "watchdog"}
_FUSECTL: Final = "mount -t fusectl none /sys/fs/fuse/connections"


def _in_namespace(script: str) -> tuple[str, ...]:
    """Spell what runs a command in a mount namespace of its own, prepared by `script`."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"', "prepared")


def _examine(site: Site, within: tuple[str, ...] = ()) -> Answer:
    options = ("--mount-point", str(site.mount_point), "--fsname", site.fsname)
    return ask(site.daemon, "doctor", *options, within=within)


def _wait_until_told(daemon: Daemon) -> None:
    wait_for("it tells of itself", lambda: ask(daemon, "status").status == 0, alive=daemon.running)


def test_healthy(site: Site, make_bound: Callable[..., Container]) -> None:
    """Nothing fails, all that is ours is well, and warnings are of the machine."""
    make_bound()
    _wait_until_told(site.daemon)
    answer = _examine(site)
    assert (0, set()) == (answer.status, answer.subjects("fail")), answer.document
    warned = {
        subject for subject in answer.subjects("warn") if not subject.startswith(("kernel ", "cgroup "))
    }
    assert set() == warned - _OF_THE_MACHINE, answer.document
    expected = {
        "daemon",
        "mount",
        "connection",
        "binds",
        "cgroups",
        "kernel",
        "python",
        "privileges",
        "hidepid",
    }
    assert set() == expected - answer.subjects("ok")
    assert answer.found("binds").startswith("containers with our files, all alive: 1;")
    text = ask_text(site.daemon, "doctor", "--fsname", site.fsname).stdout
    assert text.splitlines()[-1].startswith("no failures, ")


def _waits_for_fuse(pid: int) -> bool:
    where = Path(f"/proc/{pid}/wchan").read_text()
    if where != "0":
        return "fuse" in where or "request" in where
    # It runs, or this kernel does not tell where processes wait.
    process = psutil.Process(pid)
    asleep = process.status() in {psutil.STATUS_SLEEPING, psutil.STATUS_DISK_SLEEP}
    return asleep and process.name() == "cat"


def test_stopped(site: Site) -> None:
    """Supervisor and server that are stopped are found while a reader waits; the doctor does not."""
    _wait_until_told(site.daemon)
    with stopped(site.daemon):
        reader = subprocess.Popen(["cat", site.mount_point / "proc/meminfo"], stdout=subprocess.DEVNULL)
        wait_for("a reader waits", lambda: _waits_for_fuse(reader.pid))
        answer = _examine(site, _in_namespace(_FUSECTL))
    assert 0 == reader.wait()
    assert 1 == answer.status
    assert {"daemon", "mount"} == answer.subjects("fail")
    assert "was stopped by a signal" in answer.found("daemon")
    assert "a read was given up" in answer.found("mount")
    assert "warn" == answer.verdict("connection")
    assert "requests wait" in answer.found("connection")


def test_nobody_waits(site: Site) -> None:
    """What the kernel counts for the connection is told where fusectl is mounted."""
    answer = _examine(site, _in_namespace(_FUSECTL))
    assert "ok" == answer.verdict("connection")
    assert "nobody waits" in answer.found("connection")


def test_dead_binds(site: Site, make_bound: Callable[..., Container]) -> None:
    """After the daemon's death mount and binds are found dead; after a new start the binds, until healed."""
    container = make_bound(files=("meminfo", "uptime"))
    site.daemon.kill()
    answer = _examine(site)
    assert {"daemon", "mount", "dead binds"} == answer.subjects("fail")
    assert "Transport endpoint is not connected" in answer.found("mount")
    name = f"pid {container.init_pid} /{container.group.name}"
    assert answer.found("dead binds").endswith(f": 1, namely {name} (2)")
    site.start()
    _wait_until_told(site.daemon)
    assert {"dead binds"} == _examine(site).subjects("fail")
    assert 0 == site.ctl("reattach").status
    assert set() == _examine(site).subjects("fail")


def test_unmounted(site: Site) -> None:
    """A mount that somebody has taken away is missed."""
    subprocess.run(["umount", site.mount_point], check=True)
    site.daemon.check_ended_well()
    answer = _examine(site)
    assert {"daemon", "mount"} == answer.subjects("fail")
    assert "has nothing mounted" in answer.found("mount")


def test_propagation(site: Site) -> None:
    """A mount point in a private mount is warned of, in a shared one it is well."""
    private = _examine(site, _in_namespace("true"))
    shared = _examine(site, _in_namespace("mount --make-rshared /"))
    assert ("warn", "ok") == (private.verdict("propagation"), shared.verdict("propagation"))


def test_namespace_of_its_own(machine: Session, new_directory: Callable[[str], Path]) -> None:
    """A daemon that mounts where nobody sees it is found out."""
    del machine
    mount_point = new_directory("unseen")
    runtime = new_directory("unseen.run")
    # A name of its own, and no hand in others' containers.
    options = ("-o", f"fsname={file_system_name(mount_point)}", "--disable-reattach")
    command = pylxcfs_command("--runtime-dir", runtime, *options, mount_point)
    log = runtime / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", *command], cwd=REPOSITORY, stderr=output
        )
    daemon = Daemon(process, mount_point, runtime / "pylxcfs.pid", log)
    try:
        _wait_until_told(daemon)
        answer = ask(daemon, "doctor")
        assert [] == mounts_under(mount_point)
    finally:
        process.terminate()
        process.wait()
        unmount_under(mount_point)
    assert "fail" == answer.verdict("mount")
    assert "though the supervisor has it mounted" in answer.found("mount")


def test_host_view_and_deaths(site: Site) -> None:
    """That everybody sees the host, and that servers have died, is warned of and no failure."""
    _wait_until_told(site.daemon)
    server = ask(site.daemon, "status").document["processes"]["server"]["pid"]
    os.kill(server, signal.SIGKILL)
    wait_for("it is replaced", lambda: ask(site.daemon, "status").document["replaced"] == 1)
    site.daemon.process.send_signal(signal.SIGUSR2)
    wait_for("everybody sees the host", lambda: ask(site.daemon, "status").document["host_view"])
    answer = _examine(site)
    assert 0 == answer.status
    assert {"host view", "deaths"} <= answer.subjects("warn")
    assert "was killed by SIGKILL" in answer.found("deaths")


def test_changes_nothing(site: Site) -> None:
    """The doctor leaves the runtime directory as it is."""
    _wait_until_told(site.daemon)
    directory = runtime_directory(site.daemon) / "pylxcfs"
    before = {path.name for path in directory.iterdir()}
    _examine(site)
    assert {path.name for path in directory.iterdir()} - before <= {"load.json", "ledgers", "passes"}
