"""``pylxcfsctl status``: what runs, since when, and what it has done."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from pylxcfs import __version__
from pylxcfs.console import write_lines
from pylxcfs.ctl.options import add_runtime_dir
from pylxcfs.ctl.output import align, duration, mebibytes, moment, print_json, short_time
from pylxcfs.rundir.supervisor_state import Reload
from pylxcfs.status.document import FileStatus, ServerStatus

if TYPE_CHECKING:
    from pylxcfs.status.report import ProcessStatus, RunStatus

#: Of the document that --json prints.
_SCHEMA: Final = 1
_SHOWN_REPLACEMENTS: Final = 5
_HEAD: Final = ("FILE", "REQUESTS", "CACHED", "MEAN", "P50", "P99", "MAX")
_NOT_RUNNING: Final = 3

EPILOG: Final = (
    "Exit status: 0 the server answers; 1 it does not, though pylxcfs runs, or only root may ask it; "
    "3 pylxcfs does not run."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    add_runtime_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the status."""
    from pylxcfs.status.report import find_out  # noqa: PLC0415 - -h should not wait for it

    status = find_out(arguments.runtime_dir.absolute())
    if arguments.json:
        print_json(as_document(status))
    else:
        write_lines(lines(status))
    if status.supervisor is None:
        return _NOT_RUNNING
    return int(not status.is_well)


def lines(status: "RunStatus") -> Iterator[str]:
    """Yield what people read."""
    if status.supervisor is None:
        yield f"pylxcfs does not run (nobody has locked {status.runtime_dir}/pylxcfs/lock)"
        return
    yield from _head(status, status.supervisor)
    if status.state is not None:
        yield from _replacements(status)
    if status.server is not None:
        yield ""
        yield from _counts(status.server, status.at)


def as_document(status: "RunStatus") -> dict[str, Any]:
    """Return what JSON is made of (docs/troubleshooting.md)."""
    state = status.state
    supervisor = status.supervisor
    return {
        "schema": _SCHEMA,
        "running": supervisor is not None,
        "answers": status.server is not None,
        "silence": status.silence,
        "at": status.at,
        "versions": {
            "pylxcfsctl": __version__,
            "supervisor": state.program_version if state else "",
            "server": status.server.version if status.server else "",
        },
        "mount_point": state.mount_point if state else "",
        "device": state.device if state else "",
        "uptime_seconds": status.at - supervisor.began_at if supervisor else 0.0,
        "generation": state.generation if state else 0,
        "host_view": _shows_host(status),
        "replaced": state.replaced if state else 0,
        "replacements": [each._asdict() for each in state.replacements] if state else [],
        "trouble": state.trouble if state else "",
        "next_try_at": state.next_try_at if state else 0.0,
        "reload": (state.reload if state else Reload())._asdict(),
        "reserve": {"problem": state.reserve.problem if state else ""},
        "processes": {
            "supervisor": asdict(supervisor) if supervisor else None,
            "server": asdict(status.server_process) if status.server_process else None,
            "template": asdict(status.template_process) if status.template_process else None,
            "spare": asdict(status.spare_process) if status.spare_process else None,
        },
        "server": status.server.document() if status.server else None,
    }


def _head(status: "RunStatus", supervisor: "ProcessStatus") -> Iterator[str]:
    state, server = status.state, status.server
    version = server.version if server else state.program_version if state else "of unknown version"
    where = f" on {state.mount_point}" if state else ""
    yield f"pylxcfs {version} runs{where}, up {duration(status.at - supervisor.began_at)}"
    if not status.is_well:
        yield f"BUT {_trouble(status)}"
    yield ""
    rows = [("supervisor", _describe(supervisor, status.at))]
    if status.server_process is not None:
        generation = f"generation {server.generation if server else state.generation if state else '?'}, "
        rows.append(("server", generation + _describe(status.server_process, status.at)))
    else:
        rows.append(("server", "none runs" if state is None or not state.server_pid else "has gone"))
    rows.extend(_reserve(status))
    if _shows_host(status):
        why = "until the next SIGUSR2" if state and state.host_view else "because servers kept dying"
        rows.append(("host view", f"ON: everybody sees the host, {why}"))
    else:
        rows.append(("host view", "off"))
    if server is not None:
        rows.append(("containers", f"known: {server.containers}; open files: {server.open_files}"))
    yield from align(rows)
    if state is not None and state.reload.error:
        at = moment(state.reload.ended_at, status.at)
        yield f"The reload of {at} has changed nothing: {state.reload.error}"
    yield from _old(status)


def _reserve(status: "RunStatus") -> Iterator[tuple[str, str]]:
    """Tell what is there for the case that the server dies."""
    if status.spare_process is not None:
        yield ("spare", _describe(status.spare_process, status.at))
    if status.template_process is not None:
        yield ("template", _describe(status.template_process, status.at))
    if status.state is not None and (problem := status.state.reserve.problem):
        yield ("reserve", f"MISSING: {problem}{_next_try(status)}")


