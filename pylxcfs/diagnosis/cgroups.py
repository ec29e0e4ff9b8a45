"""What can be told about containers on this machine. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pylxcfs.cgroup.types import Controller
from pylxcfs.diagnosis.finding import Finding, Verdict

#: What containers lose without each.
_LOST: Final = {
    Controller.MEMORY: "meminfo and swaps show the host",
    Controller.CPU: "quotas are not seen, and CPU time is the host's",
    Controller.CPUSET: "every CPU is shown",
    Controller.IO: "diskstats is empty",
}
_V1_NAMES: Final = {
    Controller.MEMORY: "memory",
    Controller.CPU: "cpu",
    Controller.CPUSET: "cpuset",
    Controller.IO: "blkio",
}


@dataclass(frozen=True, slots=True)
class CgroupFacts:
    """The hierarchies, and who answers for what."""

    #: ``v1`` or ``v2`` for each controller that any hierarchy answers for.
    versions: Mapping[Controller, str]
    #: Names of each v1 hierarchy's controllers are left out: whether there is any, and whether v2 is mounted.
    has_v1: bool
    has_v2: bool
    #: cgroup.controllers and cgroup.subtree_control at the top of v2.
    v2_available: frozenset[str] = frozenset()
    v2_enabled: frozenset[str] = frozenset()
    #: Controllers that /proc/cgroups calls disabled.
    disabled: frozenset[str] = frozenset()
    #: None: that cannot be told yet.
    swap_accounting: bool | None = True
    command_line: tuple[str, ...] = ()


def check(facts: CgroupFacts) -> Iterator[Finding]:
    """Judge layout, controllers and swap accounting."""
    layout = {
        (True, True): "hybrid (v1 and v2)",
        (True, False): "v1",
        (False, True): "v2",
    }.get((facts.has_v1, facts.has_v2), "none")
    if layout == "none":
        yield Finding(
            "cgroups",
            Verdict.FAIL,
            "no cgroup hierarchy is mounted here",
            "mount cgroup2 on /sys/fs/cgroup; in a container, pass the host's /sys/fs/cgroup in",
        )
        return
    answers = ", ".join(f"{c.value} {facts.versions[c]}" for c in Controller if c in facts.versions)
    yield Finding("cgroups", Verdict.OK, f"{layout}: {answers}")
    for controller, lost in _LOST.items():
        advice = _missing(facts, controller)
        if advice:
            yield Finding(
                f"cgroup {controller.value}", Verdict.WARN, f"not there for containers: {lost}", advice
            )
    if facts.swap_accounting is False:
        yield Finding(
            "swap accounting",
            Verdict.WARN,
            "the kernel does not count swap by container: containers have none",
            "boot with swapaccount=1 on the kernel's command line",
        )


def _missing(facts: CgroupFacts, controller: Controller) -> str:
    """Say what to do about a controller; empty where it is there."""
    v1_name, v2_name = _V1_NAMES[controller], controller.value
    version = facts.versions.get(controller)
    if version == "v1" or (version == "v2" and v2_name in facts.v2_enabled):
        return ""
    switches = [word for word in facts.command_line if word.startswith("cgroup_disable=")]
    if v1_name in facts.disabled or any(v1_name in word.partition("=")[2].split(",") for word in switches):
        word = next((word for word in switches if v1_name in word), "")
        off = f"take {word} from the kernel's command line" if word else "the kernel has it switched off"
        # Raspberry Pi OS and some others: off unless asked for.
        return f"{off}, or add cgroup_enable={v1_name}; then boot again"
    if facts.has_v2 and v2_name in facts.v2_available:
        return (
            f"echo +{v2_name} > cgroup.subtree_control at the top and in each group above the containers; "
            "systemd does it for units with accounting or limits"
        )
    if facts.has_v2 and not facts.has_v1:
        return f"cgroup.controllers does not list {v2_name}: a v1 hierarchy holds it, or the kernel lacks it"
    return f"mount its hierarchy: mount -t cgroup -o {v1_name} none /sys/fs/cgroup/{v1_name}"
