"""Where each number of a virtual file comes from, for one process: `pylxcfsctl explain` prints it.

Formulas are those of the renderers' tables (`procfiles`) and of the views; here they are only joined with the
files that were read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from pylxcfs.cgroup.types import CgroupError, Controller
from pylxcfs.containers.container import Container
from pylxcfs.content.engine import Engine
from pylxcfs.content.memory_inputs import Input, inputs_of
from pylxcfs.content.recording import Log, Reading
from pylxcfs.procfiles.field import Field, Part, Rule
from pylxcfs.procfiles.table import Fallback, VirtualFile
from pylxcfs.view.formula import Term, terms_of
from pylxcfs.view.memory import MemoryView


@dataclass(frozen=True, slots=True)
class TermValue:
    """A term that a field is made of, with its value here, bytes; None where nothing limits it."""

    term: Term
    value: int | None


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that could have decided, by its cgroup."""

    name: str
    cgroup: str
    value: float
    #: It is the least, and so the one that holds.
    won: bool


@dataclass(frozen=True, slots=True)
class FieldExplanation:
    """One field."""

    name: str
    shown: str
    #: What the host's own file says; None where it has no such field.
    host: str | None
    field: Field
    terms: tuple[TermValue, ...] = ()
    inputs: tuple[Input, ...] = ()
    bounds: tuple[Bound, ...] = ()
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """One virtual file as one process sees it."""

    file: VirtualFile
    pid: int
    container: Container | None
    #: Why the host's file, or an empty one, is shown instead; empty where the container's own is.
    fallback: str
    fields: tuple[FieldExplanation, ...]


def explain(engine: Engine, log: Log, file: VirtualFile, pid: int) -> Explanation:
    """Explain what process `pid` would read; `engine` writes to `log` what it reads."""
    container = engine.resolver.resolve(pid)
    file = engine.content.file_for(file, pid)
    host_text = engine.content.read(file, None)
    host = {part.name: part.value for part in file.split(host_text)}
    del log[:]
    if container is None or engine.content.is_hosts(file, container):
        why = "a process of the host, in no cgroup of its own"
        return Explanation(file, pid, container, why, tuple(_as_host(file, host_text, why)))
    log.append(_read_start(container))
    try:
        view, snapshot = engine.content.look(file, container)
    except CgroupError as error:
        why = str(error)
        text = engine.content.read(file, container)
        return Explanation(file, pid, container, why, tuple(_as_fallback(file, text, host, why)))
    readings = list(dict.fromkeys(log))
    memory = view.memory_part
    versions = engine.versions
    fields = []
    for part in file.split(file.render(view, snapshot)):
        if memory is not None and part.field.term:
            inputs = inputs_of(memory, readings, versions.get(Controller.MEMORY, ""))
            fields.append(_of_memory(part, host.get(part.name), memory, inputs))
        else:
            fields.append(_of_files(part, host.get(part.name), readings))
    return Explanation(file, pid, container, "", tuple(fields))


def _as_host(file: VirtualFile, text: bytes, why: str) -> Iterator[FieldExplanation]:
    for part in file.split(text):
        yield FieldExplanation(part.name, part.value, part.value, Field(Rule.HOST_WIDE, why))


def _as_fallback(
    file: VirtualFile, text: bytes, host: Mapping[str, str], why: str
) -> Iterator[FieldExplanation]:
    rule = Rule.HOST_WIDE if file.fallback is Fallback.HOST else Rule.ZERO
    for part in file.split(text):
        words = f"the cgroup cannot answer: {why}"
        yield FieldExplanation(part.name, part.value, host.get(part.name), Field(rule, words))


def _read_start(container: Container) -> Reading:
    """Return what the age of the container was made of."""
    path = f"/proc/{container.init_pid}/stat"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a kernel file
            return Reading(path, file.read())
    except OSError:
        return Reading(path, b"")


def _of_memory(
    part: Part, host: str | None, memory: MemoryView, inputs: Mapping[str, Input]
) -> FieldExplanation:
    terms = terms_of(MemoryView)
    order: dict[str, None] = {}

    def collect(name: str) -> None:
        for below in terms[name].names:
            if below not in order:
                order[below] = None
                if below in terms:
                    collect(below)

    collect(part.field.term)
    used = [inputs[name] for name in order if name in inputs]
    return FieldExplanation(
        part.name,
        part.value,
        host,
        part.field,
        terms=tuple(TermValue(terms[name], getattr(memory, name)) for name in order if name in terms),
        inputs=tuple(used),
        bounds=tuple(_memory_bounds(memory, [*order, part.field.term], inputs)),
    )


def _memory_bounds(memory: MemoryView, names: Sequence[str], inputs: Mapping[str, Input]) -> Iterator[Bound]:
    for name in ("limit", "swap_limit"):
        if name in names:
            yield from _least(name, [(cgroup, value) for cgroup, value in inputs[name].candidates])
    levels = memory.stats.levels
    if "levels_free" in names:
        yield from _least("levels_free", [(level.cgroup, level.free) for level in levels])
    if "levels_available" in names:
        yield from _least("levels_available", [(level.cgroup, level.available) for level in levels])
    if "levels_swap_free" in names:
        swap_levels = memory.stats.swap_levels
        yield from _least("levels_swap_free", [(level.cgroup, level.free) for level in swap_levels])


def _least(name: str, candidates: Sequence[tuple[str, float]]) -> Iterator[Bound]:
    least = min((value for _, value in candidates), default=None)
    for cgroup, value in candidates:
        yield Bound(name, cgroup, value, won=value == least)


def _of_files(part: Part, host: str | None, readings: Sequence[Reading]) -> FieldExplanation:
    used = [each for each in readings if any(fnmatchcase(each.path, wanted) for wanted in part.field.reads)]
    return FieldExplanation(
        part.name, part.value, host, part.field, bounds=tuple(_quotas(used)), readings=tuple(used)
    )


_CFS_QUOTA: Final = "cpu.cfs_quota_us"
_CFS_PERIOD: Final = "cpu.cfs_period_us"


def _quotas(readings: Sequence[Reading]) -> Iterator[Bound]:
    """Yield each limit of CPU time, in CPUs."""
    periods = {each.cgroup: each.text for each in readings if each.name == _CFS_PERIOD}
    found = []
    for each in readings:
        words = each.text.split()
        if each.name == _CFS_QUOTA and each.cgroup in periods and int(words[0]) > 0:
            found.append((each.cgroup, int(words[0]) / int(periods[each.cgroup])))
        elif each.name == "cpu.max" and words[0] != b"max":
            found.append((each.cgroup, int(words[0]) / int(words[1])))
    yield from _least("CPUs of the quota", found)
