"""Mutation test: prints which small changes of the code no unit test notices.

``make mutants``, or ``python -m benchmarks.mutants --help``. Works in copies of the tree, never in the tree.

A sample of the changes that `benchmarks.mutations` finds is tried. For each, the tests that execute the
changed line run, the most specific first, until one fails. Mutmut and Cosmic Ray were considered: both run
every mutation of a file or none, each against the whole suite. A sample over many modules against the tests
that reach each line takes minutes instead of hours.
"""

import argparse
import ast
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NoReturn

import pytest

from benchmarks.mutations import Mutation, count_mutations, mutate

_TREE: Final = Path(__file__).resolve().parent.parent
_TESTS: Final = "tests/unit"
#: What `tests/unit` should hold without the slower tests.
_MODULES: Final = (
    "pylxcfs/accounting",
    "pylxcfs/cgroup",
    "pylxcfs/containers",
    "pylxcfs/content/service.py",
    "pylxcfs/content/viewbuilder.py",
    "pylxcfs/fuse",
    "pylxcfs/procfiles",
    "pylxcfs/supervision/crash_loop.py",
    "pylxcfs/view",
)
#: A change can make an endless loop, or one that needs all memory.
_SECONDS: Final = 120.0
_MEMORY: Final = 2 << 30
_PYTEST: Final = ("-x", "-q", "--no-header", "-p", "no:cacheprovider")
#: Of modules in `_IMPORTED_ONCE`.
_KNOWN_WARNING: Final = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
#: Each run of tests begins as a fork of a process that has imported what takes long and is not ours: to start
#: an interpreter for each takes three times as long as most tests do.
_FORKING: Final = multiprocessing.get_context("forkserver")
_IMPORTED_ONCE: Final = ("hypothesis", "pyfuse3", "pytest", "pytest_trio")

#: Tells coverage which test is run, its fixtures included.
_PLUGIN: Final = "mutants_reach"
_PLUGIN_SOURCE: Final = """
import coverage, pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    coverage.Coverage.current().switch_context(item.nodeid.partition("[")[0])
    return (yield)
"""


class MutantsError(Exception):
    """The tests cannot be run as they are; one line for the user."""


@dataclass(frozen=True, slots=True)
class _Mutant:
    """A change of one file of the tree."""

    path: str
    mutation: Mutation

    def __str__(self) -> str:
        return f"{self.path}:{self.mutation.line}: {self.mutation.before}  ->  {self.mutation.after}"


@dataclass(frozen=True, slots=True)
class _Reach:
    """Which tests execute which lines."""

    #: File, then line, then tests.
    by_line: Mapping[str, Mapping[int, Sequence[str]]]
    #: How many lines a test executes: the fewer, the more specific it is, and quick.
    breadth: Mapping[str, int]
    #: What each file of tests imports.
    imports: Mapping[str, frozenset[str]]

    def tests_of(self, path: str, line: int) -> list[str]:
        """Return the tests that execute a line; of one executed at import, all that use the module."""
        lines = self.by_line.get(path, {})
        tests = set(lines.get(line, ()))
        if not tests:
            module = path.removesuffix(".py").replace("/", ".")
            tests = {test for each in lines.values() for test in each}
            tests |= {file for file, imported in self.imports.items() if module in imported}
        return sorted(tests, key=lambda test: (self.breadth.get(test, sys.maxsize), test))


def main() -> int:
    """Try a sample of mutations; return 1 if the tests fail without any."""
    options = _parse_options()
    _FORKING.set_forkserver_preload([*_IMPORTED_ONCE])
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pylxcfs-mutants-") as directory:
        copies = [_copy_tree(Path(directory) / str(number)) for number in range(options.jobs)]
        try:
            reach = _measure_reach(copies[0])
            if not _passes([min(reach.breadth, key=reach.breadth.__getitem__)], copies[0]):
                raise MutantsError("a test fails as it is run here, without any change")
            sample = _sample(copies[0], options.modules, options.count, options.seed)
            print(f"{len(sample)} mutations, seed {options.seed}", flush=True)
            survivors = _try_all(sample, reach, copies)
        except MutantsError as error:
            print(f"mutants: {error}", file=sys.stderr)
            return 1
    print(f"{len(survivors)} of {len(sample)} survive; {time.monotonic() - began:.0f} s")
    return 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="mutations to try (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="at the same time (%(default)s)")
    parser.add_argument("modules", nargs="*", default=_MODULES, help="files and directories to change")
    return parser.parse_args()


def _copy_tree(to: Path) -> Path:
    shutil.copytree(
        _TREE, to, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info"), symlinks=True
    )
    return to


