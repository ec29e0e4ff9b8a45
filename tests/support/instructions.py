"""Work, counted in instructions of the interpreter: the same on every machine, however busy it is."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def count_instructions(work: Callable[[], object]) -> int:
    """Return how many instructions are executed; it is done twice, and counted the second time.

    From Python 3.12 on, code that runs for the first time does not tell of its instructions.
    """
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - sys.settrace's own
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
        count = 0
        sys.settrace(trace)
        work()
    finally:
        sys.settrace(before)
    return count
