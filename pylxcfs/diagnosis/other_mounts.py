"""Other servers of such files: lxcfs, other lxcfs mounts. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pylxcfs.diagnosis.finding import Finding, Verdict, first_of


@dataclass(frozen=True, slots=True)
class OtherFacts:
    """What else serves here."""

    #: Processes called lxcfs.
    lxcfs_pids: Sequence[int] = ()
    #: Mounts of our file system's type that are not ours: where, and what they are called.
    mounts: Sequence[tuple[str, str]] = ()


def check(facts: OtherFacts) -> Iterator[Finding]:
    """Judge whether containers may have another's files."""
    if not facts.lxcfs_pids and not facts.mounts:
        yield Finding("other lxcfs mounts", Verdict.OK, "nothing else serves such files")
        return
    pids = f"lxcfs runs (pid {', '.join(map(str, facts.lxcfs_pids))})" if facts.lxcfs_pids else ""
    mounts = first_of([f"{source} on {where}" for where, source in facts.mounts])
    yield Finding(
        "other lxcfs mounts",
        Verdict.WARN,
        "; ".join(filter(None, (pids, f"mounted besides ours: {mounts}" if mounts else ""))),
        "containers show what they were bound to. "
        + (
            "pylxcfsctl replace-lxcfs puts pylxcfs in the place of lxcfs"
            if facts.lxcfs_pids
            else "pylxcfsctl reattach --take-over puts ours there, unless that is another pylxcfs"
        ),
    )
