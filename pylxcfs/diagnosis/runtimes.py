"""What starts containers here, and which of our files it lets be bound. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pylxcfs.diagnosis.finding import Finding, Verdict

#: runc's list of what may be bound over below /proc has grown (libcontainer/rootfs_linux.go).
_SINCE: Final = (((1, 0, 0, 6), "proc/loadavg"), ((1, 0, 0, 93), "proc/slabinfo"))
_RUNC: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-rc\.?(\d+))?")
_RELEASED: Final = 1000


@dataclass(frozen=True, slots=True)
class Runtime:
    """A program found through PATH."""

    name: str
    #: Its first word that looks like one; empty if it did not say.
    version: str


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """What is installed, and what runs."""

    installed: Sequence[Runtime] = ()
    #: Sockets at which a runtime listens.
    sockets: Sequence[str] = ()


def check(facts: RuntimeFacts, bindable: Sequence[str], refused: Sequence[str]) -> Iterator[Finding]:
    """Judge what runc lets be bound: `bindable` of what we serve, and not `refused`."""
    if not facts.installed and not facts.sockets:
        yield Finding("runtimes", Verdict.OK, "no container runtime found")
        return
    names = [f"{each.name} {each.version}".strip() for each in facts.installed]
    sockets = f"; sockets: {', '.join(facts.sockets)}" if facts.sockets else ""
    yield Finding("runtimes", Verdict.OK, f"{', '.join(names) or 'none in PATH'}{sockets}")
    runc = next((each for each in facts.installed if each.name == "runc"), None)
    if runc is None:
        return
    lacking = [path for since, path in _SINCE if _parse(runc.version) < since]
    if lacking:
        yield Finding(
            "runc",
            Verdict.WARN,
            f"runc {runc.version} refuses binds over {_listed(lacking)}, and the container does not start",
            "leave these out of the -v options, or update runc",
        )
    let = [path for path in bindable if path not in lacking]
    yield Finding(
        "allow-list",
        Verdict.OK,
        f"runc lets be bound over: {_listed(let)}; not {_listed(refused)}"
        if refused
        else f"runc lets be bound over: {_listed(let)}",
    )


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(path.removeprefix("proc/") for path in paths)


def _parse(version: str) -> tuple[int, int, int, int]:
    found = _RUNC.match(version)
    if found is None:
        return (_RELEASED, 0, 0, 0)
    major, minor, patch, candidate = found.groups()
    return (int(major), int(minor), int(patch), int(candidate) if candidate else _RELEASED)
