"""The tests themselves in a container that docker gives nothing: what cannot run there is told."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.daemon import REPOSITORY
from tests.support.docker import Docker

_IMAGE: Final = "pylxcfs-test-bare"
#: Quick ones that need nothing, some that need a right, and all that need mounts, docker and other machines.
_TESTS: Final = (
    *("tests/unit/test_view.py", "tests/unit/test_personality.py"),
    *("tests/daemon", "tests/load", "tests/compat", "tests/containers", "tests/guests"),
)
#: The container has this machine's programs, by its own names for them.
_LINKS: Final = ("bin", "lib", "lib64", "sbin")
_LEFT_HERE: Final = (".git", ".venv", ".hypothesis", "__pycache__", ".*_cache")


def _image(client: Docker, directory: Path) -> None:
    root = directory / "root"
    for name in ("etc", "tmp"):
        (root / name).mkdir(parents=True)
    for name in _LINKS:
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc/passwd").write_text("root:x:0:0::/tmp:/bin/sh\n")
    archive = directory / "image.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    client("import", archive, _IMAGE)


def test_no_right_is_no_failure(dockerd: Docker, new_directory: Callable[[str], Path]) -> None:
    """With docker's defaults tests end well, and a table has what did not run, why, and what to do."""
    directory = new_directory("unprivileged")
    _image(dockerd, directory)
    checkout = directory / "checkout"
    shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns(*_LEFT_HERE))
    shared = dict.fromkeys(["/usr", sys.prefix, sys.base_prefix])
    volumes = [word for path in shared for word in ("--volume", f"{path}:{path}:ro")]
    text = dockerd(
        *("run", "--rm", "--network", "none", "--env", "HOME=/tmp", "--workdir", "/checkout"),
        *(*volumes, "--volume", f"{checkout}:/checkout", _IMAGE),
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_TESTS),
    )
    assert re.search(r"=== \d{3,} tests did not run here ===", text), text
    for need, remedy in (("fuse", "--device /dev/fuse"), ("namespaces", "--privileged")):
        assert re.search(rf"^ *\d+  {need} +\S.*{remedy}", text, re.MULTILINE), text
    parts = {
        name: [*map(int, counts)]
        for name, *counts in re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+) ", text, re.MULTILINE)
    }
    assert {0} == {failed for _, failed, _ in parts.values()}, text
    assert parts["unit"][0] > 10
    assert min(parts[name][2] for name in ("daemon", "containers", "guests")) > 10
