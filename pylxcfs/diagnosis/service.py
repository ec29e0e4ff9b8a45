"""Who keeps the connection when all our processes die: systemd's fd store, or a holder. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.diagnosis.surroundings import Surroundings

#: What is asked of ``systemctl show``.
PROPERTIES: Final = (
    "ActiveState",
    "FileDescriptorStoreMax",
    "MainPID",
    "NFileDescriptorStore",
    "NotifyAccess",
    "WatchdogUSec",
)
_ADVICE: Final = "run it as the service pylxcfs.service; until then pylxcfsctl reattach heals what breaks"


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """The unit that the supervisor is in."""

    has_systemd: bool
    #: None: the supervisor is in none, or does not run.
    unit: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    #: A holder (``--hold``), which does in a container what systemd does on a host.
    holder_pid: int | None = None


def check(facts: ServiceFacts, where: Surroundings) -> Iterator[Finding]:
    """Judge what would become of the mount."""
    if facts.holder_pid is not None:
        found = f"holder {facts.holder_pid} keeps the connection when the daemon's container ends"
        yield Finding("fd store", Verdict.OK, found)
        return
    if where.in_container and facts.unit is None:
        found = "in a container, without a holder: when the container ends, the mount dies with it"
        yield Finding("fd store", Verdict.WARN, found, "--hold SECONDS, in the host's pid namespace")
        return
    if not facts.has_systemd:
        found = "no systemd here: if supervisor and server die at once, the mount dies with them"
        yield Finding("fd store", Verdict.WARN, found, "pylxcfsctl reattach heals containers after that")
        return
    if facts.unit is None:
        found = "pylxcfs does not run as a service: if supervisor and server die at once, the mount dies too"
        yield Finding("fd store", Verdict.WARN, found, _ADVICE)
        return
    tell = facts.properties.get
    if tell("FileDescriptorStoreMax", "0") == "0":
        yield Finding(
            "fd store",
            Verdict.WARN,
            f"{facts.unit} keeps no descriptors: a restart breaks the mount in every container",
            "FileDescriptorStoreMax=4 in the unit (pylxcfs' own has it)",
        )
    elif tell("NFileDescriptorStore", "0") == "0":
        yield Finding(
            "fd store",
            Verdict.WARN,
            f"{facts.unit} ({tell('ActiveState', 'unknown')}) keeps no descriptor of ours, though it would",
            "NotifyAccess=main (or all) in the unit, then systemctl restart pylxcfs",
        )
    else:
        count = tell("NFileDescriptorStore", "")
        yield Finding("fd store", Verdict.OK, f"{facts.unit} keeps the connection ({count} in the store)")
    if tell("WatchdogUSec", "0") in {"0", "infinity"}:
        yield Finding(
            "watchdog", Verdict.WARN, "systemd does not watch the supervisor", "WatchdogSec=30 in the unit"
        )
