"""Compare pylxcfs with lxcfs: both serve the same container on the same machine in the same run.

Run as root: ``python -m benchmarks.compare``. ``benchmarks/README.md`` says how to read the table.
"""

import argparse
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from benchmarks.container import Container, ContainerError, Limits, running_container
from pylxcfs.linux.mountinfo import parse_mountinfo

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HERE: Final = Path(__file__).resolve().parent
LXCFS: Final = "lxcfs"
PYLXCFS: Final = "pylxcfs"
JUDGED_FILES: Final = ("meminfo", "cpuinfo", "stat", "uptime", "swaps", "diskstats")
#: Measured, but without a verdict and not part of the mean: lxcfs passes the host's file through.
SHOWN_FILES: Final = ("loadavg",)
WARM_UP_READS: Final = 50
CPU_SECONDS_PER_READS: Final = 100_000
START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.02
SLOWEST_READ_SECONDS: Final = 0.02


class BenchmarkError(Exception):
    """The benchmark cannot be run, or left something behind; one line for the user."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon under test and where it is mounted."""

    name: str
    process: psutil.Popen
    mount_point: Path

    @property
    def processes(self) -> list[psutil.Process]:
        """The daemon and all that it has started."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Sum the CPU time of the daemon with all its threads and child processes, also the reaped ones."""
        total = 0.0
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # user, system, and both of reaped children
        return total


@dataclass(slots=True)
class Samples:
    """What was measured for one file of one daemon, one entry per round."""

    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    reads_per_second: list[float] = field(default_factory=list)
    bytes: int = 0
    reads: int = 0
    cpu_seconds: float = 0.0

    def summary(self) -> dict[str, float]:
        """Reduce the rounds to their medians."""
        return {
            "p50_us": statistics.median(self.p50_us),
            "p99_us": statistics.median(self.p99_us),
            "reads_per_second": statistics.median(self.reads_per_second),
            "cpu_seconds_per_100k_reads": self.cpu_seconds * CPU_SECONDS_PER_READS / self.reads,
            "bytes": self.bytes,
        }


#: File name, daemon name, value name.
Summary = Mapping[str, Mapping[str, Mapping[str, float]]]


def main() -> int:
    """Run the benchmark; return the exit status."""
    options = parse_arguments()
    for number in STOP_SIGNALS:
        signal.signal(number, stop_on_signal)
    try:
        require_root()
        with workspace() as directory:
            summary, throttled = benchmark(options, directory)
    except (BenchmarkError, ContainerError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"compare: {error}\n")
        return 1
    if options.json:
        document = {
            "options": vars(options),
            "geometric_mean_of_ratios": mean_ratio(summary),
            "files": summary,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write(table(summary))
    if throttled:
        sys.stderr.write(f"compare: readers waited for their CPU quota in {throttled} periods\n")
    return 0


def require_root() -> None:
    """Refuse to run as anybody else."""
    if os.geteuid() != 0:
        raise BenchmarkError("mounting and making cgroups needs root")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Compare pylxcfs with lxcfs on this machine (as root).")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds; medians are shown (default 5)")
    parser.add_argument(
        "--reads", type=positive, default=2000, help="per thread, file and round (default 2000)"
    )
    parser.add_argument("--threads", type=positive, default=1, help="concurrent readers (default 1)")
    parser.add_argument("--cache-ttl", type=float, metavar="SECONDS", help="given to pylxcfs; 0: no caching")
    parser.add_argument("--json", action="store_true", help="print all values as JSON instead of a table")
    return parser.parse_args()


