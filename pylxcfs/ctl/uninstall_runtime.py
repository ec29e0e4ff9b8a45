"""``pylxcfsctl uninstall-runtime``: undoes what install-runtime did."""

import argparse

from pylxcfs.ctl.install_runtime import add_common_arguments, chosen, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_common_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Give each engine its configuration back; the programs go when no engine has them any more."""
    from pylxcfs.runtime.installation import uninstall, uninstalling  # noqa: PLC0415 - -h should not wait
    from pylxcfs.runtime.programs import remove_programs  # noqa: PLC0415

    changes = [uninstalling(engine, arguments.state) for engine in chosen(arguments)]
    status = report(changes, lambda change: uninstall(change, arguments.state), dry_run=arguments.dry_run)
    if not arguments.dry_run and not arguments.state.is_dir():
        # Containers that were started with them need them no more: their runtime is asked by its own name.
        remove_programs(arguments.libexec)
    return status
