"""What became of binds, as a table or as JSON; and the options that reattach and detach share."""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pylxcfs.console import write_lines
from pylxcfs.ctl.options import add_fsname, add_mount_point, add_runtime_dir
from pylxcfs.ctl.output import align, print_json
from pylxcfs.ctl.whose import add_container
from pylxcfs.reattach.outcome import Action, Outcome, summary
from pylxcfs.reattach.plan import Request
from pylxcfs.reattach.survey import State

_HEAD: Final = ("CONTAINER", "FILE", "STATE", "ACTION")
#: Nothing is wrong with these, so nobody wants to read 4000 lines of them.
_QUIET: Final = frozenset({State.ALIVE, State.OTHER})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that both commands have."""
    add_container(parser, "only the container that process P is in")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--json", action="store_true", help="as a JSON list, binds without trouble included")
    add_mount_point(parser)
    add_runtime_dir(parser, ", where detached binds are remembered")
    add_fsname(parser)


def request_of(arguments: argparse.Namespace) -> Request:
    """Return what the shared options ask for."""
    return Request(
        mount_point=arguments.mount_point.absolute(),
        runtime_dir=arguments.runtime_dir.absolute(),
        container=arguments.container,
        pid=arguments.pid,
        source=arguments.fsname,
        take_over=getattr(arguments, "take_over", False),
        take_hung=arguments.command == "detach",
        dry_run=arguments.dry_run,
    )


def run_and_print(act: Callable[[], list[Outcome]], *, as_json: bool) -> int:
    """Print what `act` did; return 1 if some container is still in trouble."""
    began = time.monotonic()
    outcomes = act()
    seconds = time.monotonic() - began
    if as_json:
        print_json([_as_dict(outcome) for outcome in outcomes])
    else:
        write_lines([*table(outcomes), f"{summary(outcomes)}, in {seconds:.2f} s"])
    return int(any(outcome.is_trouble for outcome in outcomes))


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a line for each bind that is not simply well, aligned, under a headline; nothing if all are."""
    rows = [
        (o.where, o.target or "-", o.state.value, f"{o.action}{f': {o.reason}' if o.reason else ''}")
        for o in outcomes
        if o.action is not Action.NOTHING or o.state not in _QUIET
    ]
    if rows:
        yield from align([_HEAD, *rows])


def _as_dict(outcome: Outcome) -> dict[str, str | int]:
    return {
        "container": outcome.container.container_id,
        "runtime": outcome.container.runtime,
        "cgroup": outcome.container.cgroup,
        "pid": outcome.pid,
        "file": outcome.target,
        "state": outcome.state.value,
        "action": outcome.action.value,
        "reason": outcome.reason,
    }
