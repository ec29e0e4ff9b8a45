"""Formulas: how a number is made, declared where the code that makes it stands. Pure.

A formula is one line of arithmetic over names: terms, which are properties of the same view, and inputs,
which are what the kernel says. ``min`` leaves out what is unlimited or not told; every term is at least 0 and
is cut to whole KiB.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ATTRIBUTE: Final = "__formula__"


class Term(NamedTuple):
    """One property of a view: what it is, and how it is made."""

    name: str
    words: str
    formula: str

    @property
    def names(self) -> tuple[str, ...]:
        """What the formula speaks of, in its order: ``usage``, ``stat.file``."""
        return names_in(self.formula)


def formula(text: str) -> Callable[[_Function], _Function]:
    """Declare, below ``@property``, the formula of what the property computes; its docstring is the words."""

    def declare(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, text)
        return function

    return declare


def declared(text: str, words: str) -> Mapping[str, str]:
    """Return the metadata of a field that is computed when the object is made."""
    return {"formula": text, "words": words}


@cache
def terms_of(view: type) -> Mapping[str, Term]:
    """Return the terms that a view declares, by name."""
    terms = {
        field.name: Term(field.name, field.metadata["words"], field.metadata["formula"])
        for field in fields(view)
        if "formula" in field.metadata
    }
    for name in dir(view):
        getter = getattr(getattr(view, name), "fget", None)
        text = getattr(getter, _ATTRIBUTE, None)
        if text is not None:
            terms[name] = Term(name, (getter.__doc__ or "").partition("\n")[0], text)
    return terms


@cache
def names_in(text: str) -> tuple[str, ...]:
    """Return the names in a formula, each once, in their order, without functions and what a loop binds."""
    tree = ast.parse(text, mode="eval")
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    bound = {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.comprehension) and isinstance(node.target, ast.Name)
    }
    names = []
    spaces = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            spaces.add(id(node.value))
            if node.value.id not in bound:
                names.append((node.col_offset, f"{node.value.id}.{node.attr}"))
        elif isinstance(node, ast.Name) and id(node) not in called | spaces and node.id not in bound:
            names.append((node.col_offset, node.id))
    return tuple(dict.fromkeys(name for _, name in sorted(names)))
