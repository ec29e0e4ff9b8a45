"""Names that a container may give to whatever it names, to be shown to root."""

from typing import Final

#: Line ends, escape sequences of both kinds, a bell, a change of direction, what is not seen or no text.
HOSTILE_NAMES: Final = (
    "x\nforged-container  /proc/meminfo  alive  nothing",
    "x\rforged",
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31mred",
    "\x85next line",
    "\u202egnp.exe\u2066",
    "\u200binvisible\u00ad\ufeff",
    "\u2028line\u2029paragraph",
    "\x7f\x08\x0b\x0c",
    "\udcff\udc80",
    "\U000e0041tag",
)


def is_harmless(line: str) -> bool:
    """Tell whether a line, without its end, can be shown: one line, of characters that are seen."""
    return line.isprintable()
