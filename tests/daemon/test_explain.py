"""``pylxcfsctl explain``, for real containers on cgroup v1."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container
from tests.support.explaining import check_all, explain_all
from tests.support.readings import meminfo

#: Files of which every field is recomputed.
WHOLE = ("proc/meminfo", "proc/swaps", "proc/cpuinfo", "sys/devices/system/cpu/online")


def run(*argv: str, status: int = 0) -> str:
    """Run the command; return what it printed."""
    command = [sys.executable, "-m", "pylxcfs.ctl.cli", "explain", *argv]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert status == result.returncode, result.stderr
    return result.stdout if status == 0 else result.stderr


@pytest.fixture
def container(make_cgroup: Callable[..., Cgroup], make_container: Callable[..., Container]) -> Container:
    """Run a container below a group with limits, beside another that has none."""
    pod = make_cgroup(Limits(memory=80 * MIB, cpu_quota=1.5))
    own = make_cgroup(Limits(memory=96 * MIB, cpus="0-1", cpu_quota=0.7), parent=pod)
    return make_container(own)


@pytest.mark.usefixtures("swap")
def test_every_field_is_recomputed(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the files that are named, by the formulas that are told, come the values that are shown."""
    # A socket that nobody would close.
    monkeypatch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
    documents, text = explain_all(container.init_pid)
    assert {file.path for file in VIRTUAL_FILES if Path("/", file.path).exists()} <= documents.keys()
    counted = check_all(documents)
    assert {} == {path: counted[path] for path in WHOLE if len(set(counted[path])) > 1}
    assert counted["proc/stat"][0] >= 10
    assert counted["proc/uptime"][0] == 1
    long = [line for line in text.splitlines() if len(line) > 80 and "/" not in line]
    assert [] == long


def test_which_limit_won(container: Container) -> None:
    """Of both limits the ancestor's is the smaller, of both quotas the container's."""
    (total,) = json.loads(run("--json", "--pid", str(container.init_pid), "meminfo", "MemTotal"))["fields"]
    bounds = {bound["cgroup"]: (bound["value"], bound["won"]) for bound in total["bounds"]}
    pod = f"/{container.group.name}".rpartition("/")[0]
    assert (80 * MIB, True) == bounds[pod]
    assert f"{80 * 1024} kB" == total["value"]
    assert meminfo(Path("/proc/meminfo").read_text())["MemTotal"] == int(total["host"].split()[0])
    (online,) = json.loads(run("--json", "--pid", str(container.init_pid), "sys/devices/system/cpu/online"))[
        "fields"
    ]
    won = [bound for bound in online["bounds"] if bound["won"]]
    assert [(f"/{container.group.name}", 0.7)] == [(bound["cgroup"], bound["value"]) for bound in won]


def test_text(container: Container) -> None:
    """People read the value, the rule, words, formula, files and the host's value."""
    text = run("--pid", str(container.init_pid), "/proc/meminfo", "memavailable")
    for said in (
        "computed",
        "= min(",
        "memory.usage_in_bytes",
        "<- holds",
        "the host says:",
        "/proc/meminfo",
    ):
        assert said in text
    zero = run("--pid", str(container.init_pid), "meminfo", "Mlocked")
    assert "Mlocked: 0 kB" in zero
    assert "zero" in zero
    assert "cpu0 user" in run("--pid", str(container.init_pid), "stat", "cpu0")


@pytest.mark.parametrize(
    "argv,message",
    [
        (("nothing",), "no such file: proc/nothing"),
        (("meminfo", "Nothing"), "has no field Nothing (it has: MemTotal"),
        (("--pid", "4194303", "meminfo"), "no such process: 4194303"),
    ],
)
def test_what_is_not_there(argv: tuple[str, ...], message: str) -> None:
    """One line says what there is."""
    assert message in run(*argv, status=1)


def test_host_process() -> None:
    """A process of the host is told that the file is the host's."""
    document: dict[str, Any] = json.loads(run("--json", "--pid", "1", "meminfo", "MemTotal"))
    (field,) = document["fields"]
    assert field["host"] == field["value"]
    assert "host" in document["fallback"] or document["container"] is not None
