"""Turns the table of intended differences into docs/compatibility.md."""

from typing import Final

from tests.compat.rows import BOTH, ROWS, Row

_HEAD: Final = """\
# Differences from lxcfs

pylxcfs takes lxcfs' command line and tree, and means to show the same numbers. Where it does not, it is
one of these. This page is generated from the table that the test-suite compares by
(`tests/compat/rows.py`; `pytest tests/compat/test_document.py --update-golden`). The tests
run lxcfs 5.0.3 (Debian 12) beside pylxcfs and ask dozens of containers through both. They fail on any
field of any file that differs and is not listed here, on a row for which no difference was seen, and on
a difference where what pylxcfs shows is not what the container's cgroup, its configuration or the
definition says.

lxcfs runs with `-l`, once with `--enable-cfs` and once with `-u`; pylxcfs once with its defaults and
once with `--disable-cfs -u`. *cgroup* is where the difference was seen. Later releases of lxcfs differ
from 5.0.3 in some of these: lxcfs 6 shows swap on cgroup v2, leaves shared memory out of MemAvailable
and refuses to write.

| file | field | cgroup | lxcfs shows | pylxcfs shows | why |
|---|---|---|---|---|---|
"""


def document() -> str:
    """Return the whole page."""
    return _HEAD + "".join(map(_line, ROWS))


def _line(row: Row) -> str:
    file = "every file" if row.file == "*" else f"`{row.file.removeprefix('proc/')}`"
    cgroup = "v1, v2" if row.layouts == BOTH else row.layouts[0]
    return f"| {' | '.join((file, ', '.join(row.fields), cgroup, row.lxcfs, row.pylxcfs, row.why))} |\n"
