"""The picture of the rooms in docs/architecture.md is the one that the imports draw."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import REPOSITORY
from tests.unit.test_architecture import MODULES, ROOMS

_DOCUMENT: Final = REPOSITORY / "docs/architecture.md"
_ADRS: Final = REPOSITORY / "docs/adr"
_INDEX: Final = _ADRS / "README.md"
_BEGIN: Final = "```mermaid\n"
_END: Final = "```\n"


def _room(module: str) -> str:
    return module.removeprefix("pylxcfs.").partition(".")[0]


def _uses() -> Mapping[str, set[str]]:
    """Return for each room those from which it imports."""
    uses: dict[str, set[str]] = {room: set() for floor in ROOMS for room in floor}
    for name, imports in MODULES.items():
        if name != "__init__":
            ours = {_room(i) for i in imports if i.startswith("pylxcfs.")}
            uses[_room(name)] |= ours - {_room(name), "__version__"}
    return uses


def _below(room: str, uses: Mapping[str, set[str]]) -> set[str]:
    return uses[room].union(*(_below(other, uses) for other in uses[room]))


def _picture() -> Iterator[str]:
    """Yield the lines of the picture: an arrow to each room that no other arrow leads to anyway."""
    uses = _uses()
    yield "flowchart TD\n"
    for floor in reversed(ROOMS):
        for room in sorted(floor):
            through = set().union(*(_below(other, uses) for other in uses[room]))
            arrows = sorted(uses[room] - through)
            yield f"    {room} --> {' & '.join(arrows)}\n" if arrows else f"    {room}\n"


def test_the_picture_is_drawn_from_the_imports(request: pytest.FixtureRequest) -> None:
    """What stands above what is what the modules import."""
    text = _DOCUMENT.read_text()
    before, _, rest = text.partition(_BEGIN)
    drawn, _, after = rest.partition(_END)
    expected = "".join(_picture())
    if request.config.getoption("--update-golden"):
        _DOCUMENT.write_text(before + _BEGIN + expected + _END + after)
        return
    assert drawn == expected, f"{_DOCUMENT}: draw it anew with --update-golden"


@pytest.mark.parametrize("room", sorted(room for floor in ROOMS for room in floor))
def test_every_room_has_its_paragraph(room: str) -> None:
    """A reader finds out what lives where."""
    assert f"**`{room}" in _DOCUMENT.read_text()


@pytest.mark.parametrize("decision", sorted(_ADRS.glob("0*.md")), ids=lambda path: path.stem)
def test_every_decision_is_in_the_index(decision: Path) -> None:
    """Under its own title, with its status."""
    lines = decision.read_text().splitlines()
    number, _, title = lines[0].removeprefix("# ").partition(". ")
    status = next(line.removeprefix("Status: ") for line in lines if line.startswith("Status: "))
    assert f"| [{number}]({decision.name}) | {title} | {status} |" in _INDEX.read_text().splitlines()
