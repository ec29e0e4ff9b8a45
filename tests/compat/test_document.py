"""docs/compatibility.md is what the table says, and the README names what is the host's."""

import re

import pytest

from pylxcfs.procfiles import meminfo, stat
from tests.compat.document import document
from tests.support.daemon import REPOSITORY

PAGE = REPOSITORY / "docs/compatibility.md"


def test_compatibility_page(request: pytest.FixtureRequest) -> None:
    """The committed page is generated from the table."""
    if request.config.getoption("--update-golden"):
        PAGE.write_text(document())
    assert document() == PAGE.read_text()


@pytest.mark.parametrize("file, names", [("meminfo", meminfo.HOST_WIDE), ("stat", stat.HOST_WIDE)])
def test_readme_names_what_is_host_wide(file: str, names: frozenset[bytes]) -> None:
    """The last column of the README's table has every host-wide field."""
    (row,) = (x for x in (REPOSITORY / "README.md").read_text().splitlines() if x.startswith(f"| `{file}` |"))
    shown = re.findall(r"\w+", row.split("|")[-2])
    assert {name.decode() for name in names} <= set(shown)
