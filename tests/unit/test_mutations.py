"""The changes that `make mutants` makes."""

import pytest

from benchmarks.mutations import count_mutations, mutate

_MODULE = '''"""A text 1."""
from dataclasses import dataclass

@dataclass(frozen=True, slots=True)
class A:
    x: int | None = 3

def f(a: "int | str", *, b: bool = False) -> int | None:
    """A text."""
    if a < b and not a:
        return min(a, -b)
    while a:
        a += 1
    return a % 7 if b in zip(a, strict=True) else None
'''
_EXPECTED = {
    (6, "3", "4"),
    (8, "False", "True"),
    (10, "a < b and (not a)", "a < b or not a"),
    (10, "a < b and (not a)", "not (a < b and (not a))"),
    (10, "a < b", "a <= b"),
    (10, "not a", "a"),
    (11, "min(a, -b)", "max(a, -b)"),
    (12, "a", "not a"),
    (13, "a += 1", "a -= 1"),
    (13, "1", "2"),
    (14, "a % 7", "a // 7"),
    (14, "7", "8"),
    (14, "b in zip(a, strict=True)", "b not in zip(a, strict=True)"),
}


def test_every_change() -> None:
    """Comparisons, operators, conditions, min and max, and numbers change; annotations and texts do not."""
    made = [mutate(_MODULE, number) for number in range(count_mutations(_MODULE))]
    assert {(each.line, each.before, each.after) for each in made} == _EXPECTED
    assert len(made) == len(_EXPECTED)
    assert len({each.source for each in made}) == len(made)
    for each in made:
        compile(each.source, "changed", "exec")


@pytest.mark.parametrize("source", ["", "import os\n", "class A:\n    pass\n", "x: int\n"])
def test_nothing_to_change(source: str) -> None:
    """A module without any of these has no changes."""
    assert 0 == count_mutations(source)
