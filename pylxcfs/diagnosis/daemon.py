"""Does it run, and how has it been? Pure."""

from collections.abc import Iterator
from typing import Final

from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.diagnosis.surroundings import Surroundings
from pylxcfs.rundir.supervisor_state import RunState
from pylxcfs.status.report import RunStatus

#: Why servers are replaced that were not ill (pylxcfs/supervisor.py).
_PLANNED: Final = frozenset({"SIGUSR1", "new supervisor", "containers are looked at again"})
_RECENT_SECONDS: Final = 3600.0
#: What a container without a controller gets anyway; any other reason is a kernel file that surprised us.
_EXPECTED_FALLBACKS: Final = frozenset({"ControllerUnavailable", "CgroupGone"})


def check(status: RunStatus, where: Surroundings) -> Iterator[Finding]:
    """Judge the processes, and what they tell of themselves."""
    yield _check_processes(status, where)
    if status.supervisor is None:
        return
    if status.state is not None:
        yield from _check_reserve(status.state)
        if deaths := _recent_deaths(status):
            yield deaths
    if status.server is None:
        return
    if status.server.host_view:
        yield Finding(
            "host view",
            Verdict.WARN,
            "every container sees the host's files",
            "send SIGUSR2 to the supervisor to end that; if nobody has sent it one, servers kept dying: "
            "see its log",
        )
    if status.server.failed:
        yield Finding(
            "mistakes",
            Verdict.WARN,
            f"{status.server.failed} requests failed for a mistake in pylxcfs, and were answered with EIO",
            "please report the traceback in the log",
        )
    surprises = [each for each in status.server.fallbacks if each.why not in _EXPECTED_FALLBACKS]
    if surprises:
        yield Finding(
            "fallbacks",
            Verdict.WARN,
            "kernel files that are not understood: "
            + ", ".join(f"{each.file} ({each.why}) {each.count} times" for each in surprises),
            "please report the warning in the log; until then their readers see less, or the host's file",
        )


def _check_reserve(state: RunState) -> Iterator[Finding]:
    """Judge what would become of readers if the server died now, and what became of the latest reload."""
    if state.reserve.problem:
        yield Finding(
            "reserve",
            Verdict.WARN,
            f"nobody would take over from the server if it died: {state.reserve.problem}",
            "repair the installed code: the supervisor tries it again within a minute; until then do not end "
            "any process of pylxcfs",
        )
    if state.reload.error:
        yield Finding(
            "reload",
            Verdict.WARN,
            f"the latest reload has changed nothing: {state.reload.error}",
            "repair the installed code, then pylxcfsctl reload",
        )


def _check_processes(status: RunStatus, where: Surroundings) -> Finding:
    supervisor, server = status.supervisor, status.server_process
    if supervisor is None:
        return Finding(
            "daemon",
            Verdict.FAIL,
            f"pylxcfs does not run with the runtime directory {status.runtime_dir}",
            f"start it: {where.start}; if it runs with another, name that: --runtime-dir DIR",
        )
    if supervisor.state == "stopped":
        return Finding(
            "daemon",
            Verdict.FAIL,
            f"the supervisor was stopped by a signal: nobody replaces a server that hangs ({status.silence})"
            if status.silence
            else "the supervisor was stopped by a signal: nobody would replace a server that hangs",
            f"kill -CONT {supervisor.pid}",
        )
    if status.server is not None and status.server.unresponsive_seconds:
        return Finding(
            "daemon",
            Verdict.FAIL,
            f"the serving thread has hung for {status.server.unresponsive_seconds:.0f} s",
            f"look again: the supervisor replaces it within seconds; if it does not, {where.restart}",
        )
    if status.server is not None:
        return Finding(
            "daemon",
            Verdict.OK,
            f"supervisor {supervisor.pid} and server {status.server.pid} run, and the server answers",
        )
    if status.silence.startswith("only root"):
        return Finding("daemon", Verdict.WARN, f"it runs, but {status.silence}", "run this as root")
    server_is = f"server {server.pid} is {server.state}" if server else "no server runs"
    return Finding(
        "daemon",
        Verdict.FAIL,
        f"{status.silence}; {server_is}",
        "look again: the supervisor replaces it within seconds; if it does not, see its log",
    )


def _recent_deaths(status: RunStatus) -> Finding | None:
    if status.state is None:
        return None
    deaths = [
        each
        for each in status.state.replacements
        if each.why not in _PLANNED and status.at - each.at < _RECENT_SECONDS
    ]
    if not deaths:
        return None
    ago = max(0, int((status.at - deaths[-1].at) / 60))
    return Finding(
        "deaths",
        Verdict.WARN,
        f"servers that were replaced within the last hour: {len(deaths)}; the latest {ago} minutes ago: "
        f"{deaths[-1].why}",
        "readers did not notice, but see the log, and the kernel's for the OOM killer",
    )
