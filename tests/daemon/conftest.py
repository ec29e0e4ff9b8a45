"""Which of the daemon's tests this machine can have at all."""

from tests.support.cgroups import find_layout

#: What is about cgroup v1 alone needs it, and runs in a guest elsewhere (tests/guests/test_layouts.py).
collect_ignore = [] if find_layout().version("memory") == 1 else ["test_cgroup_v1.py"]
