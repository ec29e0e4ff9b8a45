"""The suite's own containers on the other cgroup version: a part of tests/daemon, natively, in a guest.

On a machine with cgroup v1 the guest has v2; on one with v2 it has v1, and runs what is about v1 alone too.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cgroups import find_layout
from tests.support.daemon import REPOSITORY
from tests.support.guest import Guest
from tests.support.guests import Guests

_OTHER: Final = "v1" if find_layout().version("memory") == 2 else "v2"
_TESTS: Final = REPOSITORY / "tests/daemon"
#: One or more of everything that groups are for: limits, CPUs, quota, swap, I/O, load, identity, hand-over,
#: binds that are attached again. What takes long there is left to a whole run.
_SELECTION: Final = {
    "test_container.py": (
        "memory_limit_is_total",
        "one_cpu_of_cpuset",
        "quota_cuts_cpus[None-0.25-1]",
        "smaller_ancestor_wins",
        "own_limit_below_ancestor",
        "nested_group_is_still_the_container",
        "group_beside_init_scope_is_still_the_container",
        "init_scope_is_trimmed",
        "shared_pid_namespace",
        "host_total_is_the_hosts",
        "host_process_in_a_group_sees_the_group",
        "unprivileged_reader_sees_limit",
        "limit_change_shows",
        "meminfo_follows_use",
        "meminfo_at_the_limit",
        "swaps_agree_with_meminfo",
        "swap_in_use",
        "idle_container_is_idle",
        "cgroup_removed_under_reader",
        "pod_of_the_same_name",
        "diskstats_counts_own_reads",
    ),
    "test_identity.py": ("init_without_its_main_thread", "init_in_the_root_cgroup"),
    "test_levels.py": ("a_sibling_uses_up_the_pods_limit",),
    "test_lifecycle.py": ("restart_on_same_mount_point", "start_is_logged"),
    "test_loadavg.py": ("tasks_are_the_containers", "frozen_tasks_are_no_load"),
    "test_reattach.py": ("retrofit",),
    "test_resolution.py": ("an_init_that_moves", "another_caller"),
    "test_sizes.py": (
        "fstat_tells_what_is_read",
        "an_open_file_is_rendered_when_it_is_read",
        "an_empty_file_of_another_container",
        "slabinfo_is_roots",
    ),
    "test_slabinfo.py": ("slabinfo_of_a_container",),
    "test_status.py": ("after_replacements",),
    "test_sysfs.py": ("limited_group_of_the_host",),
}


#: What shows that groups can be made and limited, where that takes more than to make them.
_IN_PLACES: Final = ("memory_limit_is_total", "smaller_ancestor_wins", "quota_cuts_cpus[None-0.25-1]")

Facts = dict[str, Any]


def _suite() -> Guest:
    """Return the guest that runs the selection."""
    tests = [f"{_TESTS / file}::test_{name}" for file, names in _SELECTION.items() for name in names]
    places = {"here": ["-q", *tests]}
    if _OTHER == "v1":
        tests.append(str(_TESTS / "test_cgroup_v1.py"))
    else:
        places |= {place: ["-q", *_FEW] for place in ("namespace", "delegated")}
    machine = ("uml-run", "-c", _OTHER, "-s", "64M", "-d", "256M", "-C", str(REPOSITORY))
    return Guest(Path(__file__).with_name("suite_guest.py"), (json.dumps(places),), machine)


_FEW: Final = [f"{_TESTS / 'test_container.py'}::test_{name}" for name in _IN_PLACES]
_SUITE: Final = _suite()
_SCOPE: Final = Guest(Path(__file__).with_name("scope_guest.py"), ("-q", *_FEW))


@pytest.fixture(scope="module")
def facts(guests: Guests) -> Facts:
    """Return what became of the tests there."""
    found: Facts = json.loads(guests.output(_SUITE))
    return found


def _failures(outcomes: dict[str, str]) -> dict[str, str]:
    # Its kernel has no PSI, which some of what is about v1 alone needs.
    others = {test: why for test, why in outcomes.items() if why != "passed"}
    return {test: why for test, why in others.items() if "pressure: " not in why}


@pytest.mark.guest(_SUITE)
def test_natively_on_the_other_version(facts: Facts) -> None:
    """Every test of the selection passes there, none is left out for want of another cgroup layout."""
    outcomes = facts["here"]["outcomes"]
    failures = _failures(outcomes)
    assert {} == failures, "\n\n".join(f"{test}\n{why}" for test, why in failures.items())
    assert list(outcomes.values()).count("passed") >= sum(map(len, _SELECTION.values()))


@pytest.mark.guest(_SUITE)
@pytest.mark.parametrize("place", ["namespace", "delegated"])
def test_room_is_made_and_put_back(facts: Facts, place: str) -> None:
    """Groups can be limited in a container's cgroup namespace too, and below a group of systemd's."""
    if place not in facts:
        assert _OTHER == "v1"
        return
    here = facts[place]
    assert {} == _failures(here["outcomes"]), here["outcomes"]
    assert len(_IN_PLACES) == len(here["outcomes"])
    assert {"holds us": True, "groups": [], "enabled": ""} == here["before"] == here["after"]


@pytest.mark.needs("systemd")
@pytest.mark.guest(_SCOPE)
def test_systemd_is_asked_for_a_scope(guests: Guests) -> None:
    """On v2 under systemd, groups are made and limited in a scope of their own, of which nothing stays."""
    facts: Facts = json.loads(guests.output(_SCOPE))
    assert 0 == facts["status"], facts["printed"]
    assert f"{len(_IN_PLACES)} passed" in facts["printed"].splitlines()[-1]
    assert "" == facts["left"]
