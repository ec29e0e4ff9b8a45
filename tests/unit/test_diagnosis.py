"""What the doctor makes of facts."""

import errno
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pylxcfs.cgroup.types import Controller
from pylxcfs.containers.name import Name
from pylxcfs.ctl.doctor import as_document, lines
from pylxcfs.diagnosis import (
    binds,
    cgroups,
    daemon,
    kernel,
    mount,
    other_mounts,
    python,
    runtimes,
    security,
    service,
    space,
)
from pylxcfs.diagnosis.binds import BindFact, BindFacts
from pylxcfs.diagnosis.cgroups import CgroupFacts
from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.diagnosis.kernel import KernelFacts
from pylxcfs.diagnosis.mount import ConnectionFacts, MountFacts
from pylxcfs.diagnosis.other_mounts import OtherFacts
from pylxcfs.diagnosis.python import PythonFacts
from pylxcfs.diagnosis.runtimes import Runtime, RuntimeFacts
from pylxcfs.diagnosis.security import PrivilegeFacts, SecurityFacts
from pylxcfs.diagnosis.service import ServiceFacts
from pylxcfs.diagnosis.space import SpaceFacts
from pylxcfs.diagnosis.surroundings import Surroundings
from pylxcfs.linux.mountinfo import Mount
from pylxcfs.reattach.survey import State
from pylxcfs.rundir.supervisor_state import Reload, Replacement, Reserve, RunState
from pylxcfs.status.document import FallbackStatus, ServerStatus
from pylxcfs.status.report import ProcessStatus, RunStatus

_NOW = 1_800_000_000.0
_TYPE = "fuse.lxcfs"
_OURS = Mount(90, 30, "0:52", "/", "/var/lib/lxcfs", _TYPE, "pylxcfs", "rw")
_ROOT = Mount(30, 1, "8:1", "/", "/", "ext4", "/dev/sda1", "rw", shared=1)
_MOUNTED = MountFacts(
    "/var/lib/lxcfs", _OURS, 0, 0.004, parent=_ROOT, seen_by_init=True, seen_by_supervisor=True
)
_SUPERVISOR = ProcessStatus(10, "sleeping", _NOW - 100, 1 << 24, 0.5)
_SERVER = replace(_SUPERVISOR, pid=11)
_STATE = RunState(10, _NOW - 100, "/var/lib/lxcfs", "0:52", 11, 1, host_view=False, replaced=0)
_RUNNING = RunStatus(
    Path("/run"), _NOW, _SUPERVISOR, _SERVER, _STATE, ServerStatus(version="1", pid=11, began_at=_NOW - 100)
)
_SILENT = replace(_RUNNING, server=None, silence="the server did not answer within 2 s")
_ALL_V1 = dict.fromkeys((Controller.MEMORY, Controller.CPU, Controller.CPUSET, Controller.IO), "v1")
_ALL_V2 = dict.fromkeys(_ALL_V1, "v2")
_V2_NAMES = frozenset({"memory", "cpu", "cpuset", "io"})
_V1 = CgroupFacts(_ALL_V1, has_v1=True, has_v2=False)
_V2 = CgroupFacts(_ALL_V2, has_v1=False, has_v2=True, v2_available=_V2_NAMES, v2_enabled=_V2_NAMES)
_ALL_CAPABILITIES = (1 << 41) - 1
_PTRACE = 19
_UNIT = ServiceFacts(
    has_systemd=True,
    unit="pylxcfs.service",
    properties={
        "ActiveState": "active",
        "FileDescriptorStoreMax": "4",
        "NFileDescriptorStore": "1",
        "WatchdogUSec": "30s",
    },
)


def _verdicts(findings: Iterable[Finding]) -> dict[str, str]:
    findings = list(findings)
    for finding in findings:
        # Whatever is wrong, there is something to do about it; nothing needs to be done about what is well.
        assert finding.found
        assert bool(finding.advice) == (finding.verdict is not Verdict.OK)
    verdicts = {finding.subject: finding.verdict.value for finding in findings}
    assert len(verdicts) == len(findings)
    return verdicts


def _words(findings: Iterable[Finding]) -> str:
    return " ".join(f"{finding.found} {finding.advice}" for finding in findings)


def _with_server(**changes: object) -> RunStatus:
    assert _RUNNING.server is not None
    return replace(_RUNNING, server=replace(_RUNNING.server, **changes))  # type: ignore[arg-type]


