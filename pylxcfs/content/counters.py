"""How often files were asked for, and how long that took. Pure.

Counters are plain integers without a lock: the serving thread counts, other threads read, and what they see
is at most a request old.
"""

from typing import Final

#: More than the bit length of any time in nanoseconds.
CLASSES: Final = 64


class FileCounters:
    """How often somebody asked for a file, and how long that took."""

    __slots__ = ("classes", "hits", "longest_ns", "total_ns")

    def __init__(self) -> None:
        """Begin at 0."""
        #: Requests answered with content that had been rendered before.
        self.hits = 0
        #: Requests by the bit length of their nanoseconds: class n is less than 2**n.
        self.classes = [0] * CLASSES
        self.total_ns = 0
        self.longest_ns = 0

    def add(self, elapsed_ns: int) -> None:
        """Count one request."""
        self.classes[elapsed_ns.bit_length()] += 1
        self.total_ns += elapsed_ns
        self.longest_ns = max(self.longest_ns, elapsed_ns)
