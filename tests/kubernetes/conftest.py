"""Running webhooks for tests; nothing here needs root or mounts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.kubernetes.certificate_files import SecretVolume


@pytest.fixture
def authority() -> trustme.CA:
    """Make an authority that is not ours, as cert-manager has one."""
    return trustme.CA()


@pytest.fixture
def volume(tmp_path: Path, authority: trustme.CA) -> SecretVolume:
    """Make a Secret's volume with a certificate for the webhook's Service."""
    made = SecretVolume(tmp_path / "tls")
    made.issue(authority)
    return made


@pytest.fixture
def new_directory(tmp_path: Path) -> Callable[[str], Path]:
    """Make new empty directories."""

    def make(name: str) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        return directory

    return make
