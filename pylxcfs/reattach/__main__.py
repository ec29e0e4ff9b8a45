"""``python -m pylxcfs.reattach attach|detach ARGUMENTS…``: what a daemon of these arguments does to binds.

A process of its own: the daemon's supervisor stays small, and goes on if anything here does not. The name
``pylxcfs.reattach`` and both verbs stay: supervisors of earlier versions start this code by them.
"""

import logging
import sys
import time
from collections.abc import Sequence
from typing import Final

from pylxcfs.cli import parse_arguments
from pylxcfs.config import Config
from pylxcfs.console import set_up_logging
from pylxcfs.errors import StartupError
from pylxcfs.fuse.mount_options import parse_mount_options
from pylxcfs.reattach.actions import detach, reattach
from pylxcfs.reattach.outcome import Action, summary
from pylxcfs.reattach.plan import Request
from pylxcfs.reattach.protocol import Verb

_log = logging.getLogger(__name__)
#: Nobody reads thousands of lines in a log; `pylxcfsctl reattach --dry-run` has them all.
_MAX_TOLD: Final = 20
#: What an older supervisor says, that still runs when this code is installed over its own.
_OLD_VERBS: Final = {"plant": Verb.ATTACH}


def main(argv: Sequence[str] | None = None) -> int:
    """Do it and log what was done; return 1 if some container is still in trouble."""
    verb, *arguments = sys.argv[1:] if argv is None else argv
    config = parse_arguments(arguments)
    set_up_logging(config.log_level)
    return _run(_OLD_VERBS.get(verb) or Verb(verb), config)


def _run(verb: Verb, config: Config) -> int:
    began = time.monotonic()
    request = Request(
        mount_point=config.mount_point,
        runtime_dir=config.runtime_dir,
        source=parse_mount_options(",".join(config.mount_options)).source,
        proc_root=config.proc_root,
    )
    try:
        outcomes = reattach(request) if verb is Verb.ATTACH else detach(request)
    except (StartupError, OSError) as error:
        _log.error("binds in running containers are left as they are: %s", error)
        return 1
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
