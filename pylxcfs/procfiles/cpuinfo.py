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

from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_PARAGRAPH: Final = re.compile(rb"(?:processor|cpu number)[\t ]*: *(\d{1,9})\b")
_LINE: Final = re.compile(rb"^processor(?:[\t ]*: *(\d{1,9})|[\t ]+(\d{1,9}):.*)(?:\n|\Z)", re.MULTILINE)
_COUNT: Final = re.compile(rb"^(# processors *: )\d+", re.MULTILINE)


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return what the host says of the visible processors, and what it says of none."""
    visible = frozenset(view.cpus)
    kept = []
    in_front = b""
    for paragraph in host.cpuinfo.split(b"\n\n"):
        processor = _PARAGRAPH.match(paragraph)
        if processor is None:
            machine, text = _without_hidden(paragraph, visible)
            if machine:
                in_front = machine
            else:
                kept.append(text)
        elif int(processor[1]) in visible:
            kept.append(in_front + paragraph if in_front else paragraph)
            in_front = b""
    text = b"\n\n".join(kept)
    # Where the last processor is hidden and nothing follows it, its line's end went with it.
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _without_hidden(paragraph: bytes, visible: Container[int]) -> tuple[bytes, bytes]:
    """Return lines that the next paragraph follows, or a paragraph that is not, or not only, of one CPU."""
    lines = list(_LINE.finditer(paragraph))
    if not lines:
        return b"", paragraph
    shown = [int(line[1] or line[2]) in visible for line in lines]
    if len(lines) == 1 and lines[0][1] is not None:
        return (b"", paragraph) if shown[0] else (paragraph[: lines[0].start()], b"")
    keep = iter(shown)
    text = _LINE.sub(lambda line: line[0] if next(keep) else b"", paragraph)
    if not paragraph.endswith(b"\n"):
        text = text.removesuffix(b"\n")
    return b"", _COUNT.sub(rb"\g<1>%d" % sum(shown), text)
