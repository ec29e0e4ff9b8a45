"""A judgement. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_NAMED: Final = 12


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: Something is less than it could be, or will be trouble one day.
    WARN = "warn"
    #: Readers get wrong content or errors now.
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one subject, and what to do about it; `advice` is empty where nothing is."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


def first_of(names: Sequence[str]) -> str:
    """List some, and count the rest: a node may have hundreds."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
