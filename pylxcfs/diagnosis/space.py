"""Is there room for what is remembered? Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.status.document import ServerStatus

#: Less than this, and the next thing that is to be remembered may not be.
_LITTLE: Final = 1 << 20
_KIB: Final = 1024
_ADVICE: Final = (
    "make room there (mount -o remount,size=… makes a tmpfs larger), or choose another --runtime-dir"
)


@dataclass(frozen=True, slots=True)
class SpaceFacts:
    """The runtime directory."""

    directory: str
    #: What our files there take, bytes.
    taken: int
    #: What its file system has left for us, bytes.
    left: int
    #: Whether another file can be made.
    has_names: bool = True


def check(facts: SpaceFacts, server: ServerStatus | None) -> Iterator[Finding]:
    """Judge the room that is left, and what a server could not keep."""
    told = f"{facts.directory}: ours takes {facts.taken // _KIB} KiB, {facts.left // _KIB} KiB are left"
    if facts.left < _LITTLE or not facts.has_names:
        lost = "what cannot be remembered there is lost when a server is replaced"
        yield Finding("space", Verdict.WARN, f"{told}; {lost}", _ADVICE)
    else:
        yield Finding("space", Verdict.OK, told)
    if server is not None and server.unkept_ledgers:
        yield Finding(
            "ledgers",
            Verdict.WARN,
            f"CPU counters of {server.unkept_ledgers} containers have no room, and may go back",
            _ADVICE,
        )
    if server is not None and server.lost_reads:
        yield Finding(
            "half-read files",
            Verdict.WARN,
            f"{server.lost_reads} reads in pieces were not kept: their readers may see two states of a file",
            "if that many are usual here, nothing is wrong; one container that does it can lose its own only",
        )
