"""Finds fields that tell a container about its host and are not documented to do so."""

from collections.abc import Iterator
from typing import Final

from pylxcfs.procfiles import meminfo, stat
from pylxcfs.procfiles.binds import CPU_DIRECTORY
from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.compat.fields import Field
from tests.compat.laboratory import Laboratory, Subject
from tests.compat.sight import Shown, Sight

#: Fields that both have by coincidence differ at another look.
_LOOKS: Final = 25
#: Words that name things and do not count them.
_NAMES: Final = frozenset(
    {"names and units", "header", "Filename", "Type", "Priority", "areas", "device numbers", "other entries"}
)
#: Say nothing on a host that has no CPU to hide.
_CPUS: Final = frozenset({"cpuN", "processor", "list", "cpuN directories"})
_VIRTUAL: Final = frozenset(file.path for file in VIRTUAL_FILES)


def documented(file: str, field: str) -> bool:
    """Tell whether a field is the host's by the tables that the README lists."""
    if file == "proc/meminfo":
        return field.encode() in meminfo.HOST_WIDE
    if file == "proc/stat":
        return field.encode() in stat.HOST_WIDE
    if file == "proc/cpuinfo":
        return field != "processor"
    return file.startswith(f"{CPU_DIRECTORY}/") and file not in _VIRTUAL


def host_values(laboratory: Laboratory, subject: Subject) -> list[str]:
    """Name the undocumented fields that are the host's at every look, in a container with limits."""
    always: dict[str, str] | None = None
    for _ in range(_LOOKS):
        found = {
            f"{shown.file}: {name}": f"{shown.ours[name]} of the host's {shown.host[0][name]}"
            for pair in laboratory.pairs
            for shown in subject.look(pair, laboratory.files)
            for name in _shown_of_host(shown)
        }
        always = found if always is None else {name: found[name] for name in always if name in found}
        if not always:
            return []
    return [f"{name}: {value}" for name, value in (always or {}).items()]


def _shown_of_host(shown: Shown) -> Iterator[str]:
    few_cpus = len(shown.container.host_cpus) == 1
    for name in shown.ours:
        sight = Sight(shown, name)
        if name in _NAMES or documented(shown.file, name) or (few_cpus and name in _CPUS):
            continue
        if any(_equal(sight.ours, host) for host in sight.host):
            yield name


def _equal(ours: Field, host: Field) -> bool:
    """Tell whether any number or list is the host's; 0 and the empty list are everybody's."""
    return any(value and host.get(place) == value for place, value in ours.items())
