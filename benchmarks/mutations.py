"""Small changes of a Python module that its tests should notice. Pure.

Each changes one comparison, operator, condition, call of min or max, or constant. Annotations, docstrings and
texts stay, and so do `frozen`, `slots` and `strict`: no test could tell.
"""

import ast
import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_OTHER_NAME: Final = {"min": "max", "max": "min"}
#: What only describes types.
_ANNOTATIONS: Final = ("annotation", "returns", "type_comment", "type_params")
#: Arguments that check our own code and change no result.
_CHECKS: Final = ("frozen", "slots", "strict")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change: where, and what stood there before and after."""

    line: int
    before: str
    after: str
    #: The whole module with the change.
    source: str


def count_mutations(source: str) -> int:
    """Return in how many ways a module's text can be changed."""
    return sum(1 for _ in _places(ast.parse(source)))


def mutate(source: str, number: int) -> Mutation:
    """Make the change of that number, from 0."""
    tree = ast.parse(source)
    parent, field, index, changed = next(itertools.islice(_places(tree), number, None))
    value = getattr(parent, field)
    node = value if index is None else value[index]
    before = ast.unparse(node)
    if index is None:
        setattr(parent, field, changed)
    else:
        value[index] = changed
    ast.fix_missing_locations(tree)
    return Mutation(node.lineno, before, ast.unparse(changed), ast.unparse(tree))


_Place = tuple[ast.AST, str, int | None, ast.expr | ast.stmt]


def _places(tree: ast.AST) -> Iterator[_Place]:
    """Yield parent, field, index in the field, and what to put there."""
    for field, value in ast.iter_fields(tree):
        if field in _ANNOTATIONS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(child, ast.AST) or (isinstance(child, ast.keyword) and child.arg in _CHECKS):
                continue
            for changed in _changes(child, is_condition=field == "test"):
                yield tree, field, index, changed
            yield from _places(child)


def _changes(node: ast.AST, *, is_condition: bool) -> Iterator[ast.expr | ast.stmt]:
    """Yield what a node can be changed into."""
    changed: ast.expr | ast.stmt
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[index] = _COMPARISONS[type(operator)]()
            yield changed
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        changed = copy.deepcopy(node)
        changed.op = _OPERATORS[type(node.op)]()
        yield changed
    elif isinstance(node, ast.BoolOp):
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield copy.deepcopy(node.operand)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OTHER_NAME:
        changed = copy.deepcopy(node)
        changed.func = ast.Name(_OTHER_NAME[node.func.id], ast.Load())
        yield changed
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    # A comparison that is turned round, and a `not` that goes, are changes of a condition already.
    if is_condition and isinstance(node, ast.expr) and not isinstance(node, ast.Compare | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), copy.deepcopy(node))