def _with_replacement(seconds_ago: float, why: str) -> RunStatus:
    return replace(_RUNNING, state=_STATE._replace(replacements=(Replacement(_NOW - seconds_ago, why, 0.1),)))


@pytest.mark.parametrize(
    "status,expected,words",
    [
        (_RUNNING, {"daemon": "ok"}, "supervisor 10 and server 11"),
        (replace(_SILENT, supervisor=None), {"daemon": "fail"}, "systemctl start pylxcfs"),
        (_SILENT, {"daemon": "fail"}, "server 11 is sleeping"),
        (replace(_SILENT, server_process=None), {"daemon": "fail"}, "no server runs"),
        (
            replace(_SILENT, supervisor=replace(_SUPERVISOR, state="stopped")),
            {"daemon": "fail"},
            "kill -CONT 10",
        ),
        (replace(_SILENT, silence="only root may ask the server"), {"daemon": "warn"}, "as root"),
        (_with_server(unresponsive_seconds=3.0), {"daemon": "fail"}, "hung for 3 s"),
        (_with_server(host_view=True), {"daemon": "ok", "host view": "warn"}, "SIGUSR2"),
        (_with_server(failed=2), {"daemon": "ok", "mistakes": "warn"}, "2 requests"),
        (
            _with_server(fallbacks=(FallbackStatus("proc/stat", "ParseError", 4),)),
            {"daemon": "ok", "fallbacks": "warn"},
            "proc/stat (ParseError) 4 times",
        ),
        (
            _with_server(fallbacks=(FallbackStatus("proc/stat", "ControllerUnavailable", 4),)),
            {"daemon": "ok"},
            "",
        ),
        (_with_replacement(60, "was killed by SIGKILL"), {"daemon": "ok", "deaths": "warn"}, "1 minutes ago"),
        (_with_replacement(60, "SIGUSR1"), {"daemon": "ok"}, ""),
        (
            replace(_RUNNING, state=_STATE._replace(reserve=Reserve(0, 0, "it ended with status 7"))),
            {"daemon": "ok", "reserve": "warn"},
            "ended with status 7",
        ),
        (
            replace(_RUNNING, state=_STATE._replace(reload=Reload(1.0, 2.0, "SyntaxError: no"))),
            {"daemon": "ok", "reload": "warn"},
            "SyntaxError: no repair the installed code, then pylxcfsctl reload",
        ),
        (_with_replacement(4000, "was killed by SIGKILL"), {"daemon": "ok"}, ""),
    ],
)
def test_daemon(status: RunStatus, expected: dict[str, str], words: str) -> None:
    """Who does not run, answer or live long is found; planned replacements are no deaths."""
    findings = list(daemon.check(status, Surroundings()))
    assert expected == _verdicts(findings)
    assert words in _words(findings)


@pytest.mark.parametrize(
    "changes,expected,words",
    [
        ({}, {"mount": "ok", "propagation": "ok"}, "a read took 4 ms"),
        ({"answer": None, "seconds": 5.0}, {"mount": "fail", "propagation": "ok"}, "after 5 s"),
        ({"answer": errno.ENOTCONN}, {"mount": "fail", "propagation": "ok"}, "is dead"),
        ({"answer": errno.EACCES}, {"mount": "fail", "propagation": "ok"}, "EACCES"),
        ({"mount": None, "seen_by_supervisor": False}, {"mount": "fail"}, "has nothing mounted"),
        ({"mount": _OURS._replace(fs_type="tmpfs", source="t")}, {"mount": "fail"}, "tmpfs (t)"),
        ({"mount": None, "seen_by_supervisor": True}, {"mount": "fail"}, "PrivateMounts="),
        (
            {"seen_by_init": False},
            {"mount": "ok", "reach": "fail", "propagation": "ok"},
            "process 1 does not see",
        ),
        ({"seen_by_init": None, "parent": None}, {"mount": "ok"}, ""),
        (
            {"parent": _ROOT._replace(shared=None)},
            {"mount": "ok", "propagation": "warn"},
            "mount --make-rshared /",
        ),
    ],
)
def test_mount(changes: dict[str, object], expected: dict[str, str], words: str) -> None:
    """What is not mounted, not ours, dead, unresponsive or unseen is found."""
    facts = replace(_MOUNTED, **changes)  # type: ignore[arg-type]
    findings = list(mount.check(facts, _TYPE, Surroundings()))
    assert expected == {s: v for s, v in _verdicts(findings).items() if s in expected or v != "ok"}
    assert words in _words(findings)


