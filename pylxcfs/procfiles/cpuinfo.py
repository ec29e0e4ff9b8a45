"""Render /proc/cpuinfo: the processors that the container sees (proc_cpuinfo(5)).

Processors keep the kernel's numbers, which are those of sched_getaffinity(2): the picture of a machine
whose other processors are absent; or they are numbered from 0 (``--cpu-numbering compact``). Each
architecture writes the file in its own way (arch/*/kernel):

- a paragraph for each processor, and on some one more for the machine, in front or at the end;
- 32-bit ARM before Linux 3.8 and MIPS: the machine's lines in front of the first processor, in its paragraph;
- arm64 before Linux 3.19, s390x: a line for each processor, between the machine's lines. s390x counts them in
  ``# processors``, and since Linux 4.6 has a paragraph ``cpu number`` for each besides.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pylxcfs.procfiles.field import CPU_FILES, Field, Part, Rule
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_PARAGRAPH: Final = re.compile(rb"(?:processor|cpu number)[\t ]*: *(\d{1,9})\b")
_LINE: Final = re.compile(rb"^processor(?:[\t ]*: *(\d{1,9})|[\t ]+(\d{1,9}):.*)(?:\n|\Z)", re.MULTILINE)
_NAMED: Final = re.compile(rb"^processor(?:[\t ]*: *(\d{1,9})|[\t ]+(\d{1,9}):)", re.MULTILINE)
_COUNT: Final = re.compile(rb"^(# processors *: )\d+", re.MULTILINE)


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return what the host says of the visible processors, and what it says of none."""
    shown = dict(zip(view.kernel_cpus, view.cpus, strict=True))
    kept = []
    in_front = b""
    for paragraph in host.cpuinfo.split(b"\n\n"):
        processor = _PARAGRAPH.match(paragraph)
        if processor is None:
            machine, text = _without_hidden(paragraph, shown)
            if machine:
                in_front = machine
            else:
                kept.append(text)
        elif (number := shown.get(int(processor[1]))) is not None:
            kept.append(in_front + _numbered(processor, number) + paragraph[processor.end() :])
            in_front = b""
    text = b"\n\n".join(kept)
    # Where the last processor is hidden and nothing follows it, its line's end went with it.
    return text if not text or text.endswith(b"\n") else text + b"\n"


FIELDS: Final = {
    "processor": Field(
        Rule.COMPUTED,
        "the visible CPUs: the effective cpuset, cut to as many as the quota is worth",
        "first max(1, ceil(quota / period)) of (cpuset and online)",
        CPU_FILES,
    ),
    "other lines": Field(Rule.HOST_WIDE, "properties of the processors that are visible, and of the machine"),
}


def split(text: bytes) -> Iterator[Part]:
    """Yield which processors are named, and how many lines there are besides."""
    numbers = [match[1] or match[2] for match in _NAMED.finditer(text)]
    yield Part("processor", b" ".join(numbers).decode(), FIELDS["processor"])
    others = sum(bool(line) for line in text.split(b"\n")) - len(numbers)
    yield Part("other lines", str(others), FIELDS["other lines"])


def _numbered(found: re.Match[bytes], number: int) -> bytes:
    """Return the text that was found with `number` in place of the processor's."""
    start, end = (place - found.start() for place in found.span(found.lastindex or 0))
    text = found[0]
    return text if int(text[start:end]) == number else b"%b%d%b" % (text[:start], number, text[end:])


def _without_hidden(paragraph: bytes, shown: Mapping[int, int]) -> tuple[bytes, bytes]:
    """Return lines that the next paragraph follows, or a paragraph that is not, or not only, of one CPU."""
    lines = list(_LINE.finditer(paragraph))
    if not lines:
        return b"", paragraph
    numbers = [shown.get(int(line[1] or line[2])) for line in lines]
    if len(lines) == 1 and lines[0][1] is not None and numbers[0] is None:
        return paragraph[: lines[0].start()], b""
    each = iter(numbers)
    text = _LINE.sub(
        lambda line: b"" if (number := next(each)) is None else _numbered(line, number), paragraph
    )
    if not paragraph.endswith(b"\n"):
        text = text.removesuffix(b"\n")
    return b"", _COUNT.sub(rb"\g<1>%d" % (len(numbers) - numbers.count(None)), text)
