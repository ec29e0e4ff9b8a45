"""Recomputes what `pylxcfsctl explain` says, from the formulas and the kernel's lines that it names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

KIB: Final = 1024
#: v1's "no limit" is a number (PAGE_COUNTER_MAX).
UNLIMITED: Final = 1 << 62
_TOKEN: Final = re.compile(r"(/?[a-z][\w./]*)(?::(\w+))?")

Document = Mapping[str, Any]


class Wrong(AssertionError):  # noqa: N818 - what was said is
    """What is said of a field does not give its value."""


def _least(*values: Any) -> int | None:  # noqa: ANN401 - numbers, or one iterator of them
    told = (
        list(values) if len(values) != 1 or isinstance(values[0], int) or values[0] is None else [*values[0]]
    )
    return min((value for value in told if value is not None), default=None)


def _most(*values: int | None) -> int:
    return max(value for value in values if value is not None)


class Evaluation:
    """The value of a field by its formula, the formulas of its terms and the inputs below them."""

    def __init__(self, field: Document) -> None:
        """Take a field as ``--json`` has it."""
        self._formulas = {each["name"]: each["formula"] for each in field["terms"]}
        self._inputs = {each["name"]: each["value"] for each in field["inputs"]}
        spaces: dict[str, dict[str, object]] = {}
        for name, value in self._inputs.items():
            space, dot, key = name.partition(".")
            if dot:
                spaces.setdefault(space, {})[key] = value
        self._spaces = {name: SimpleNamespace(**values) for name, values in spaces.items()}

    def __getitem__(self, name: str) -> object:
        """Look a name up, as a formula does."""
        functions = {"min": _least, "max": _most}
        if name in functions:
            return functions[name]
        if name in self._spaces:
            return self._spaces[name]
        if name in self._formulas:
            return self.value(self._formulas[name])
        value = self._inputs[name]
        if isinstance(value, list):
            return [SimpleNamespace(**{"reclaimable": 0} | level) for level in value]
        return value

    def value(self, formula: str) -> int | None:
        """Return what a formula gives, as terms are: at least 0; None without a limit."""
        code = compile(formula, "formula", "eval")
        value = eval(code, {"__builtins__": {}}, self)  # type: ignore[arg-type] # noqa: S307 - our own formulas
        return None if value is None else max(0, int(value))


def _number(line: str) -> int | None:
    words = line.split()
    if words[0] == "max":
        return None
    number = int(words[0] if len(words) == 1 else words[1])
    if words[-1] == "kB":
        number *= KIB
    return None if number >= UNLIMITED else number


def _said(each: Document, file: str, key: str | None) -> Iterator[int | None]:
    for line in each["lines"]:
        if (line["path"] == file or line["path"].endswith(f"/{file}")) and (
            key is None or re.match(rf"{key}\b", line["text"])
        ):
            yield _number(line["text"])


def check_input(each: Document) -> bool:
    """Check an input against the lines behind it; tell whether there are any to check by."""
    origin, value = each["origin"], each["value"]
    if isinstance(value, bool) or value is None or isinstance(value, list) or not each["lines"]:
        return False
    numbers = [number for file, key in _TOKEN.findall(origin) for number in _said(each, file, key or None)]
    if origin.startswith("min("):
        expected = _least(iter(numbers))
    elif " - " in origin or " + " in origin:
        first, second = (number or 0 for number in numbers)
        expected = max(0, first - second) if " - " in origin else first + second
    else:
        (expected,) = numbers
    if expected != value:
        raise Wrong(each)
    return True


def check_memory(field: Document) -> bool:
    """Check a field of memory down to the kernel's lines; tell whether it has terms to check."""
    if not field["inputs"]:
        return False
    evaluation = Evaluation(field)
    for term in field["terms"]:
        found = evaluation.value(term["formula"])
        told = term["value"]
        if (found is None) != (told is None) or abs((found or 0) - (told or 0)) >= 4 * KIB:
            raise Wrong(term["name"], found, told)
    number, *unit = field["value"].split()
    found = evaluation.value(field["formula"]) or 0
    if not unit and not field["formula"].startswith("huge_pages"):
        unit = ["kB"]  # swaps
    if abs(found - int(number) * (KIB if unit else 1)) >= 4 * KIB:
        raise Wrong(field["name"], found, field["value"])
    for each in field["inputs"]:
        check_input(each)
    return True


def content(field: Document, pattern: str) -> Sequence[str]:
    """Return the contents of those files of a field whose path ends so."""
    return [file["content"] for file in field["files"] if re.search(f"{pattern}$", file["path"])]
