"""lxcfs and pylxcfs side by side on one machine, and containers that look at both."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.compat.configurations import V1, V2, Configuration, Use, fitting
from tests.compat.fields import PARSERS, parse
from tests.compat.sight import Container, Kernel, Options, Shown
from tests.support.cgroups import Cgroup, cgroup
from tests.support.container import Container as Running
from tests.support.container import container
from tests.support.daemon import lxcfs, pylxcfs
from tests.support.waiting import wait_for

_PROBE: Final = Path(__file__).with_name("probe.py")
_numbers: Final = itertools.count()
#: What the cgroup says of a file's numbers: by layout, controller and names.
_MEMORY: Final = {
    V1: ("memory", ("memory.usage_in_bytes", "memory.memsw.usage_in_bytes", "memory.stat")),
    V2: ("memory", ("memory.current", "memory.stat", "memory.swap.current")),
}
_CPU: Final = {V1: ("cpuacct", ("cpuacct.usage", "cpuacct.usage_all")), V2: ("cpu", ("cpu.stat",))}
_IO: Final = {
    V1: ("io", ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive")),
    V2: ("io", ("io.stat",)),
}
_SOURCES: Final[Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]]] = {
    "proc/meminfo": _MEMORY,
    "proc/swaps": _MEMORY,
    "proc/stat": _CPU,
    "proc/uptime": _CPU,
    "proc/loadavg": _CPU,
    "proc/diskstats": _IO,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Both daemons, told the same."""

    options: Options
    theirs: Path
    ours: Path


class Subject:
    """A container that has done what it was configured to do, and looks when asked."""

    def __init__(
        self,
        laboratory: "Laboratory",
        configuration: Configuration,
        group: Cgroup,
        inside: Running,
        probe: subprocess.Popen[str],
    ) -> None:
        """Talk to the program that runs inside."""
        self._laboratory = laboratory
        self._configuration = configuration
        self._probe = probe
        self._process = psutil.Process(inside.init_pid)
        sources = {file: by_layout[laboratory.layout] for file, by_layout in _SOURCES.items()}
        self._kernel = {
            file: {name: str(group.path(controller) / name) for name in names}
            for file, (controller, names) in sources.items()
        }
        memory, names = sources["proc/meminfo"]
        around = group.path(memory).parent
        limit = "memory.limit_in_bytes" if laboratory.layout == V1 else "memory.max"
        for name in (*names, limit):
            for file in ("proc/meminfo", "proc/swaps"):
                self._kernel[file][f"around {name}"] = str(around / name)
        # Read from here: inside, tasks of other pid namespaces have no number.
        self._tasks = group.path("cpu") / ("tasks" if laboratory.layout == V1 else "cgroup.threads")
        self._opened: dict[Options, tuple[Kernel, Kernel]] = {}

    def _ask(self, task: str, *arguments: object) -> dict[str, Any]:
        """Let the container do something."""
        stdin, stdout = self._probe.stdin, self._probe.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([task, arguments]) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"{self._configuration}: {task} ended the container"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def use(self, use: Use) -> None:
        """Use what the configuration says."""
        scratch = self._laboratory.directory / "scratch"
        tasks: dict[str, tuple[str, tuple[object, ...]]] = {
            "fill": ("anonymous", ()),
            "reread": ("reread", ()),
            "lock": ("locked", ()),
            "huge": ("huge", ()),
            "share": ("shared", ()),
            "cache": ("cached", (f"{scratch}-cached",)),
            "disk": ("disk", (self._laboratory.disk,)),
            "dirty": ("dirty", (f"{scratch}-dirty",)),
            "burn": ("busy", ()),
            "spend": ("spent", ()),
        }
        for task, (name, arguments) in tasks.items():
            if amount := getattr(use, name):
                self._ask(task, *arguments, amount)

    def wait_for_age(self, seconds: float) -> None:
        """Return once the container is that old."""
        wait_for("the container has aged", lambda: time.time() - self._process.create_time() > seconds)

    def look(self, pair: Pair, files: Sequence[str]) -> list[Shown]:
        """Look at files of both daemons once."""
        layout = self._laboratory.layout
        trees = {"host": self._laboratory.host, "theirs": pair.theirs, "ours": pair.ours}
        where = {name: str(tree) for name, tree in trees.items()}
        if pair.options not in self._opened:
            kernels = self._ask("observe", where, ["proc/stat"], self._kernel)["files"]["proc/stat"]["kernel"]
            self._opened[pair.options] = (Kernel(layout, kernels[0]), Kernel(layout, kernels[1]))
        seen = self._ask("observe", where, files, self._kernel)
        about = Container(
            configuration=self._configuration,
            layout=layout,
            options=pair.options,
            init=seen["init"],
            last_pid=seen["last pid"],
            host_cpus=tuple(sorted(os.sched_getaffinity(0))),
            tasks=tuple(map(int, self._tasks.read_text().split())),
            opened=self._opened[pair.options],
        )
        return [_shown(name, about, seen["files"][name]) for name in files]


