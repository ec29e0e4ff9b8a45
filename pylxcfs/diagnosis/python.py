"""What runs our code. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.fuse import library

_LEAST: Final = (3, 11)


@dataclass(frozen=True, slots=True)
class PythonFacts:
    """The interpreter of pylxcfsctl, and our libraries."""

    version: tuple[int, int, int]
    executable: str
    #: None: not installed.
    libraries: Mapping[str, str | None] = field(default_factory=dict)
    #: What the supervisor runs, if it is another.
    supervisor_executable: str = ""
    #: Why pyfuse3 cannot be loaded.
    pyfuse3_error: str = ""


def check(facts: PythonFacts) -> Iterator[Finding]:
    """Judge whether the next server can start."""
    version = ".".join(map(str, facts.version))
    missing = [name for name, has in facts.libraries.items() if has is None]
    if facts.version < _LEAST or missing:
        what = f", without {', '.join(missing)}" if missing else ""
        yield Finding(
            "python",
            Verdict.FAIL,
            f"{facts.executable} is Python {version}{what}: no server can start with it",
            "Python 3.11 or later with pyfuse3, trio and psutil; install pylxcfs anew",
        )
        return
    if facts.pyfuse3_error:
        yield Finding(
            "python",
            Verdict.FAIL,
            f"{facts.executable} cannot load pyfuse3: {facts.pyfuse3_error}: no server can start with it",
            library.ADVICE,
        )
        return
    pyfuse3 = facts.libraries.get("pyfuse3") or library.TESTED_VERSION
    if not f"{pyfuse3}.".startswith(f"{library.TESTED_VERSION}."):
        yield Finding(
            "pyfuse3",
            Verdict.WARN,
            f"version {pyfuse3}; pylxcfs was tested with {library.TESTED_VERSION}",
            f"pip install 'pyfuse3=={library.TESTED_VERSION}.*'",
        )
    libraries = ", ".join(f"{name} {has}" for name, has in facts.libraries.items())
    yield Finding("python", Verdict.OK, f"{facts.executable} {version}, {libraries}")
    if facts.supervisor_executable:
        yield Finding(
            "python of the daemon",
            Verdict.OK,
            f"the daemon runs with {facts.supervisor_executable}, which is another one",
        )
