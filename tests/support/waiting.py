"""Waiting for something real to happen, without fixed sleeps."""

import time
from collections.abc import Callable
from typing import Final

_STEP_SECONDS: Final = 0.005
#: Only so that a hung test-suite ends one day; nothing is judged by it.
_GIVE_UP_SECONDS: Final = 120.0


def _true() -> bool:
    return True


def wait_for(what: str, happened: Callable[[], bool], *, alive: Callable[[], bool] = _true) -> None:
    """Return once `happened`; fail if what should make it happen is no longer `alive`."""
    give_up = time.monotonic() + _GIVE_UP_SECONDS
    while not happened():
        if not alive():
            if happened():
                return
            message = f"{what}: ended before it happened"
            raise AssertionError(message)
        if time.monotonic() > give_up:
            message = f"{what}: never happened"
            raise AssertionError(message)
        time.sleep(_STEP_SECONDS)
