"""Render /proc/cpuinfo: the processors that the container sees (proc_cpuinfo(5)).

Processors keep the kernel's numbers, which are those of sched_getaffinity(2): the picture of a machine
whose other processors are absent. Each architecture writes the file in its own way (arch/*/kernel):

- a paragraph for each processor, and on some one more for the machine, in front or at the end;
- 32-bit ARM before Linux 3.8 and MIPS: the machine's lines in front of the first processor, in its paragraph;
- arm64 before Linux 3.19, s390x: a line for each processor, between the machine's lines. s390x counts them in
  ``# processors``, and since Linux 4.6 has a paragraph ``cpu number`` for each besides.
"""

import re
from collections.abc import Container
from typing import Final

from pylxcfs.host import HostSnapshot
from pylxcfs.view import ResourceView

_PARAGRAPH: Final = re.compile(rb"(?:processor|cpu number)[\t ]*: *(\d+)")
_LINE: Final = re.compile(rb"^processor(?:[\t ]*: *(\d+)|[\t ]+(\d+):.*)(?:\n|\Z)", re.MULTILINE)
_COUNT: Final = re.compile(rb"^(# processors *: )\d+", re.MULTILINE)
_END: Final = b"\n\n"


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return what the host says of the visible processors, and what it says of none."""
    visible = view.cpu.times
    parts = []
    for paragraph in host.cpuinfo.split(_END):
        processor = _PARAGRAPH.match(paragraph)
        if processor is None or b"\nprocessor" in paragraph:
            parts.append(_without_hidden(paragraph, visible))
        elif int(processor[1]) in visible:
            parts.append(paragraph + _END)
    text = b"".join(parts).rstrip(b"\n")
    return text and text + host.cpuinfo[len(host.cpuinfo.rstrip(b"\n")) :]


def _without_hidden(paragraph: bytes, visible: Container[int]) -> bytes:
    """Return a paragraph that is not, or not only, about one processor."""
    lines = list(_LINE.finditer(paragraph))
    if not lines:
        return paragraph + _END
    shown = [int(line[1] or line[2]) in visible for line in lines]
    if len(lines) == 1 and lines[0][1] is not None:
        # What stands in front is the machine's: the next processor follows it.
        return paragraph + _END if shown[0] else paragraph[: lines[0].start()]
    keep = iter(shown)
    paragraph = _LINE.sub(lambda line: line[0] if next(keep) else b"", paragraph).rstrip(b"\n")
    return _COUNT.sub(rb"\g<1>%d" % sum(shown), paragraph) + _END