@pytest.mark.parametrize(
    "facts,verdict,words",
    [
        (ConnectionFacts(has_device=False), "fail", "modprobe fuse"),
        (ConnectionFacts(has_device=True), "ok", "nothing is mounted"),
        (ConnectionFacts(has_device=True, minor="52"), "ok", "fusectl"),
        (ConnectionFacts(has_device=True, minor="52", waiting=0, answers=False), "ok", "nobody waits"),
        (ConnectionFacts(has_device=True, minor="52", waiting=9), "ok", "nobody waits in vain"),
        (
            ConnectionFacts(has_device=True, minor="52", waiting=9, answers=False),
            "warn",
            "connections/52/abort",
        ),
    ],
)
def test_connection(facts: ConnectionFacts, verdict: str, words: str) -> None:
    """A missing device fails; who waits while nobody answers is warned of."""
    findings = list(mount.check_connection(facts))
    assert {"connection": verdict} == _verdicts(findings)
    assert words in _words(findings)


@pytest.mark.parametrize(
    "facts,expected,words",
    [
        (_V1, {}, "v1: memory v1"),
        (_V2, {}, "v2: memory v2"),
        (replace(_V1, has_v2=True), {}, "hybrid"),
        (CgroupFacts({}, has_v1=False, has_v2=False), {"cgroups": "fail"}, "mount cgroup2"),
        (
            replace(_V2, v2_enabled=_V2_NAMES - {"io"}),
            {"cgroup io": "warn"},
            "echo +io > cgroup.subtree_control",
        ),
        (
            replace(_V2, v2_enabled=_V2_NAMES - {"io"}, v2_available=_V2_NAMES - {"io"}),
            {"cgroup io": "warn"},
            "a v1 hierarchy holds it",
        ),
        (
            replace(_V1, versions={c: v for c, v in _ALL_V1.items() if c is not Controller.IO}),
            {"cgroup io": "warn"},
            "mount -t cgroup -o blkio",
        ),
        (
            replace(
                _V2,
                v2_enabled=_V2_NAMES - {"memory"},
                v2_available=_V2_NAMES - {"memory"},
                disabled=frozenset({"memory"}),
                command_line=("quiet", "cgroup_disable=memory"),
            ),
            {"cgroup memory": "warn"},
            "take cgroup_disable=memory from",
        ),
        (
            replace(
                _V1,
                versions={c: v for c, v in _ALL_V1.items() if c is not Controller.MEMORY},
                disabled=frozenset({"memory"}),
            ),
            {"cgroup memory": "warn"},
            "cgroup_enable=memory",
        ),
        (replace(_V1, swap_accounting=False), {"swap accounting": "warn"}, "swapaccount=1"),
        (replace(_V2, swap_accounting=None), {}, ""),
    ],
)
def test_cgroups(facts: CgroupFacts, expected: dict[str, str], words: str) -> None:
    """What containers lose without a controller is told, and how to get it."""
    findings = list(cgroups.check(facts))
    assert expected == {s: v for s, v in _verdicts(findings).items() if v != "ok"}
    assert words in _words(findings)


_A = Name("/docker/a", "a" * 64, "docker")
_B = Name("/kubepods/b")


def _bind(name: Name, state: State, target: str = "/proc/stat") -> BindFact:
    return BindFact(name, 7, target, state)


