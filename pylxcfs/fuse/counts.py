"""How requests were answered. Written by the serving thread, read by others."""

from collections import Counter
from dataclasses import dataclass, field

from pylxcfs.fuse.frames import Opcode


@dataclass(slots=True)
class RequestCounts:
    """Counted since the server began."""

    #: How often each opcode was asked for, by opcode; what is unknown is not counted.
    requests: list[int] = field(default_factory=lambda: [0] * (max(Opcode) + 1))
    #: How often an errno was the answer to what is known.
    refused: Counter[int] = field(default_factory=Counter)
    #: How often it was EIO for a mistake of ours.
    failed: int = 0
