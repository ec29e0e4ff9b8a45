"""What a server leaves for the one after it, should a request be its end, and knows from those before."""

from collections.abc import Container
from typing import NamedTuple


class Suspicion(NamedTuple):
    """Where the number of the present request is noted, and those that servers have died of."""

    #: Its first element; shared with the supervisor.
    noted: memoryview
    doubted: Container[int] = frozenset()


def nothing_suspected() -> Suspicion:
    """Return a note that nobody reads, and no request that is doubted."""
    return Suspicion(memoryview(bytearray(8)).cast("Q"))