@pytest.mark.parametrize(
    "bound,state,expected,words",
    [
        ([], State.ALIVE, {"binds": "ok"}, "all alive: 0; with none of them: 3"),
        ([_bind(_A, State.ALIVE), _bind(_B, State.OTHER)], State.ALIVE, {"binds": "ok"}, "all alive: 2;"),
        (
            [_bind(_A, State.DEAD), _bind(_A, State.ALIVE, "/proc/uptime"), _bind(_B, State.ALIVE)],
            State.ALIVE,
            {"dead binds": "fail", "binds": "ok"},
            f"not connected): 1, namely {'a' * 12} (1) pylxcfsctl reattach containers with our files, all",
        ),
        (
            [_bind(_A, State.ALIVE), _bind(_B, State.ALIVE), _bind(_B, State.ALIVE, "/proc/uptime")],
            State.DEAD,
            {"dead binds": "fail", "binds": "ok"},
            f"2, namely {'a' * 12} (1), pid 7 /kubepods/b (2) start pylxcfs, then pylxcfsctl reattach",
        ),
        (
            [_bind(_B, State.ALIVE)],
            State.UNRESPONSIVE,
            {"unresponsive binds": "fail", "binds": "ok"},
            "detach gives the kernel's back until then",
        ),
        (
            [_bind(_A, State.UNRESPONSIVE), _bind(_B, State.DEAD)],
            State.ALIVE,
            {"unresponsive binds": "fail", "dead binds": "fail", "binds": "ok"},
            "pylxcfsctl reattach --take-over",
        ),
        (
            [_bind(Name(f"/c{n}"), State.DEAD) for n in range(500)],
            State.ALIVE,
            {"dead binds": "fail", "binds": "ok"},
            "and 488 more",
        ),
        ([_bind(_B, State.HIDDEN)], State.DEAD, {"binds": "ok"}, ""),
    ],
)
def test_binds(bound: Sequence[BindFact], state: State, expected: dict[str, str], words: str) -> None:
    """Containers with dead or unresponsive files are named; what is our mount's is as well as that."""
    findings = list(binds.check(BindFacts(bound, 3, state)))
    assert expected == _verdicts(findings)
    assert words in _words(findings)


@pytest.mark.parametrize(
    "version,expected,words",
    [
        ("1.1.5+ds1", {}, "meminfo, loadavg, slabinfo; not pressure/cpu"),
        ("1.0.0-rc93", {}, "slabinfo"),
        ("1.0.0-rc92+dfsg", {"runc": "warn"}, "refuses binds over slabinfo"),
        ("1.0.0-rc.5", {"runc": "warn"}, "refuses binds over loadavg, slabinfo"),
        ("", {}, "slabinfo"),
    ],
)
def test_runtimes(version: str, expected: dict[str, str], words: str) -> None:
    """What the installed runc refuses to be bound over is told."""
    facts = RuntimeFacts([Runtime("docker", "28.2.2"), Runtime("runc", version)], ["/run/docker.sock"])
    let = ("proc/meminfo", "proc/loadavg", "proc/slabinfo")
    findings = list(runtimes.check(facts, let, ("proc/pressure/cpu",)))
    assert expected == {s: v for s, v in _verdicts(findings).items() if v != "ok"}
    assert words in _words(findings)
    assert "docker 28.2.2" in _words(findings)
    assert "sockets: /run/docker.sock" in _words(findings)


def test_without_runc() -> None:
    """Without runc nobody has a list, without any runtime there is nothing to say."""
    assert {"runtimes"} == {f.subject for f in runtimes.check(RuntimeFacts([Runtime("crun", "1.8")]), (), ())}
    assert "no container runtime" in _words(runtimes.check(RuntimeFacts(), (), ()))


@pytest.mark.parametrize(
    "facts,expected,words",
    [
        (SecurityFacts(), {"security modules": "ok"}, "neither"),
        (SecurityFacts(selinux_enforcing=False), {"selinux": "ok"}, "permissive"),
        (SecurityFacts(selinux_enforcing=True), {"selinux": "ok"}, "container_file_t"),
        (SecurityFacts(selinux_enforcing=True, selinux_allows_fuse=True), {"selinux": "ok"}, ":z"),
        (SecurityFacts(selinux_enforcing=True, selinux_allows_fuse=False), {"selinux": "warn"}, "setsebool"),
        (
            SecurityFacts(apparmor=True, profiles=("docker-default",), confinement="unconfined"),
            {"apparmor": "ok"},
            "docker-default denies writing",
        ),
        (
            SecurityFacts(apparmor=True, confinement="pylxcfs (enforce)"),
            {"apparmor": "ok", "confinement": "warn"},
            "pylxcfs (enforce)",
        ),
    ],
)
def test_security(facts: SecurityFacts, expected: dict[str, str], words: str) -> None:
    """What security modules deny is told, and a confined daemon warned of."""
    findings = list(security.check(facts))
    assert expected == _verdicts(findings)
    assert words in _words(findings)