def _sample(tree: Path, modules: Iterable[str], count: int, seed: int) -> list[_Mutant]:
    files = sorted({file for module in modules for file in _python_files(tree / module)})
    every = [(file, number) for file in files for number in range(count_mutations(file.read_text()))]
    if not every:
        raise MutantsError("nothing to change there")
    chosen = random.Random(seed).sample(every, min(count, len(every)))  # noqa: S311 - not for secrets
    return [_Mutant(str(file.relative_to(tree)), mutate(file.read_text(), number)) for file, number in chosen]


def _python_files(path: Path) -> Iterator[Path]:
    yield from path.rglob("*.py") if path.is_dir() else (path,)


def _measure_reach(tree: Path) -> _Reach:
    """Run all tests once, unchanged; raises MutantsError if one fails."""
    settings = tree / "coverage.ini"
    settings.write_text("[run]\nsource = pylxcfs\nrelative_files = true\n")
    (tree / f"{_PLUGIN}.py").write_text(_PLUGIN_SOURCE)
    coverage = (sys.executable, "-m", "coverage")
    begin = [*coverage, "run", f"--rcfile={settings}", "-m", "pytest", "-p", _PLUGIN, *_PYTEST, _TESTS]
    run = subprocess.run(begin, cwd=tree, env=_environment(tree), capture_output=True, text=True, check=False)
    if run.returncode:
        raise MutantsError(f"the tests fail without any change:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    report = tree / "coverage.json"
    write = [*coverage, "json", f"--rcfile={settings}", "-q", "--show-contexts", "-o", str(report)]
    subprocess.run(write, cwd=tree, env=_environment(tree), check=True)
    by_line: dict[str, dict[int, list[str]]] = {}
    breadth: dict[str, int] = {}
    for path, file in json.loads(report.read_text())["files"].items():
        lines = by_line[path] = {}
        for line, contexts in file["contexts"].items():
            lines[int(line)] = [context for context in contexts if context]
            for test in lines[int(line)]:
                breadth[test] = breadth.get(test, 0) + 1
    files = [file.relative_to(tree) for file in sorted((tree / _TESTS).glob("test_*.py"))]
    return _Reach(by_line, breadth, {str(file): _imports((tree / file).read_text()) for file in files})


def _imports(source: str) -> frozenset[str]:
    """Return the modules that a module may import, each name of a `from` being one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def _environment(tree: Path) -> dict[str, str]:
    """Import from the copy; byte code of a changed file must not outlive the change."""
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def _try_all(sample: Sequence[_Mutant], reach: _Reach, copies: Sequence[Path]) -> list[_Mutant]:
    """Return the mutants that no test notices."""
    free: SimpleQueue[Path] = SimpleQueue()
    for tree in copies:
        free.put(tree)

    def survives(mutant: _Mutant) -> bool:
        tree = free.get()
        try:
            alive = _survives(mutant, reach, tree)
        finally:
            free.put(tree)
        if alive:
            print(f"survives: {mutant}", flush=True)
        return alive

    with ThreadPoolExecutor(len(copies)) as pool:
        return [mutant for mutant, alive in zip(sample, pool.map(survives, sample), strict=True) if alive]


def _survives(mutant: _Mutant, reach: _Reach, tree: Path) -> bool:
    tests = reach.tests_of(mutant.path, mutant.mutation.line)
    if not tests:
        return True
    file = tree / mutant.path
    original = file.read_text()
    file.write_text(mutant.mutation.source)
    try:
        return _passes(tests, tree)
    finally:
        file.write_text(original)


def _passes(tests: Sequence[str], tree: Path) -> bool:
    """Tell whether all these tests pass, within bounds of time and memory."""
    running = _FORKING.Process(target=_run_tests, args=(tests, tree))
    running.start()
    running.join(_SECONDS)
    if running.pid is not None and running.is_alive():
        os.killpg(running.pid, signal.SIGKILL)
        running.join()
    return running.exitcode == 0


def _run_tests(tests: Sequence[str], tree: Path) -> NoReturn:
    """Be the process that runs these tests of a copy."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.chdir(tree)
    os.environ.update(_environment(tree))
    sys.path.insert(0, str(tree))
    sys.dont_write_bytecode = True
    with open(os.devnull, "r+") as nothing:  # noqa: PTH123 - three descriptors
        for standard in range(3):
            os.dup2(nothing.fileno(), standard)
    sys.exit(pytest.main([*_PYTEST, "-W", _KNOWN_WARNING, *tests]))


if __name__ == "__main__":
    sys.exit(main())