def _shown(name: str, about: Container, seen: Mapping[str, Any]) -> Shown:
    our_attributes, their_attributes = (
        {key: {"": value} for key, value in attributes.items()} for attributes in seen["attributes"]
    )
    first, last = ({**parse(name, text), **their_attributes} for text in seen["theirs"])
    before, after = (parse(name, text) for text in seen["host"])
    kernels = [Kernel(about.layout, texts) for texts in seen["kernel"]]
    texts = {"lxcfs": seen["theirs"][0], "pylxcfs": seen["ours"], "host": seen["host"][0]}
    ours = {**parse(name, seen["ours"]), **our_attributes}
    return Shown(name, about, ours, (first, last), (before, after), (kernels[0], kernels[1]), texts)


@dataclass(frozen=True, slots=True)
class Laboratory:
    """The daemons, and where containers are made."""

    layout: str
    token: str
    directory: Path
    #: A tree with the host's own /proc and /sys.
    host: Path
    #: What containers may write past the page cache.
    disk: str
    pairs: tuple[Pair, ...]

    @property
    def files(self) -> list[str]:
        """Name the files that both serve."""
        pair = self.pairs[0]
        return [
            name
            for name in PARSERS
            if all((tree / name).exists() for tree in (self.host, pair.theirs, pair.ours))
        ]

    @contextmanager
    def subject(self, configuration: Configuration) -> Iterator[Subject]:
        """Run a container as configured."""
        configuration = fitting(configuration, self.layout)
        with (
            # lxcfs goes on with what it knows of a name, so none is used twice.
            cgroup(f"{self.token}-{next(_numbers)}", configuration.around) as around,
            cgroup("own", configuration.own, parent=around) as group,
            container(self.host, group, files=()) as inside,
            inside.start(sys.executable, "-I", "-S", str(_PROBE)) as probe,
        ):
            assert probe.stdin is not None
            around.count_requests(self.directory)
            if configuration.background:
                weight = {"cpu.shares": "2"} if self.layout == V1 else {"cpu.weight": "1"}
                for file, value in weight.items():
                    (around.path("cpu") / file).write_text(value)
            subject = Subject(self, configuration, group, inside, probe)
            try:
                subject.use(configuration.use)
                yield subject
            finally:
                probe.stdin.close()


@contextmanager
def laboratory(layout: str, token: str, directory: Path, disk: str = "") -> Iterator[Laboratory]:
    """Start lxcfs and pylxcfs, once with CPU quotas and swap shown and once without."""
    with ExitStack() as stack:
        host = directory / "host"
        host.mkdir()
        (host / "sys").symlink_to("/sys")
        (host / "proc").mkdir()
        subprocess.run(["mount", "-t", "proc", "proc", host / "proc"], check=True)
        stack.callback(lambda: subprocess.run(["umount", host / "proc"], check=True))
        pairs = []
        for options, their_words, our_words in (
            (Options(cfs=True, swap=True), ("-l", "--enable-cfs"), ()),
            (Options(cfs=False, swap=False), ("-l", "-u"), ("--disable-cfs", "-u")),
        ):
            mounts = [directory / f"{name}-{options.cfs}" for name in ("lxcfs", "pylxcfs")]
            for mount in mounts:
                mount.mkdir()
            stack.enter_context(lxcfs(mounts[0], *their_words))
            stack.enter_context(pylxcfs(mounts[1], "--cache-ttl", "0", *our_words))
            pairs.append(Pair(options, mounts[0], mounts[1]))
        yield Laboratory(layout, token, directory, host, disk or str(directory / "disk"), tuple(pairs))
