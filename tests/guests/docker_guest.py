"""What docker containers see on cgroup v2; part of guest.py.

The image is empty but for a few links: programs are those of the machine, bound into the container.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from pylxcfs.ctl.cli import main
from tests.support.daemon import REPOSITORY
from tests.support.docker import Docker, dockerd
from tests.support.inside import CLONE_NEWCGROUP, MOUNT, V2, check, libc
from tests.support.node import CAPABILITIES, MOUNT_POINT
from tests.support.waiting import wait_for

IMAGE = "pylxcfs-test"
FILES = (
    "/sys/devices/system/cpu/online",
    *(f"/proc/{name}" for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime")),
)
#: Three loops, beside which top looks twice.
BUSY_TOP = 'for n in 1 2 3; do while :; do :; done & pids="$pids $!"; done; top -b -n2 -d2; kill $pids'

Facts = dict[str, Any]


def ctl(*arguments: str) -> str:
    """Run pylxcfsctl, in this process: to start an interpreter takes long here."""
    printed = BytesIO()
    with redirect_stdout(TextIOWrapper(printed)):
        status = main(arguments)
        text = printed.getvalue().decode()
    assert status == 0
    return text


def ctl_in_a_namespace(*arguments: str) -> str:
    """Run pylxcfsctl in a cgroup namespace of its own."""
    hear, say = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            check(libc.unshare(CLONE_NEWCGROUP))
            os.write(say, ctl(*arguments).encode())
        finally:
            os._exit(0)
    os.close(say)
    with os.fdopen(hear) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


def image(directory: Path) -> Path:
    """Make a tar file with a merged-usr system's links and mount points."""
    root = directory / "root"
    for name in ("proc", "sys", "dev", "etc", "tmp", "run", "usr"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    tar = directory / "image.tar"
    subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
    return tar


def look(client: Docker, container: str) -> Facts:
    """Return what a container reads, by as few processes as possible."""
    script = f"tail -n +1 {' '.join(FILES)}; echo '==> nproc <=='; nproc"
    text = client("exec", container, "sh", "-c", script)
    _, *parts = re.split(r"\n?^==> (?:/proc/|/sys/devices/system/)?(\S+) <==\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def age(pid: str) -> float:
    """Return how long ago a process was started, seconds (proc_pid_stat(5))."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def docker_facts() -> Facts:
    """One container with limits: fresh, with its limits changed, busy, and started again."""
    directory = Path("/run/docker-test")
    directory.mkdir()
    binds = json.loads(ctl("docker-args", "--json", "--mount-point", str(MOUNT)))
    options = [*binds, "-v", "/usr:/usr:ro"]
    with dockerd(directory, "/containers") as client:
        client("import", image(directory), IMAGE)
        limits = ("-m", "100m", "--memory-swap", "120m", "--cpus", "1.5", "--cpuset-cpus", "0-1")
        container = client("run", "--detach", *limits, *options, IMAGE, "sleep", "infinity").strip()

        def pid() -> str:
            return client("inspect", "--format", "{{.State.Pid}}", container).strip()

        facts: Facts = {
            "fresh": look(client, container),
            "membership": Path(f"/proc/{pid()}/cgroup").read_text(),
            "membership inside": client("exec", container, "cat", "/proc/self/cgroup"),
            "free": client("exec", container, "free", "-k"),
            "from a namespace": ctl_in_a_namespace("show", "--pid", pid(), "meminfo"),
            "top": client("exec", container, "sh", "-c", BUSY_TOP),
            "throttled": (V2 / "containers" / container / "cpu.stat").read_text(),
        }
        client("update", "-m", "64m", "--memory-swap", "64m", container)
        facts["less memory"] = look(client, container)
        client("update", "--cpus", "0.5", container)
        facts["fewer CPUs"] = look(client, container)
        client("update", "--cpus", "3", "--cpuset-cpus", "1-3", container)
        facts["other CPUs"] = look(client, container)
        client("restart", "--time", "0", container)
        young = age(pid())
        facts["restarted"] = look(client, container) | {"age": [young, age(pid())]}
        facts["host's namespace"] = client(
            *("run", "--rm", "--cgroupns", "host", "-m", "100m", *options, IMAGE),
            *("cat", "/proc/meminfo", "/proc/self/cgroup"),
        )
        client("rm", "--force", container)
        facts["daemon in a container"] = replaced_facts(client, limits)
    return facts


def replaced_facts(client: Docker, limits: tuple[str, ...]) -> Facts:
    """The daemon in a container that is removed and replaced, each in a cgroup namespace of its own."""
    shared = Path("/run/node")
    shared.mkdir()
    for how in (("--bind", str(shared), str(shared)), ("--make-rshared", str(shared))):
        subprocess.run(["mount", *how], check=True)
    programs = {"/usr", sys.prefix, sys.base_prefix, str(REPOSITORY)}
    volumes = [f"{path}:{path}:ro" for path in sorted(programs)]
    volumes += [f"{shared}:/run/pylxcfs:rshared", "/sys/fs/cgroup:/sys/fs/cgroup"]
    command = [
        *("run", "--detach", "--pid", "host", "--device", "/dev/fuse", "--cap-drop", "ALL"),
        *(word for name in CAPABILITIES for word in ("--cap-add", name)),
        *(word for volume in volumes for word in ("--volume", volume)),
        *("--env", f"PYTHONPATH={REPOSITORY}", IMAGE, sys.executable, "-m", "pylxcfs.cli"),
        *("--hold", "600", "-o", "fsname=in-a-container", MOUNT_POINT),
    ]

    def start() -> str:
        container = client(*command).strip()
        wait_for("it serves", lambda: "serv" in client.output("logs", container))
        wait_for("its holder is the only one", lambda: parents(holders()) == [init_of(container)])
        return container

    def init_of(container: str) -> int:
        return int(client("inspect", "--format", "{{.State.Pid}}", container))

    first = start()
    (holder,) = holders()
    binds = json.loads(ctl("docker-args", "--json", "--mount-point", f"{shared}/lxcfs"))
    bound = client(
        "run", "--detach", *limits, *binds, "-v", "/usr:/usr:ro", IMAGE, "sleep", "infinity"
    ).strip()
    facts: Facts = {
        "namespace": os.readlink(f"/proc/{init_of(first)}/ns/cgroup") != os.readlink("/proc/self/ns/cgroup"),
        "before": client("exec", bound, "cat", "/proc/meminfo"),
        "holder": Path(f"/proc/{holder}/cgroup").read_text(),
        "log": client.output("logs", first),
    }
    client("rm", "--force", first)
    with client.start("exec", bound, "cat", "/proc/meminfo") as waiting:
        start()
        facts["meanwhile"] = waiting.communicate()[0]
    facts["after"] = client("exec", bound, "cat", "/proc/meminfo")
    return facts


def holders() -> list[int]:
    """Return the holders of all mounts."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"pylxcfs.supervision.holder" in path.read_bytes().split(b"\0")
    ]


def parents(pids: list[int]) -> list[int]:
    """Return the parents of processes (proc_pid_stat(5))."""
    return [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids]
