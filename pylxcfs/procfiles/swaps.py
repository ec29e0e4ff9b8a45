"""Render /proc/swaps: one area as large as the swap that the container may use (proc_swaps(5))."""

from collections.abc import Iterator
from typing import Final

from pylxcfs.procfiles.field import Field, Part, Rule, columns
from pylxcfs.view.formula import terms_of
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import ResourceView

_TERMS: Final = terms_of(MemoryView)
#: -2 is what the kernel gives to the first area that asked for no priority (swapon(2)).
_PRIORITY: Final = b"-2"
COLUMNS: Final = {
    "Filename": Field(Rule.ZERO, "there is no file or device that the container could see"),
    "Type": Field(Rule.ZERO, "swap of an amount, not of a place"),
    "Size": Field(Rule.COMPUTED, _TERMS["swap_total"].words, _TERMS["swap_total"].formula, term="swap_total"),
    "Used": Field(Rule.COMPUTED, _TERMS["swap_taken"].words, _TERMS["swap_taken"].formula, term="swap_taken"),
    "Priority": Field(Rule.ZERO, "what the first area gets that asked for none (swapon(2))"),
}
_HEADER: Final = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
#: A number this long reaches the next tab stop by itself.
_WIDE_KIB: Final = 10_000_000


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's header, and a line for the swap that meminfo tells of, if any."""
    memory = view.memory
    header = host.swaps.partition(b"\n")[0]
    text = header + b"\n" if header else _HEADER
    total = memory.swap_total >> 10
    if not total:
        return text
    cells = (_cell(total), _cell(memory.swap_taken >> 10), _PRIORITY)
    return text + b"%-40bvirtual\t\t%b%b%b\n" % (b"none", *cells)


def split(text: bytes) -> Iterator[Part]:
    """Yield the columns of each area; a name that was deleted has a space in it."""
    for line in text.decode(errors="replace").split("\n")[1:]:
        words = line.rsplit(maxsplit=len(COLUMNS) - 1)
        yield from columns("", words, COLUMNS)


def _cell(kib: int) -> bytes:
    """Pad a number to the next column, as the kernel does."""
    return b"%d\t" % kib if kib >= _WIDE_KIB else b"%d\t\t" % kib
