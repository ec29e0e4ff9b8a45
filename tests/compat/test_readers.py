"""Whatever copies a file copies all of it: the table of readers in docs/consumers.md."""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.compat.readers import CUT, NOTHING, READERS, REFUSED, WHOLE, Reader
from tests.support.daemon import REPOSITORY, Daemon
from tests.support.manycpus import SeemingCpus

pytestmark = pytest.mark.needs("busybox", "toybox", "cpio", "rsync", "java", "node")

_PAGE: Final = REPOSITORY / "docs/consumers.md"
_TABLE: Final = re.compile(r"^\| reader \|.*?(?=^$)", re.MULTILINE | re.DOTALL)
#: Of reading 90,000 bytes for ever, some Node.js and Java.
_HANGS_SECONDS: Final = 600


def _outcome(reader: Reader, source: Path, directory: Path) -> str:
    """Have a reader copy a file that does not change meanwhile; tell what came of it."""
    directory.mkdir()
    copy = directory / "copy"
    expected = source.read_bytes()
    done = subprocess.run(
        [*reader.command, source, copy],
        cwd=REPOSITORY,
        env={**os.environ, **dict(reader.environment)},
        check=False,
        capture_output=True,
        timeout=_HANGS_SECONDS,
    )
    if done.returncode:
        return REFUSED if done.returncode > 0 else f"ended by signal {-done.returncode}"
    copied = copy.read_bytes() if copy.exists() else b""
    if copied == expected:
        return WHOLE
    return NOTHING if not copied else CUT if expected.startswith(copied) else "other"


def _differences(
    sources: Iterable[Path], directory: Path, outcome: Callable[[Reader], str]
) -> Mapping[str, str]:
    found = {}
    for source in sources:
        for number, reader in enumerate(READERS):
            seen = _outcome(reader, source, directory / f"{source.name}{number}")
            if seen != outcome(reader):
                found[f"{reader.name} of {source.name}"] = seen
    return found


def test_readers(
    start_daemon: Callable[..., Daemon], new_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    """Of 64 CPUs, far longer than a page, and of an uptime."""
    shared = new_directory("many")
    (shared / "mount").mkdir()
    within = SeemingCpus.all_of(64).entering(new_directory("cpus"), shared, {})
    daemon = start_daemon("--cache-ttl", "3600", mount_point=shared / "mount", within=within)
    sources = [daemon.proc / name for name in ("cpuinfo", "uptime")]
    assert [True, False] == [len(source.read_bytes()) > 16 * 4096 for source in sources]
    assert {} == _differences(sources, tmp_path, lambda reader: reader.outcome.ours)


def test_readers_of_the_kernels_own(tmp_path: Path) -> None:
    """The table says what they see there."""
    assert {} == _differences([Path("/proc/version")], tmp_path, lambda reader: reader.outcome.kernels)


def _table() -> str:
    lines = [
        "| reader | of pylxcfs' files | of the kernel's own /proc | why they differ |",
        "|---|---|---|---|",
    ]
    for reader in READERS:
        ours, kernels, why = reader.outcome
        assert bool(why) == (ours != kernels), reader
        lines.append(f"| `{reader.name}` | {ours} | {kernels} | {why} |")
    return "\n".join(lines) + "\n"


def test_the_page_has_the_table(request: pytest.FixtureRequest) -> None:
    """It is written from what the tests compare by."""
    text = _PAGE.read_text()
    written = _TABLE.sub(lambda _: _table(), text)
    if request.config.getoption("--update-golden"):
        _PAGE.write_text(written)
    assert text == written or request.config.getoption("--update-golden"), "write it with --update-golden"
