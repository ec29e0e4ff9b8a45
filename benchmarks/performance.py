"""Every target of pylxcfs' speed and size, measured beside lxcfs in one run: ``make bench``.

Run as root. Prints one table and writes it, with a plot, to docs/performance.md. Exit status 1 if a target
is missed.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks import compare
from benchmarks.compare import LXCFS, PYLXCFS, BenchmarkError, Daemon, Summary, ratio
from benchmarks.container import Container, ContainerError, Limits, running_container
from benchmarks.plot import bars
from pylxcfs.ctl.output import align
from tests.support.guest import run_in_guest

_DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
_MARK: Final = "<!-- make bench -->\n"
FILES: Final = (*compare.JUDGED_FILES, *compare.SHOWN_FILES)
_CROWD: Final = 500
_CROWD_SECONDS: Final = 8.0
_CROWD_ROUNDS: Final = 3
_PACE_MILLISECONDS: Final = 1000
_FRESH: Final = 40
_STARTS: Final = 7
_UNIFIED_ROUNDS: Final = 3
_UNIFIED_READS: Final = 300
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One target, and what was measured."""

    what: str
    bound: float
    measured: float
    unit: str = "times"
    #: Whether more is better.
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the target is met, to the digits that are shown."""
        measured = round(self.measured, 2)
        return measured >= self.bound if self.at_least else measured <= self.bound

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What is shown of it."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.met else "**missed**"
        return (
            self.what,
            f"{sign} {self.bound:g} {self.unit}",
            f"{self.measured:.2f} {self.unit}",
            verdict,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured."""

    rows: Sequence[Row]
    cached: Summary
    uncached: Summary
    crowded: Summary


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure pylxcfs beside lxcfs; as root.")
    parser.add_argument("--rounds", type=compare.positive, default=5, help="medians are taken (default 5)")
    parser.add_argument("--reads", type=compare.positive, default=1500, help="per file and round")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    for number in compare.STOP_SIGNALS:
        signal.signal(number, compare.stop_on_signal)
    try:
        compare.require_root()
        with compare.workspace() as directory:
            report = _measure(options, directory)
    except (BenchmarkError, ContainerError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"performance: {error}\n")
        return 2
    sys.stdout.write(_table(report.rows))
    if not options.no_docs:
        _write_docs(report)
    return int(not all(row.met for row in report.rows))


def _measure(options: argparse.Namespace, directory: Path) -> Report:
    def compared(name: str, threads: int, cache_ttl: float | None) -> Summary:
        where = directory / name
        where.mkdir()
        given = argparse.Namespace(
            rounds=options.rounds, reads=options.reads, threads=threads, cache_ttl=cache_ttl
        )
        return compare.benchmark(given, where)[0]

    cached = compared("cached", 1, None)
    uncached = compared("uncached", 1, 0.0)
    crowded = compared("crowded", 4, None)
    rows = [
        Row("cached, 1 reader, p50: geometric mean over files", 0.40, compare.mean_ratio(cached)),
        Row("… the slowest file", 0.75, _worst(cached, "p50_us")),
        Row("rendered at each read, 1 reader, p50: the slowest file", 0.90, _worst(uncached, "p50_us")),
        Row("first read in a container that is new, p50", 0.80, _first_read(directory)),
        Row("4 readers, reads/s: meminfo", 2.4, ratio(crowded, "meminfo", "reads_per_second"), at_least=True),
        Row("… uptime", 1.6, ratio(crowded, "uptime", "reads_per_second"), at_least=True),
        Row("4 readers, p99: the slowest file", 1.0, _worst(crowded, "p99_us")),
        Row("CPU time per read, cached", 0.5, compare.mean_ratio(cached, "cpu_seconds_per_100k_reads")),
        *_crowd_rows(directory),
        *_unified_rows(directory),
        Row("from exec to serving, median", 0.4, _start_seconds(directory), "s"),
    ]
    return Report(rows, cached, uncached, crowded)


def _worst(summary: Summary, value: str) -> float:
    return max(ratio(summary, file, value) for file in compare.JUDGED_FILES)


