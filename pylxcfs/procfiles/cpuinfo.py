"""Render /proc/cpuinfo: the processors that the container sees (proc_cpuinfo(5)).

Processors keep the kernel's numbers, which are those of sched_getaffinity(2): the picture of a machine
whose other processors are absent.
"""

import re
from typing import Final

from pylxcfs.host import HostSnapshot
from pylxcfs.view import ResourceView

_PROCESSOR: Final = re.compile(rb"processor[\t ]*: *(\d+)")


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's blocks of the visible processors, and what belongs to no processor."""
    visible = view.cpu.times
    head = _PROCESSOR.match
    # Blocks end with an empty line; what follows the last one (ARM: Hardware, Serial) is a block too.
    text = b"\n\n".join(
        block
        for block in host.cpuinfo.split(b"\n\n")
        if (processor := head(block)) is None or int(processor[1]) in visible
    )
    # Where the last processor is dropped and nothing followed it, its line's end went with it.
    return text if not text or text.endswith(b"\n") else text + b"\n"
