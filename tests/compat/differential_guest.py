"""Runs inside user-mode-linux with cgroup v2: compares there, and prints the report as JSON."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.compat.comparison import compare  # noqa: E402 - found through the line above
from tests.compat.configurations import V2, configurations  # noqa: E402
from tests.compat.laboratory import laboratory  # noqa: E402

DISK: Final = "/dev/ubda"
_BURN: Final = "import time\nwhile time.process_time() < 0.3: pass"
#: How many random configurations fit into the time.
RANDOM: Final = 4


def main() -> None:
    """Compare on a file system of its own: what is in tmpfs is never dirty and never read."""
    directory = Path("/run/differential")
    directory.mkdir()
    subprocess.run(["mkfs.ext4", "-q", DISK], check=True)
    subprocess.run(["mount", DISK, directory], check=True)
    # Without any niced time nothing tells the host's from the container's, just after the boot.
    subprocess.run(["nice", sys.executable, "-c", _BURN], check=True)
    with laboratory(V2, "differential", directory) as machine:
        report = compare(machine, configurations(V2, RANDOM))
    json.dump(asdict(report), sys.stdout)


main()