def _first_read(directory: Path) -> float:
    """Return the ratio of how long the very first read takes that a container and its process do."""
    where = directory / "first"
    where.mkdir()
    reader = compare.compile_program("reader", where)
    taken: dict[str, list[float]] = {LXCFS: [], PYLXCFS: []}
    with (
        compare.running_daemon(LXCFS, [compare.find_lxcfs()], where) as lxcfs,
        compare.running_daemon(PYLXCFS, compare.pylxcfs_command(where), where) as pylxcfs,
    ):
        for number in range(_FRESH):
            daemons = (lxcfs, pylxcfs) if number % 2 else (pylxcfs, lxcfs)
            with running_container(f"pylxcfs-benchmark-{os.getpid()}-{number}", Limits()) as container:
                for daemon in daemons:
                    seen = compare.read(container, reader, daemon.mount_point / "proc/meminfo", 1, 1)
                    taken[daemon.name].append(seen["p50_us"])
    return statistics.median(taken[PYLXCFS]) / statistics.median(taken[LXCFS])


def _crowd_rows(directory: Path) -> Iterator[Row]:
    """Measure many containers: reading once a second, and then only living."""
    where = directory / "crowd"
    where.mkdir()
    pacer = str(compare.compile_program("pacer", where))
    ratios = []
    # Containers come after the daemon: they have its mount from the beginning. Without the cache, on which a
    # single container that reads as often would live.
    with _crowd_daemon(where / "rendering", "--cache-ttl", "0") as (daemon, paths), _crowd() as containers:
        for _ in range(_CROWD_ROUNDS):
            with _pacers(containers[:1], [pacer, str(_PACE_MILLISECONDS // _CROWD), *paths]):
                single = _share_of_core(daemon)
            with _pacers(containers, [pacer, str(_PACE_MILLISECONDS), *paths]):
                ratios.append(_share_of_core(daemon) / single)
    with _crowd_daemon(where / "ordinary") as (daemon, paths), _crowd() as containers:
        with _pacers(containers, [pacer, str(_PACE_MILLISECONDS), *paths]):
            time.sleep(_CROWD_SECONDS)
            # Forked from one another, they share pages, which RSS counts several times.
            shared_out = sum(process.memory_full_info().pss for process in daemon.processes)
        # Each container's load is followed for a while after somebody has asked for it.
        idle = _share_of_core(daemon)
    yield Row(
        f"{_CROWD} containers reading all files at 1 Hz: CPU time, to a single one's that reads as much",
        1.2,
        statistics.median(ratios),
    )
    yield Row(f"{_CROWD} containers that are followed: CPU time", 2.0, idle * 100, "% of a core")
    yield Row(f"{_CROWD} containers: memory of all processes (Pss)", 75.0, shared_out / _MIB, "MiB")


@contextmanager
def _crowd_daemon(where: Path, *options: str) -> Iterator[tuple[Daemon, Sequence[str]]]:
    """Run pylxcfs, and name the files that are read."""
    where.mkdir()
    with compare.running_daemon(PYLXCFS, compare.pylxcfs_command(where, *options), where) as daemon:
        yield daemon, [str(daemon.mount_point / "proc" / file) for file in FILES]


def _share_of_core(daemon: Daemon) -> float:
    """Return how much of a processor a daemon needs, once it has seen everything."""
    time.sleep(3 * _PACE_MILLISECONDS / 1000)
    before, began = daemon.cpu_seconds(), time.monotonic()
    time.sleep(_CROWD_SECONDS)
    return (daemon.cpu_seconds() - before) / (time.monotonic() - began)


def _unified_rows(directory: Path) -> Iterator[Row]:
    """Measure on a kernel with cgroup v2 alone, one CPU for reader and daemons."""

    def compared(*options: str) -> Summary:
        given = ("--json", "--rounds", str(_UNIFIED_ROUNDS), "--reads", str(_UNIFIED_READS), *options)
        summary: Summary = json.loads(run_in_guest(directory, Path(compare.__file__), *given))["files"]
        return summary

    cached, uncached = compared(), compared("--cache-ttl", "0")
    mean = "p50: geometric mean over files"
    yield Row(f"cgroup v2 in user-mode-linux, cached, {mean}", 1.0, compare.mean_ratio(cached))
    yield Row(f"… rendered at each read, {mean}", 1.0, compare.mean_ratio(uncached))


@contextmanager
def _crowd() -> Iterator[list[Container]]:
    name = f"pylxcfs-benchmark-{os.getpid()}"
    with ExitStack() as stack:
        yield [stack.enter_context(running_container(f"{name}-{n}", Limits())) for n in range(_CROWD)]


@contextmanager
def _pacers(containers: Sequence[Container], command: Sequence[str]) -> Iterator[None]:
    processes = [container.start(command) for container in containers]
    try:
        yield
        if any(process.poll() is not None for process in processes):
            raise BenchmarkError("a reader has ended before its time")
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _start_seconds(directory: Path) -> float:
    """Return how long it takes from exec until the mount answers."""
    taken = []
    for number in range(_STARTS):
        where = directory / f"start-{number}"
        where.mkdir()
        began = time.monotonic()
        with compare.running_daemon(PYLXCFS, compare.pylxcfs_command(where), where, poll_seconds=0.002):
            taken.append(time.monotonic() - began)
    return statistics.median(taken)


def _table(rows: Sequence[Row]) -> str:
    head = ("target", "bound", "measured", "")
    cells = [head, *(row.cells for row in rows)]
    return "".join(f"{line}\n" for line in align(cells))


def _write_docs(report: Report) -> None:
    """Replace what follows the mark in docs/performance.md, and the plot beside it."""
    page = _DOCS / "performance.md"
    kept = page.read_text().partition(_MARK)[0]
    lines = [
        f"Measured on {time.strftime('%Y-%m-%d')}, {_machine()}.\n",
        "| target | bound | measured | |",
        "|---|---|---|---|",
        *("| " + " | ".join(row.cells) + " |" for row in report.rows),
        "\nMicroseconds per read (open, read to the end, close), p50, and pylxcfs' to lxcfs':\n",
        "| file | lxcfs | pylxcfs, cached | | rendered each time | | 4 readers: lxcfs/s | pylxcfs/s | |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_file_line(report, file) for file in FILES),
        "\n![p50 of pylxcfs as a share of lxcfs'](performance.svg)",
    ]
    page.write_text(kept + _MARK + "\n" + "\n".join(lines) + "\n")
    shares: Mapping[str, Sequence[float]] = {
        file: [ratio(report.cached, file, "p50_us"), ratio(report.uncached, file, "p50_us")] for file in FILES
    }
    (_DOCS / "performance.svg").write_text(
        bars(shares, ("cached", "rendered at each read"), "p50, lxcfs = 1")
    )


def _file_line(report: Report, file: str) -> str:
    cells = [
        file,
        f"{report.cached[file][LXCFS]['p50_us']:.0f}",
        f"{report.cached[file][PYLXCFS]['p50_us']:.0f}",
        f"{ratio(report.cached, file, 'p50_us'):.2f}",
        f"{report.uncached[file][PYLXCFS]['p50_us']:.0f}",
        f"{ratio(report.uncached, file, 'p50_us'):.2f}",
        f"{report.crowded[file][LXCFS]['reads_per_second']:,.0f}",
        f"{report.crowded[file][PYLXCFS]['reads_per_second']:,.0f}",
        f"{ratio(report.crowded, file, 'reads_per_second'):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _machine() -> str:
    cpus = psutil.cpu_count()
    versions = f"Python {platform.python_version()}, lxcfs {_lxcfs_version()}"
    return f"Linux {platform.release().partition('-')[0]}, {cpus} CPUs, {versions}"


def _lxcfs_version() -> str:
    done = subprocess.run([compare.find_lxcfs(), "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).split()[-1].strip('"')


if __name__ == "__main__":
    sys.exit(main())