def _next_try(status: "RunStatus") -> str:
    at = status.state.next_try_at if status.state is not None else 0.0
    return f"; next try at {moment(at, status.at)}" if at else "; a try is under way"


def _old(status: "RunStatus") -> Iterator[str]:
    """Name each process whose code is not the installed one, and the command that renews it."""
    versions = {
        "server": (status.server.version if status.server else __version__, "pylxcfsctl reload"),
        "supervisor": (
            status.state.program_version if status.state else __version__,
            "systemctl restart pylxcfs, or a restart of what has started it,",
        ),
    }
    for name, (version, command) in versions.items():
        if version != __version__:
            told = f"the {name} is of {version or 'an unknown one'}, installed is {__version__}"
            yield f"Versions differ: {told}; {command} renews it."


def _trouble(status: "RunStatus") -> str:
    if status.state is not None and status.state.trouble:
        return f"nobody serves: the last server {status.state.trouble}{_next_try(status)}"
    if status.server is not None:
        return f"its serving thread has hung for {status.server.unresponsive_seconds:.0f} s"
    stopped = {
        name
        for name, process in (("supervisor", status.supervisor), ("server", status.server_process))
        if process is not None and process.state == "stopped"
    }
    also = f" ({' and '.join(sorted(stopped))} stopped by a signal; SIGCONT continues)" if stopped else ""
    return f"{status.silence}{also}"


def _shows_host(status: "RunStatus") -> bool:
    if status.server is not None:
        return status.server.host_view
    return status.state is not None and status.state.host_view


def _describe(process: "ProcessStatus", at: float) -> str:
    state = f", {process.state.upper()}" if process.state in {"stopped", "zombie", "disk-sleep"} else ""
    return (
        f"pid {process.pid}, up {duration(at - process.began_at)}, {mebibytes(process.resident_bytes)}, "
        f"{short_time(process.cpu_seconds)} of CPU{state}"
    )


def _replacements(status: "RunStatus") -> Iterator[str]:
    state = status.state
    if state is None:
        return
    if not state.replaced:
        yield "replaced    never"
        return
    shown = list(state.replacements)[-_SHOWN_REPLACEMENTS:]
    times = "once" if state.replaced == 1 else f"{state.replaced} times"
    yield f"replaced    {times}{'; the latest' if state.replaced > len(shown) else ''}:"
    rows = [
        (f"  {moment(each.at, status.at)}", each.why, f"nobody served for {short_time(each.gap_seconds)}")
        for each in reversed(shown)
    ]
    yield from align(rows)


def _counts(server: ServerStatus, at: float) -> Iterator[str]:
    age = duration(max(0.0, at - server.began_at))
    yield f"Since this server began to serve, {age} ago:"
    yield ""
    asked = {path: file for path, file in server.files.items() if file.requests}
    if asked:
        yield from align([_HEAD, *map(_row, asked, asked.values())], right=range(1, len(_HEAD)))
    else:
        yield "Nobody has read a file."
    yield ""
    fallbacks = ", ".join(f"{each.file} {each.count} ({each.why})" for each in server.fallbacks)
    unresolved = f"readers whose container was not found, and who saw the host: {server.unresolved:,}"
    guessed = f"readers shown what is known of their container, for want of open files: {server.guessed:,}"
    failed = f"{server.failed:,} for a mistake in pylxcfs, answered with EIO: see the log"
    unkept = (
        f"CPU counters of {server.unkept_ledgers:,} containers have no room in the runtime directory, "
        "and may go back when the server is replaced"
    )
    lost = f"{server.lost_reads:,} reads in pieces, whose readers may see two states when it is replaced"
    loads = f"followed: {server.followed_loads:,}" + (
        f"; {server.estimated_loads:,} are estimates, as their tasks have not been counted to the end yet"
        if server.estimated_loads
        else ""
    )
    yield from align(
        [
            ("requests", _listing(server.requests) or "none"),
            ("fallbacks", fallbacks or "none"),
            ("unresolved", unresolved if server.unresolved else "none"),
            ("guessed", guessed if server.guessed else "none"),
            ("refused", _listing(server.refused) or "none"),
            ("failed", failed if server.failed else "none"),
            ("loads", loads),
            ("not kept", unkept if server.unkept_ledgers else "none"),
            ("lost reads", lost if server.lost_reads else "none"),
        ]
    )


def _row(path: str, file: FileStatus) -> tuple[str, ...]:
    times = (file.mean_seconds, file.p50_seconds, file.p99_seconds, file.max_seconds)
    return (path, f"{file.requests:,}", f"{file.hit_rate:.0%}", *map(short_time, times))


def _listing(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in ordered)