def positive(text: str) -> int:
    """Convert a command-line value to a number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def stop_on_signal(number: int, _frame: FrameType | None) -> None:
    """Leave through every ``finally``, which a second signal must not cut short."""
    for each in STOP_SIGNALS:
        signal.signal(each, lambda *_: None)
    raise SystemExit(128 + number)


def benchmark(options: argparse.Namespace, directory: Path) -> tuple[Summary, int]:
    """Start everything, measure, stop everything; return the medians and the number of throttled periods."""
    reader = compile_program("reader", directory)
    ttl = () if options.cache_ttl is None else ("--cache-ttl", str(options.cache_ttl))
    pylxcfs = pylxcfs_command(directory, *ttl)
    name = f"pylxcfs-benchmark-{os.getpid()}"
    limits = Limits()
    # The container comes last: its mount namespace has a copy of what is mounted when it starts.
    with (
        running_daemon(LXCFS, [find_lxcfs()], directory) as lxcfs_daemon,
        running_daemon(PYLXCFS, pylxcfs, directory) as pylxcfs_daemon,
        running_container(name, limits) as container,
    ):
        daemons = (lxcfs_daemon, pylxcfs_daemon)
        for daemon in daemons:
            check_container_view(daemon, container, limits)
        samples = measure(daemons, container, reader, options)
        throttled = container.throttled_periods()
    return {
        file: {daemon: one.summary() for daemon, one in of_file.items()} for file, of_file in samples.items()
    }, throttled


def pylxcfs_command(directory: Path, *options: str) -> list[str]:
    """Spell the command that runs pylxcfs with its own files below `directory`."""
    runtime = directory / "run"
    runtime.mkdir()
    return [sys.executable, "-m", "pylxcfs.cli", "--runtime-dir", str(runtime), *options]


def compile_program(name: str, directory: Path) -> Path:
    """Compile ``NAME.c`` into `directory`."""
    program = directory / name
    source = HERE / f"{name}.c"
    subprocess.run(["cc", "-O2", "-pthread", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)
    return program


def find_lxcfs() -> str:
    """Find the lxcfs to compare with."""
    found = shutil.which(LXCFS)
    if not found:
        raise BenchmarkError("lxcfs is not installed (Debian: apt-get install lxcfs)")
    return found


def measure(
    daemons: Sequence[Daemon], container: Container, reader: Path, options: argparse.Namespace
) -> Mapping[str, Mapping[str, Samples]]:
    """Read every file through both daemons, alternating, for all rounds."""
    files = JUDGED_FILES + SHOWN_FILES
    samples = {file: {daemon.name: Samples() for daemon in daemons} for file in files}
    for daemon in daemons:
        for file in files:
            read(container, reader, daemon.mount_point / "proc" / file, WARM_UP_READS, options.threads)
    for round_number in range(options.rounds):
        # Whoever comes second may find a warmer or a more tired machine: take turns.
        order = daemons if round_number % 2 == 0 else tuple(reversed(daemons))
        for file in files:
            for daemon in order:
                one = samples[file][daemon.name]
                before = daemon.cpu_seconds()
                result = read(
                    container, reader, daemon.mount_point / "proc" / file, options.reads, options.threads
                )
                one.cpu_seconds += daemon.cpu_seconds() - before
                one.reads += options.reads * options.threads
                one.p50_us.append(result["p50_us"])
                one.p99_us.append(result["p99_us"])
                one.reads_per_second.append(result["reads_per_second"])
                one.bytes = int(result["bytes"])
    return samples


def read(container: Container, reader: Path, path: Path, reads: int, threads: int) -> Mapping[str, float]:
    """Let the reader read one file inside the container."""
    timeout = START_SECONDS + reads * threads * SLOWEST_READ_SECONDS
    output = container.run([str(reader), str(path), str(reads), str(threads)], timeout)
    result: Mapping[str, float] = json.loads(output)
    return result


def check_container_view(daemon: Daemon, container: Container, limits: Limits) -> None:
    """Make sure that the daemon shows the container and not the host: passing a file through is cheaper."""
    text = container.run(["cat", str(daemon.mount_point / "proc/meminfo")], START_SECONDS)
    expected = limits.memory_bytes // 1024
    if text.split()[:2] != ["MemTotal:", str(expected)]:
        first_line = text.partition("\n")[0]
        raise BenchmarkError(f"{daemon.name} does not show {expected} kB of memory but: {first_line}")


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a temporary directory, and remove it unless something is still mounted in it."""
    directory = Path(tempfile.mkdtemp(prefix="pylxcfs-benchmark-"))
    try:
        yield directory
    finally:
        left = mounts_below(directory)
        if left:
            raise BenchmarkError(f"still mounted: {', '.join(map(str, left))}")
        shutil.rmtree(directory)