@pytest.mark.parametrize(
    "capabilities,hidepid,expected",
    [
        (_ALL_CAPABILITIES, "", {"privileges": "ok", "hidepid": "ok"}),
        (_ALL_CAPABILITIES, "invisible", {"privileges": "ok", "hidepid": "ok"}),
        (_ALL_CAPABILITIES & ~(1 << _PTRACE), "0", {"privileges": "warn", "hidepid": "ok"}),
        (_ALL_CAPABILITIES & ~(1 << _PTRACE), "2", {"privileges": "warn", "hidepid": "fail"}),
        (None, "2", {"hidepid": "ok"}),
    ],
)
def test_privileges(capabilities: int | None, hidepid: str, expected: dict[str, str]) -> None:
    """Hidden processes matter to a daemon that may not trace."""
    assert expected == _verdicts(security.check_privileges(PrivilegeFacts(capabilities, hidepid)))


@pytest.mark.parametrize(
    "facts,expected,words",
    [
        (ServiceFacts(has_systemd=False), {"fd store": "warn"}, "no systemd"),
        (ServiceFacts(has_systemd=True), {"fd store": "warn"}, "not run as a service"),
        (ServiceFacts(has_systemd=False, holder_pid=7), {"fd store": "ok"}, "holder 7 keeps the connection"),
        (_UNIT, {"fd store": "ok"}, "keeps the connection (1 in the store)"),
        (
            replace(_UNIT, properties={**_UNIT.properties, "NFileDescriptorStore": "0"}),
            {"fd store": "warn"},
            "NotifyAccess=",
        ),
        (
            replace(_UNIT, properties={}),
            {"fd store": "warn", "watchdog": "warn"},
            "FileDescriptorStoreMax=",
        ),
    ],
)
def test_service(facts: ServiceFacts, expected: dict[str, str], words: str) -> None:
    """Who keeps the connection is told, or what is missing for that."""
    findings = list(service.check(facts, Surroundings()))
    assert expected == _verdicts(findings)
    assert words in _words(findings)


@pytest.mark.parametrize(
    "release,tried,expected",
    [
        ("6.12.1-amd64", {}, {}),
        ("6.1.0-13-amd64", {}, {"FUSE_NOTIFY_RESEND": "warn", "namespace ioctl": "warn"}),
        ("6.1.0", {"namespace ioctl": True}, {"FUSE_NOTIFY_RESEND": "warn"}),
        ("6.12.1", {"pressure": False}, {"pressure": "warn"}),
        ("6.12.1", {"pidfd_open": False}, {"pidfd_open": "fail"}),
    ],
)
def test_kernel(release: str, tried: dict[str, bool], expected: dict[str, str]) -> None:
    """What was tried counts, and else the release."""
    found = _verdicts(kernel.check(KernelFacts(release, tried)))
    assert {"kernel": "ok", **{f"kernel {name}": verdict for name, verdict in expected.items()}} == found


def test_other_lxcfs_mounts() -> None:
    """Lxcfs and other mounts of that type are warned of, each with what to do."""
    assert {"other lxcfs mounts": "ok"} == _verdicts(other_mounts.check(OtherFacts()))
    lxcfs = list(other_mounts.check(OtherFacts([4, 5], [("/var/lib/lxcfs", "lxcfs")])))
    assert {"other lxcfs mounts": "warn"} == _verdicts(lxcfs)
    assert "lxcfs runs (pid 4, 5); mounted besides ours: lxcfs on /var/lib/lxcfs" == lxcfs[0].found
    assert "pylxcfsctl replace-lxcfs" in lxcfs[0].advice
    assert "another pylxcfs" in _words(other_mounts.check(OtherFacts([], [("/mnt", "pylxcfs")])))


@pytest.mark.parametrize(
    "facts,expected",
    [
        (PythonFacts((3, 11, 2), "/usr/bin/python3", {"trio": "0.35"}), {"python": "ok"}),
        (PythonFacts((3, 10, 9), "/usr/bin/python3", {"trio": "0.35"}), {"python": "fail"}),
        (PythonFacts((3, 11, 2), "/usr/bin/python3", {"trio": None}), {"python": "fail"}),
        (PythonFacts((3, 11, 2), "/usr/bin/python3", {"pyfuse3": None}), {"python": "fail"}),
        (
            PythonFacts((3, 11, 2), "/usr/bin/python3", {"pyfuse3": "3.5.0"}, pyfuse3_error="libfuse3.so.3"),
            {"python": "fail"},
        ),
        (PythonFacts((3, 11, 2), "/usr/bin/python3", {"pyfuse3": "3.5.1"}), {"python": "ok"}),
        (
            PythonFacts((3, 11, 2), "/usr/bin/python3", {"pyfuse3": "3.50"}),
            {"python": "ok", "pyfuse3": "warn"},
        ),
        (
            PythonFacts((3, 11, 2), "/usr/bin/python3", {}, "/opt/python"),
            {"python": "ok", "python of the daemon": "ok"},
        ),
    ],
)
def test_python(facts: PythonFacts, expected: dict[str, str]) -> None:
    """An interpreter that no server can start with fails."""
    assert expected == _verdicts(python.check(facts))


