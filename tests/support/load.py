"""Load of every kind in a container: ``load.py DIRECTORY`` goes on until it is killed.

Stands alone, for containers where nothing else can be imported.
"""

import mmap
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

_MIB: Final = 1 << 20
_PAGE: Final = 4096
#: Beats everything else when memory is short, so that nothing else is killed.
_FIRST_TO_BE_KILLED: Final = "1000"
_LOWEST_PRIORITY: Final = 19


def _touch(memory: mmap.mmap) -> None:
    for offset in range(0, len(memory), _PAGE):
        memory[offset] = 1 + offset % 251


def _hog(rng: random.Random, flags: int) -> None:
    held: list[mmap.mmap] = []
    while True:
        if held and rng.random() < len(held) / 8:
            held.pop(rng.randrange(len(held))).close()
        else:
            held.append(mmap.mmap(-1, rng.randrange(1, 6) * _MIB, flags=flags | mmap.MAP_ANONYMOUS))
            _touch(held[-1])
        time.sleep(0.005)


def _anonymous(rng: random.Random, directory: Path) -> None:
    del directory
    _hog(rng, mmap.MAP_PRIVATE)


def _shared(rng: random.Random, directory: Path) -> None:
    del directory
    _hog(rng, mmap.MAP_SHARED)


def _files(rng: random.Random, directory: Path) -> None:
    while True:
        file = directory / str(rng.randrange(4))
        file.write_bytes(rng.randbytes(_PAGE) * rng.randrange(1000))
        file.read_bytes()
        time.sleep(0.005)


def _burn(rng: random.Random, directory: Path) -> None:
    del rng, directory
    while True:
        pass


def _forks(rng: random.Random, directory: Path) -> None:
    del directory
    while True:
        children = [os.fork() or os._exit(0) for _ in range(rng.randrange(1, 12))]
        for child in children:
            os.waitpid(child, 0)
        time.sleep(0.005)


KINDS: Final[Sequence[Callable[[random.Random, Path], None]]] = (_anonymous, _shared, _files, _burn, _forks)


def _start(kind: int, seed: int, directory: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_BE_KILLED)
        os.nice(_LOWEST_PRIORITY)
        KINDS[kind](random.Random(seed), directory)  # noqa: S311 - a load that can be repeated
    finally:
        os._exit(1)


def run(directory: Path) -> NoReturn:
    """Run one process of each kind, and another in place of each that is killed for want of memory."""
    running = {_start(kind, kind, directory): kind for kind in range(len(KINDS))}
    seed = len(KINDS)
    while True:
        ended, _ = os.wait()
        kind = running.pop(ended)
        running[_start(kind, seed, directory)] = kind
        seed += 1


if __name__ == "__main__":
    run(Path(sys.argv[1]))
