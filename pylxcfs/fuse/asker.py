"""What the gate knows of a request, and pyfuse3 does not tell its handlers."""

from typing import Protocol

from pylxcfs.fuse.counts import RequestCounts
from pylxcfs.fuse.frames import Header


class Asker(Protocol):
    """Where requests come from."""

    @property
    def header(self) -> Header:
        """The request that is being answered."""

    @property
    def is_doubted(self) -> bool:
        """Whether servers have died of that request."""

    @property
    def asked_handle(self) -> int | None:
        """The open file that a GETATTR is about, if it says so."""

    @property
    def counts(self) -> RequestCounts:
        """How requests were answered."""

    def open_way_out(self) -> None:
        """Do what has to be done before an answer is given."""
