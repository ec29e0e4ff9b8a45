"""The invariants while everything changes: load of every kind, and limits set at random."""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support import load
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import CPU_TREE, Container, joining, pass_paths
from tests.support.daemon import Daemon
from tests.support.invariants import FACTS, PASS, History, check_alone, check_together
from tests.support.readings import meminfo, stat_cpus

#: Passes of each reader, with every file of `PASS` read in each.
_PASSES: Final = 150
_READERS: Final = 2
_CPU_SETS: Final = ("0", "1", "0-1") if len(os.sched_getaffinity(0)) > 1 else ("0",)
#: Prints each pass as one line: what the first file said before and after it, and the texts of the others.
_READER: Final = """
import json, sys
def read(path):
    with open(path) as file:
        return file.read()
while True:
    before = read(sys.argv[1])
    texts = [read(path) for path in sys.argv[2:]]
    print(json.dumps([before, read(sys.argv[1]), texts]), flush=True)
"""


def _change(group: Cgroup, above: Sequence[Cgroup], rng: random.Random) -> None:
    """Change one limit; cgroup v1 may refuse to go below what is in use."""
    match rng.randrange(6):
        case 0:
            group.set_memory(rng.randrange(40, 160) * MIB)
        case 1:
            group.set_swap(rng.randrange(100) * MIB)
        case 2:
            group.set_cpu_quota(rng.choice([None, 0.7, 1.0, 1.3, 1.9]))
        case 3:
            group.set_cpus(rng.choice(_CPU_SETS))
        case 4:
            # A sibling uses much of it too.
            rng.choice(above).set_memory(rng.randrange(90, 240) * MIB)
        case _:
            rng.choice(above).set_swap(rng.randrange(160) * MIB)


class Changes:
    """Limits that are changed again and again, and a file that says how often they were."""

    def __init__(self, group: Cgroup, above: Sequence[Cgroup], count_file: Path) -> None:
        """Change `group` and those `above`; `count_file` is a new file."""
        self._group = group
        self._above = above
        self._count_file = count_file
        self._count = 0
        self._stop = threading.Event()
        #: Set by readers after each pass.
        self.passed = [threading.Event() for _ in range(_READERS)]
        self._tell()

    def _tell(self) -> None:
        new = self._count_file.with_suffix(".new")
        new.write_text(str(self._count))
        new.rename(self._count_file)

    def _go_on(self) -> None:
        rng = random.Random(1)  # noqa: S311 - a sequence that can be repeated
        while not self._stop.is_set():
            for _ in range(rng.randrange(1, 6)):
                self._count += 1
                self._tell()
                with suppress(OSError):
                    _change(self._group, self._above, rng)
                self._stop.wait(rng.uniform(0, 0.02))
            self._count += 1
            self._tell()
            # Until every reader has done a whole pass in which nothing was changed.
            for _ in range(2):
                for passed in self.passed:
                    passed.clear()
                for passed in self.passed:
                    while not (passed.wait(0.1) or self._stop.is_set()):
                        pass

    @contextmanager
    def running(self) -> Iterator[None]:
        """Go on changing."""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self._go_on)
            try:
                yield
            finally:
                self._stop.set()
                done.result()


class Seen:
    """What the passes of one reader showed."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._history = History()
        self._values: dict[str, set[object]] = {}
        self.compared = 0

    def check(self, before: str, after: str, texts: list[str]) -> None:
        """Check one pass, and remember what says that there was load, and that limits changed."""
        readings = list(zip(PASS, texts, strict=True))
        check_alone(readings, some_hidden=True)
        self._history.check(readings)
        if before == after:
            self.compared += check_together(readings)
        fields = meminfo(texts[PASS.index("meminfo")])
        for name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree", "AnonPages", "Cached", "Shmem"):
            self._values.setdefault(name, set()).add(fields[name])
        self._values.setdefault("CPUs", set()).add(tuple(stat_cpus(texts[PASS.index("stat")])))

    @property
    def different(self) -> dict[str, int]:
        """How many different values each fact has had."""
        return {name: len(values) for name, values in self._values.items()}


@pytest.mark.usefixtures("swap")
def test_under_load_while_limits_change(
    start_daemon: Callable[..., Daemon],
    make_cgroup: Callable[..., Cgroup],
    make_container: Callable[..., Container],
    new_directory: Callable[[str], Path],
) -> None:
    """Nothing contradicts itself or another file, or goes back, in any of thousands of passes.

    The container is at the third level, and a sibling takes memory and swap from the limits of the two above.
    """
    daemon = start_daemon("--cache-ttl", "0")
    top = make_cgroup(Limits(memory=240 * MIB))
    middle = make_cgroup(Limits(memory=200 * MIB), parent=top)
    sibling = make_cgroup(Limits(memory=90 * MIB), parent=middle)
    own = make_cgroup(Limits(memory=96 * MIB), parent=middle)
    container = make_container(own, served=daemon.proc)
    paths = pass_paths(f"{daemon.mount_point}/{CPU_TREE}")
    python = (sys.executable, "-I", "-S")

    directory = new_directory("load")
    count_file = directory / "changes"
    changes = Changes(container.group, (top, middle), count_file)

    def read(number: int) -> Seen:
        seen = Seen()
        with container.start(*python, "-c", _READER, str(count_file), *paths) as reader:
            assert reader.stdout is not None
            for _ in range(_PASSES):
                seen.check(*json.loads(reader.stdout.readline()))
                changes.passed[number].set()
            reader.terminate()
        return seen

    with ExitStack() as stack:
        beside = new_directory("beside")
        stack.enter_context(
            subprocess.Popen(joining(sibling.directories, *python, load.__file__, str(beside)))
        )
        stack.callback(sibling.remove)
        stack.enter_context(container.start(*python, load.__file__, str(directory)))
        stack.callback(container.kill)
        stack.enter_context(changes.running())
        pool = stack.enter_context(ThreadPoolExecutor(_READERS))
        results = list(pool.map(read, range(_READERS)))
    for seen in results:
        assert seen.compared > _PASSES * FACTS // 4
        assert min(seen.different[name] for name in seen.different.keys() - {"CPUs"}) >= 10, seen.different
        assert seen.different["CPUs"] == len(_CPU_SETS)
