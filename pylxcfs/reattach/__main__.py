"""``python -m pylxcfs.reattach attach|detach|leave ARGUMENTS…``: what a daemon does to binds.

A process of its own: the daemon's supervisor stays small, and goes on if anything here does not. The name
``pylxcfs.reattach`` and the verbs stay: supervisors of earlier versions start this code by them.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pylxcfs.cli import parse_arguments
from pylxcfs.config import Config
from pylxcfs.console import set_up_logging
from pylxcfs.errors import StartupError
from pylxcfs.fuse.mount_options import parse_mount_options
from pylxcfs.reattach.actions import detach, leave, reattach
from pylxcfs.reattach.outcome import Action, Outcome, summary
from pylxcfs.reattach.plan import Request

_log = logging.getLogger(__name__)
#: Nobody reads thousands of lines in a log; `pylxcfsctl reattach --dry-run` has them all.
_MAX_TOLD: Final = 20
#: By the first argument; "plant" is what older supervisors say, that still run when this code is installed.
_ACTIONS: Final[Mapping[str, Callable[[Request], list[Outcome]]]] = {
    "attach": reattach,
    "plant": reattach,
    "detach": detach,
    "leave": leave,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Do it and log what was done; return 1 if some container is still in trouble."""
    verb, *arguments = sys.argv[1:] if argv is None else argv
    config = parse_arguments(arguments)
    set_up_logging(config.log_level)
    return _run(_ACTIONS[verb], config)


def _run(act: Callable[[Request], list[Outcome]], config: Config) -> int:
    began = time.monotonic()
    request = Request(
        mount_point=config.mount_point,
        runtime_dir=config.runtime_dir,
        source=parse_mount_options(",".join(config.mount_options)).source,
        proc_root=config.proc_root,
    )
    try:
        outcomes = act(request)
    except (StartupError, OSError) as error:
        _log.error("binds in running containers are left as they are: %s", error)
        return 1
    for outcome in outcomes:
        _log.debug("%s: %s %s", outcome.where, outcome.target or "-", outcome.action)
    if any(outcome.action is not Action.NOTHING for outcome in outcomes):
        _log.info("%s, in %.2f s", summary(outcomes), time.monotonic() - began)
    troubles = [outcome for outcome in outcomes if outcome.is_trouble]
    for outcome in troubles[:_MAX_TOLD]:
        why = outcome.reason or outcome.state
        _log.warning("%s: %s %s: %s", outcome.where, outcome.target or "-", outcome.action, why)
    if len(troubles) > _MAX_TOLD:
        _log.warning("… and %d more: pylxcfsctl reattach --dry-run", len(troubles) - _MAX_TOLD)
    return int(bool(troubles))


if __name__ == "__main__":
    sys.exit(main())