@contextmanager
def running_daemon(
    name: str, command: Sequence[str], directory: Path, poll_seconds: float = POLL_SECONDS
) -> Iterator[Daemon]:
    """Start a daemon and wait until its mount answers; stop it and unmount whatever happens."""
    mount_point = directory / name
    mount_point.mkdir()
    log = directory / f"{name}.log"
    with log.open("wb") as log_file:
        process = psutil.Popen(
            [*command, "-p", str(directory / f"{name}.pid"), str(mount_point)],
            cwd=HERE.parent,  # `-m pylxcfs.cli` then works in a checkout that is not installed
            # An installed package has its byte code.
            env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this program, which stops the daemons in order
        )
    daemon = Daemon(name, process, mount_point)
    try:
        wait_until_serving(daemon, log, poll_seconds)
        yield daemon
    finally:
        stop(daemon)


def wait_until_serving(daemon: Daemon, log: Path, poll_seconds: float) -> None:
    """Wait until the mount answers a read."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if daemon.process.poll() is not None:
            message = (
                f"{daemon.name} ended with status {daemon.process.returncode}:\n{log.read_text().strip()}"
            )
            raise BenchmarkError(message)
        if mounts_below(daemon.mount_point):
            # In another process: a mount that hangs must not take this one with it.
            command = ["cat", str(daemon.mount_point / "proc/uptime")]
            with suppress(subprocess.TimeoutExpired):
                if subprocess.run(command, capture_output=True, timeout=1, check=False).stdout:
                    return
        time.sleep(poll_seconds)
    raise BenchmarkError(f"{daemon.name} does not serve:\n{log.read_text().strip()}")


def stop(daemon: Daemon) -> None:
    """End the daemon, its children too, and take away a mount that it left."""
    alive: list[psutil.Process] = []
    if daemon.process.poll() is None:
        alive = daemon.processes
        daemon.process.terminate()
        _gone, alive = psutil.wait_procs(alive, timeout=STOP_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    for mount_point in mounts_below(daemon.mount_point):
        subprocess.run(["umount", "--lazy", str(mount_point)], check=False)


def mounts_below(directory: Path) -> list[Path]:
    """List what is mounted at or below a directory, the latest mount first."""
    table = parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())
    return [each.mount_point for each in reversed(table) if each.mount_point.is_relative_to(directory)]


def mean_ratio(summary: Summary, value: str = "p50_us") -> float:
    """Compute the geometric mean of pylxcfs' value to lxcfs' over the judged files."""
    return math.exp(statistics.fmean(math.log(ratio(summary, file, value)) for file in JUDGED_FILES))


def ratio(summary: Summary, file: str, value: str) -> float:
    """Divide pylxcfs' value by lxcfs'."""
    lxcfs = summary[file][LXCFS][value]
    return summary[file][PYLXCFS][value] / lxcfs if lxcfs else math.nan


def table(summary: Summary) -> str:
    """Lay out the medians as text."""
    values = (
        ("p50_us", "p50 µs", 1),
        ("p99_us", "p99 µs", 1),
        ("reads_per_second", "reads/s", 0),
        ("cpu_seconds_per_100k_reads", "CPU s per 100,000 reads", 2),
    )
    head = f"{'':<10}" + "".join(f" │{title:^25}" for _value, title, _digits in values)
    names = f"{'file':<10}" + f" │{LXCFS:>9}{PYLXCFS:>9}{'ratio':>7}" * len(values)
    lines = [head, names, "─" * len(names)]
    for file in JUDGED_FILES + SHOWN_FILES:
        line = f"{file:<10}"
        for value, _title, digits in values:
            both = (f"{summary[file][name][value]:>9,.{digits}f}" for name in (LXCFS, PYLXCFS))
            line += f" │{''.join(both)}{ratio(summary, file, value):>7.2f}"
        lines.append(f"{line}  {verdict(summary, file)}".rstrip())
    lines.append(
        f"geometric mean of the p50 ratios without {', '.join(SHOWN_FILES)}: {mean_ratio(summary):.2f}"
    )
    return "\n".join(lines) + "\n"


def verdict(summary: Summary, file: str) -> str:
    """Say who reads faster by p50."""
    if file in SHOWN_FILES:
        return "(not judged)"
    return "faster" if ratio(summary, file, "p50_us") <= 1 else "SLOWER"


if __name__ == "__main__":
    sys.exit(main())
