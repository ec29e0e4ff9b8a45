"""Checking the invariants in a container of a daemon that caches."""

from collections.abc import Callable

from tests.support.invariants import FACTS, Readings, check_alone, check_together
from tests.support.waiting import wait_for


def check_invariants(read_pass: Callable[[], Readings], *, some_hidden: bool = False) -> None:
    """Check each file at once, and what files say of each other as soon as one pass shows it.

    Files are cached one by one, so that for a moment one may be older than the other.
    """
    found = ["files were not read"]

    def agree() -> bool:
        readings = read_pass()
        check_alone(readings, some_hidden=some_hidden)
        try:
            compared = check_together(readings)
        except AssertionError as error:
            found.append(str(error))
            return False
        found.append(f"{compared} of {FACTS} facts stood still: {readings}")
        return compared == FACTS

    try:
        wait_for("files agree", agree)
    except AssertionError as error:
        error.add_note(found[-1])
        raise
