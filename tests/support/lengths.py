"""How long those tests are that are only there to be long: in `make soak` at full length, elsewhere short."""

import os
from typing import Final

#: Also read in guests, which have the environment of the tests.
_VARIABLE: Final = "PYLXCFS_SOAK"


def at_length(full: int, short: int) -> int:
    """Choose one of two lengths by the run's kind."""
    return full if os.environ.get(_VARIABLE) else short
