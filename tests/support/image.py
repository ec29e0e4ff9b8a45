"""The project's own image, built from the checkout as its users build it."""

import os
import shutil
from pathlib import Path
from typing import Final

from tests.support.daemon import REPOSITORY
from tests.support.docker import DEBIAN, Docker

IMAGE: Final = "pylxcfs-test-image"
#: What the Dockerfile begins with: no registry is asked where the daemon has it.
BASE: Final = "debian:bookworm-slim"
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
#: Whoever must go through a proxy of his own has its authority in his base image.
_BASE_FILE: Final = f"""
FROM {DEBIAN}
COPY ca-certificates.crt /usr/local/share/ca-certificates.crt
ENV PIP_CERT=/usr/local/share/ca-certificates.crt
"""


def build(client: Docker, directory: Path) -> None:
    """Build the image; the daemon must have a Debian."""
    context = directory / "base"
    context.mkdir()
    shutil.copy(os.environ.get("PIP_CERT", _CERTIFICATES), context / "ca-certificates.crt")
    (context / "Dockerfile").write_text(_BASE_FILE)
    client("build", "--tag", BASE, context)
    index = os.environ.get("PIP_INDEX_URL")
    options = ["--build-arg", f"PIP_INDEX_URL={index}"] if index else []
    dockerfile = str(REPOSITORY / "deploy" / "docker" / "Dockerfile")
    client(
        *("build", "--network", "host", "--file", dockerfile, "--tag", IMAGE),
        *("--build-arg", "REVISION=test", *options, str(REPOSITORY)),
    )
