"""Every field of every virtual file has a rule, and its value is what the rule says."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.procfiles import meminfo
from pylxcfs.procfiles.field import Part, Rule
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile
from pylxcfs.view.formula import names_in, terms_of
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import ResourceView

MACHINES = sorted(path.name for path in (Path(__file__).parent / "captures").iterdir())
FILES = pytest.mark.parametrize("file", VIRTUAL_FILES, ids=lambda file: file.path)
#: What a field that has no number says instead of 0.
NOTHING = {"0", "0 kB", "0.00", "", "none", "virtual", "-2"}


def parts(file: VirtualFile, view: ResourceView, host: HostSnapshot) -> list[Part]:
    """Return the fields of what a container reads."""
    return list(file.split(file.render(view, host)))


@FILES
@pytest.mark.parametrize("machine", MACHINES)
def test_every_field(
    file: VirtualFile, machine: str, capture: Callable[[str], HostSnapshot], container: ResourceView
) -> None:
    """A zero is 0, what is host-wide is the host's, and what is computed says how."""
    host = capture(machine)
    shown = parts(file, container, host)
    host_text = getattr(host, file.host_file.replace("/", "_"), b"")
    theirs = {part.name: part.value for part in file.split(host_text)}
    assert len(shown) == len({part.name for part in shown})
    for part in shown:
        field = part.field
        assert field.words
        if field.rule is Rule.ZERO:
            assert part.value in NOTHING, part
        elif field.rule is Rule.HOST_WIDE and part.name != "other lines":
            assert theirs[part.name] == part.value
        elif field.rule is Rule.COMPUTED:
            assert field.formula, part
            assert field.reads or field.term, part


@FILES
def test_nothing_is_left_out(
    file: VirtualFile, capture: Callable[[str], HostSnapshot], container: ResourceView
) -> None:
    """Every number of a text is in one of its fields."""
    host = capture("linux-6.18-x86")
    text = file.render(container, host).decode()
    if file.path == "proc/cpuinfo":
        return  # Whose other lines are counted.
    told = " ".join(f"{part.name} {part.value}" for part in file.split(text.encode()))
    numbers = re.findall(r"(?<![\w.(])\d+(?:\.\d+)?\b", text)
    missing = [number for number in numbers if number not in told]
    # Numbers of devices are names.
    assert file.path in {"proc/diskstats", "proc/slabinfo"} or [] == missing


def test_a_field_is_the_renderers() -> None:
    """What meminfo is rendered from and what is said of it are the same term."""
    terms = terms_of(MemoryView)
    for name, term in meminfo.COMPUTED.items():
        field = meminfo.describe(name, has_unit=True)
        assert (Rule.COMPUTED, terms[term].words, terms[term].formula) == field[:3]
        assert getattr(MemoryView, term, None) is not None or term in MemoryView.__slots__


def test_fields_that_nobody_knows() -> None:
    """An amount of memory reads 0, anything else is the host's, and both say so."""
    unknown = [meminfo.describe(b"New", has_unit=has_unit) for has_unit in (True, False)]
    assert [Rule.ZERO, Rule.HOST_WIDE] == [field.rule for field in unknown]
    assert all("not known" in field.words for field in unknown)


INPUTS = re.compile(
    r"limit|current|swap_limit|swap_current|swap_accounted|levels|swap_levels|show_\w+|host_\w+"
    r"|stat\.\w+|huge_pages\.\w+"
)


def test_formulas_speak_of_what_there_is() -> None:
    """Each name in a formula is a term or an input, and no formula goes round in a circle."""
    terms = terms_of(MemoryView)

    def depth(name: str, above: tuple[str, ...]) -> int:
        assert name not in above
        below = [depth(other, (*above, name)) for other in terms[name].names if other in terms]
        return 1 + max(below, default=0)

    for name, term in terms.items():
        assert term.words.endswith((".", "limit."))
        assert [] == [each for each in term.names if each not in terms and not INPUTS.fullmatch(each)], name
        assert depth(name, ()) < 10


@pytest.mark.parametrize(
    "formula,names",
    [
        ("min(stat.file, usage)", ("stat.file", "usage")),
        ("min(level.max - level.current for level in levels)", ("levels",)),
        ("usage if show_zswap else 0", ("usage", "show_zswap")),
        ("a + b - a", ("a", "b")),
    ],
)
def test_names(formula: str, names: tuple[str, ...]) -> None:
    """What a formula speaks of, each once, in its order."""
    assert names == names_in(formula)