_FINDINGS = (
    Finding("mount", Verdict.FAIL, "is dead", "start pylxcfs"),
    Finding("kernel", Verdict.OK, "Linux 6.12"),
    Finding("propagation", Verdict.WARN, "private", "mount --make-rshared /"),
)


def test_worst_is_printed_last() -> None:
    """The worst stands at the end, with what to do below it, and above the count."""
    printed = list(lines(_FINDINGS))
    assert ["OK", "WARN", "->", "FAIL", "->"] == [line.split()[0] for line in printed[:5]]
    assert "1 failure, 1 warning" == printed[-1]
    assert "no failures, no warnings" == list(lines(_FINDINGS[1:2]))[-1]


def test_lines_are_no_wider_than_a_terminal_may_be() -> None:
    """Long text is folded between words only."""
    path = "/proc/" + "x" * 100
    printed = list(lines([Finding("subject", Verdict.WARN, "word " * 60, f"cat {path}")]))
    assert all(len(line) <= 110 or path in line for line in printed)
    assert Counter(" ".join(printed).split())["word"] == 60


@pytest.mark.parametrize(
    "findings,verdict", [(_FINDINGS, "fail"), (_FINDINGS[1:], "warn"), (_FINDINGS[1:2], "ok")]
)
def test_document(findings: Sequence[Finding], verdict: str) -> None:
    """The document's verdict is the worst of all."""
    document = as_document(findings)
    assert (1, verdict, len(findings)) == (
        document["schema"],
        document["verdict"],
        len(document["findings"]),
    )
    assert {"subject", "verdict", "found", "advice"} == document["findings"][0].keys()


def test_room_in_the_runtime_directory() -> None:
    """Little room is said before something is lost, and so is what a server could not keep."""
    server = ServerStatus()
    (well,) = space.check(SpaceFacts("/run", 1 << 20, 1 << 30), server)
    assert (well.verdict, well.found) == (Verdict.OK, "/run: ours takes 1024 KiB, 1048576 KiB are left")
    (full,) = space.check(SpaceFacts("/run", 1 << 20, 0), None)
    (no_names,) = space.check(SpaceFacts("/run", 1 << 20, 1 << 30, has_names=False), None)
    assert {full.verdict, no_names.verdict} == {Verdict.WARN}
    lost = replace(server, unkept_ledgers=3, lost_reads=4)
    _, ledgers, reads = space.check(SpaceFacts("/run", 0, 1 << 30), lost)
    assert "of 3 containers have no room" in ledgers.found
    assert "4 reads in pieces" in reads.found


@pytest.mark.parametrize(
    "where,never",
    [
        (Surroundings(has_systemd=False), ("systemctl", "docker", "pod")),
        (Surroundings(has_systemd=False, in_container=True), ("systemctl", "pylxcfs MOUNTPOINT")),
        (
            Surroundings(has_systemd=True, in_container=True),
            ("systemctl", "pylxcfs MOUNTPOINT", "pylxcfs.service"),
        ),
    ],
)
def test_advice_that_can_be_followed(where: Surroundings, never: tuple[str, ...]) -> None:
    """Nobody is told to use systemd where there is none, or to start in a container what the container is."""
    hung = replace(_RUNNING, server=replace(_RUNNING.server or ServerStatus(), unresponsive_seconds=5.0))
    statuses = (RunStatus(Path("/run"), _NOW), hung, _SILENT)
    states = (None, errno.ENOTCONN)
    mounts = [replace(_MOUNTED, answer=answer) for answer in states] + [replace(_MOUNTED, mount=None)]
    findings = [
        *(finding for status in statuses for finding in daemon.check(status, where)),
        *(finding for facts in mounts for finding in mount.check(facts, _TYPE, where)),
        *service.check(ServiceFacts(where.has_systemd), where),
    ]
    advice = " ".join(finding.advice for finding in findings if finding.subject != "propagation")
    assert [] == [word for word in never if word in advice.replace("pylxcfsctl", "")]
