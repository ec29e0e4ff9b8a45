"""Containers that are born, read once and die: ``births.py SERVED COUNT MODE LIMIT PARENT…``; prints JSON.

Stands alone and makes processes by clone3(2): to start an interpreter for each would take longer than all
the rest. MODE ``same-pid`` gives every container's init the same pid on the host, ``any-pid`` what comes.
Each has a group below every PARENT, a directory; LIMIT is the file for memory's limit below the first one's.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

_CLONE_NEWNS, _CLONE_NEWPID = 0x20000, 0x20000000
_CLONE3: Final = 435
_MIB: Final = 1 << 20
#: Limits differ from one container to the next, and so do the answers.
_LIMITS: Final = 97
_MOST: Final = 100_000
_FILES: Final = ("stat", "loadavg", "uptime")
#: With the GIL held: the child must not wait for it.
_libc = ctypes.PyDLL(None, use_errno=True)


def _clone(init_pid: int) -> int:
    """Fork into new pid and mount namespaces; `init_pid` is the child's pid outside, 0 for any."""
    tids = (ctypes.c_int * 2)(1, init_pid)
    arguments = (ctypes.c_uint64 * 11)()
    arguments[0] = _CLONE_NEWNS | _CLONE_NEWPID
    arguments[4] = signal.SIGCHLD
    if init_pid:
        arguments[8], arguments[9] = ctypes.addressof(tids), len(tids)
    pid = int(_libc.syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    return pid


def _live(served: Path, groups: list[str], out: int) -> NoReturn:
    """Join the groups, read, and tell what was seen and which namespaces these are."""
    try:
        for group in groups:
            Path(group, "cgroup.procs").write_text("0")
        total = int((served / "meminfo").read_text().split()[1]) * 1024
        last_pid = 0
        for name in _FILES:
            text = (served / name).read_text()
            if name == "loadavg":
                last_pid = int(text.split()[-1])
        namespaces = [os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("pid", "mnt")]
        os.write(out, json.dumps([total, last_pid, *namespaces]).encode())
    finally:
        os._exit(0)


def _free_pid() -> int:
    """Return a pid that nobody else will get before all others were given out."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def main() -> None:
    """Let them live one after the other."""
    served, count, mode, limit_file, *parents = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    init_pid = _free_pid() if mode == "same-pid" else 0
    wrong: list[object] = []
    pids, namespaces = set[int](), set[tuple[int, ...]]()
    started = time.monotonic()
    number = 0
    # A namespace's number is free once nobody remembers it: on and on, until one has come again.
    while number < count or len(namespaces) == number < _MOST:
        # A name is used again now and then, as container ids are not, but pods' and services' are.
        groups = [f"{parent}/birth{number % 5}" for parent in parents]
        for group in groups:
            Path(group).mkdir()
        limit = (10 + number % _LIMITS) * _MIB
        Path(groups[0], limit_file).write_text(str(limit))
        hear, say = os.pipe()
        pid = _clone(init_pid)
        if not pid:
            _live(served, groups, say)
        os.close(say)
        with os.fdopen(hear) as answer:
            text = answer.read()
        os.waitpid(pid, 0)
        seen = json.loads(text) if text else [0, 0]
        if seen[:2] != [limit, 1]:
            wrong.append([number, limit, seen])
        pids.add(pid)
        namespaces.add(tuple(seen[2:]))
        for group in groups:
            Path(group).rmdir()
        number += 1
    report = {
        "births": number,
        "wrong": wrong[:5],
        "pids": len(pids),
        "namespaces": len(namespaces),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report))  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
