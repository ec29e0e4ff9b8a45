"""What running containers have of our files. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pylxcfs.containers.name import Name
from pylxcfs.diagnosis.finding import Finding, Verdict, first_of
from pylxcfs.reattach.survey import State


@dataclass(frozen=True, slots=True)
class BindFact:
    """One of our files in one container."""

    container: Name
    pid: int
    target: str
    state: State


@dataclass(frozen=True, slots=True)
class BindFacts:
    """All of them, and how many containers run."""

    binds: Sequence[BindFact]
    #: Mount namespaces that are not the host's, with a pid namespace of their own.
    containers: int
    #: What our mount is, having been asked: binds of it are called alive by their number only.
    mount: State = State.ALIVE


#: Readers get errors, or wait for ever. By what the bind is, and what our mount is.
_ADVICE: Final[Mapping[State, Mapping[State, str]]] = {
    State.DEAD: {
        State.ALIVE: "pylxcfsctl reattach",
        State.DEAD: "start pylxcfs, then pylxcfsctl reattach; "
        "or pylxcfsctl detach for the kernel's own files",
        State.UNRESPONSIVE: "get the mount to answer, then pylxcfsctl reattach; "
        "or pylxcfsctl detach for the kernel's own files",
    },
    State.UNRESPONSIVE: {
        State.ALIVE: "pylxcfsctl reattach --take-over puts ours in their place",
        State.DEAD: "pylxcfsctl detach for the kernel's own files",
        State.UNRESPONSIVE: "get the mount to answer; pylxcfsctl detach gives the kernel's back until then",
    },
}
_MEANING: Final = {
    State.DEAD: "files that are dead (Transport endpoint is not connected)",
    State.UNRESPONSIVE: "files of a server that does not answer",
}


def check(facts: BindFacts) -> Iterator[Finding]:
    """Judge the binds that readers have trouble with, and count the rest."""
    having: set[tuple[Name, int]] = set()
    troubled: defaultdict[State, defaultdict[tuple[Name, int], int]] = defaultdict(lambda: defaultdict(int))
    for bind in facts.binds:
        state = facts.mount if bind.state is State.ALIVE else bind.state
        having.add((bind.container, bind.pid))
        if state in _MEANING:
            troubled[state][bind.container, bind.pid] += 1
    for state, counts in troubled.items():
        named = [f"{_call(*container)} ({count})" for container, count in counts.items()]
        yield Finding(
            f"{state.value} binds",
            Verdict.FAIL,
            f"containers with {_MEANING[state]}: {len(counts)}, namely {first_of(named)}",
            _ADVICE[state][facts.mount],
        )
    well = len(having - {container for counts in troubled.values() for container in counts})
    without = max(0, facts.containers - len(having))
    yield Finding(
        "binds",
        Verdict.OK,
        f"containers with our files, all alive: {well}; with none of them: {without}",
    )


def _call(name: Name, pid: int) -> str:
    return name.short or f"pid {pid} {name.cgroup}"
