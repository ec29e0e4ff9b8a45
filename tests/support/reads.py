"""Reads files again and again: ``reads.py COUNT FILE...``; prints how often, and how often it went wrong.

Stands alone, and is quick: one read in ten opens the file, the others begin a new pass.
"""

import os
import sys
from typing import Final

_REOPEN: Final = 10
_SIZE: Final = 1 << 16


def main() -> None:
    """Read."""
    count, names = int(sys.argv[1]), sys.argv[2:]
    fds: dict[str, int] = {}
    first_total: bytes | None = None
    done = wrong = 0
    while done < count:
        for name in names:
            if done % _REOPEN < len(names) and name in fds:
                os.close(fds.pop(name))
            fd = fds.get(name)
            if fd is None:
                fd = fds[name] = os.open(name, os.O_RDONLY)
            content = os.pread(fd, _SIZE, 0)
            if content[:9] == b"MemTotal:":
                # The limit does not change meanwhile.
                total = content[: content.index(b"\n")]
                first_total = first_total or total
                wrong += total != first_total
            wrong += content[-1:] != b"\n"
            done += 1
    print(done, wrong)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
