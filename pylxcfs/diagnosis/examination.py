"""Goes through all subjects, one after the other."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pylxcfs.config import ViewConfig
from pylxcfs.content.engine import Engine, assemble
from pylxcfs.diagnosis import (
    binds,
    cgroups,
    collect,
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
from pylxcfs.diagnosis.collect import Place
from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.errors import StartupError
from pylxcfs.fuse.mounting import FILE_SYSTEM_TYPE
from pylxcfs.procfiles.binds import bindable
from pylxcfs.procfiles.table import VIRTUAL_FILES
from pylxcfs.status.report import RunStatus


def examine(place: Place, status: RunStatus) -> Iterator[Finding]:
    """Judge everything; what cannot be looked at is a warning, and no reason to look at nothing more."""
    supervisor = status.supervisor.pid if status.supervisor else None
    facts = collect.mount_facts(place, supervisor)
    is_ours = facts.mount is not None and facts.mount.fs_type == FILE_SYSTEM_TYPE
    ours = facts.mount if is_ours else None
    engine, trouble = _assemble()
    where = collect.surroundings(supervisor)
    yield from daemon.check(status, where)
    yield from mount.check(facts, FILE_SYSTEM_TYPE, where)
    served = [path for path in (file.path for file in VIRTUAL_FILES) if Path("/", path).exists()]
    let = bindable(served)
    refused = [path for path in served if path.startswith("proc/") and path not in let]
    subjects: dict[str, Callable[[], Iterable[Finding]]] = {
        "connection": lambda: mount.check_connection(collect.connection_facts(facts)),
        "binds": lambda: binds.check(collect.bind_facts(place, facts)),
        "other lxcfs mounts": lambda: other_mounts.check(collect.other_facts(ours)),
        "cgroups": lambda: trouble if engine is None else cgroups.check(collect.cgroup_facts(engine)),
        "runtimes": lambda: runtimes.check(collect.runtime_facts(), let, refused),
        "security modules": lambda: security.check(collect.security_facts(supervisor)),
        "privileges": lambda: security.check_privileges(collect.privilege_facts(supervisor)),
        "fd store": lambda: service.check(collect.service_facts(supervisor, place.mount_point), where),
        "space": lambda: space.check(collect.space_facts(place.runtime_dir), status.server),
        "kernel": lambda: kernel.check(collect.kernel_facts(engine)),
        "python": lambda: python.check(collect.python_facts(supervisor)),
    }
    for subject, judge in subjects.items():
        try:
            # All before any: half a judgement misleads.
            yield from list(judge())
        except (OSError, LookupError, ValueError, StartupError) as error:
            yield Finding(subject, Verdict.WARN, f"could not be examined: {error}", "run this as root, again")


def _assemble() -> tuple[Engine | None, list[Finding]]:
    try:
        return assemble(ViewConfig()), []
    except StartupError as error:
        advice = "see README.md, When something is wrong"
        return None, [Finding("cgroups", Verdict.FAIL, f"no server could start: {error}", advice)]
