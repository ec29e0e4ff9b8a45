"""The status document: what a server tells of itself and of what it has done since it began. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

from pylxcfs.content.counters import CLASSES, FileCounters

#: What a status document is: keys may be added, a changed meaning needs a new number.
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file, since the server began. Times are from the question to the content, the kernel's left out."""

    requests: int = 0
    hits: int = 0
    mean_seconds: float = 0.0
    #: Estimated within a power of two.
    p50_seconds: float = 0.0
    p99_seconds: float = 0.0
    max_seconds: float = 0.0

    @property
    def hit_rate(self) -> float:
        """The share of requests that needed no rendering."""
        return self.hits / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class FallbackStatus:
    """A file that could not be rendered, so that its fallback was served (docs/adr/0005-fallbacks.md)."""

    file: str
    why: str
    count: int


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What a server tells of itself; with its defaults where another version of it does not tell."""

    version: str = ""
    pid: int = 0
    generation: int = 0
    #: Seconds since the epoch: since when everything here is counted.
    began_at: float = 0.0
    #: Everybody sees the host, for whatever reason.
    host_view: bool = False
    #: Since when the serving thread has not been through its loop; 0 in health.
    unresponsive_seconds: float = 0.0
    containers: int = 0
    open_files: int = 0
    #: FUSE requests by the name of their opcode.
    requests: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, FileStatus] = field(default_factory=dict)
    fallbacks: Sequence[FallbackStatus] = ()
    #: Readers that could not be told apart, and so saw the host.
    unresolved: int = 0
    #: Readers who could not be told from others for want of descriptors or memory, and so saw what their
    #: container is by all that is known.
    guessed: int = 0
    #: Answers that were an error, by its name.
    refused: Mapping[str, int] = field(default_factory=dict)
    #: Requests that failed for a mistake of ours, and were answered with EIO.
    failed: int = 0
    #: What the CPU ledgers take of the runtime directory, bytes.
    ledger_bytes: int = 0
    #: Containers whose CPU ledger has no room there (docs/adr/0003-cpu-counters-as-a-ledger.md).
    unkept_ledgers: int = 0
    #: Reads in pieces that have no room there, or had to make way, since the server began.
    lost_reads: int = 0
    #: Containers whose load is followed, and those whose tasks nobody has counted to the end yet.
    followed_loads: int = 0
    estimated_loads: int = 0

    def document(self) -> dict[str, Any]:
        """Return what JSON can be made of."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_document(cls, document: Any) -> Self:  # noqa: ANN401 - JSON
        """Read what a server of any version has told; raises ValueError."""
        try:
            if document["schema"] != SCHEMA:
                raise ValueError(f"the server tells status {document['schema']}, known is {SCHEMA}")
            known = _known(cls, document)
            known["files"] = {
                path: FileStatus(**_known(FileStatus, file)) for path, file in document["files"].items()
            }
            known["fallbacks"] = tuple(
                FallbackStatus(**_known(FallbackStatus, each)) for each in document["fallbacks"]
            )
            return cls(**known)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a status: {error!r}") from error


def summarize(counters: Sequence[FileCounters]) -> FileStatus:
    """Add up counters of one file."""
    classes = [sum(each.classes[n] for each in counters) for n in range(CLASSES)]
    requests = sum(classes)
    if not requests:
        return FileStatus()
    longest_ns = max(each.longest_ns for each in counters)
    return FileStatus(
        requests=requests,
        # A request that is being answered at this moment may be a hit already.
        hits=min(requests, sum(each.hits for each in counters)),
        mean_seconds=sum(each.total_ns for each in counters) / requests / 1e9,
        p50_seconds=min(quantile(classes, 0.5), longest_ns) / 1e9,
        p99_seconds=min(quantile(classes, 0.99), longest_ns) / 1e9,
        max_seconds=longest_ns / 1e9,
    )


def quantile(classes: Sequence[int], share: float) -> float:
    """Return below how many nanoseconds `share` of the requests were, taken as even within their class."""
    rank = share * sum(classes)
    before = 0
    for bits, count in enumerate(classes):
        if count and before + count >= rank:
            lowest = math.ldexp(1, bits - 1) if bits else 0.0
            return lowest + (math.ldexp(1, bits) - lowest) * (rank - before) / count
        before += count
    return 0.0


def _known(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what only a later version tells."""
    return {each.name: document[each.name] for each in fields(kind) if each.name in document}
